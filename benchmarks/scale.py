"""Pseudo labels of very many samples on one machine: approximate neighbours, sparse Jaccard graph, DBSCAN.

    python benchmarks/scale.py [--sizes 100000 300000 1000000] [--knn torch_ivf] [--folder DIR] [--json FILE]
    python benchmarks/scale.py --cameras 15              # the camera-aware distance (CA-Jaccard)
    python benchmarks/scale.py --keep DIR                # features and lists stay there and are used again

Features lie in a memory-mapped file; search and labelling are processes of their own. Memory is resident memory above
that at the start of the stage; it includes the pages of the file that are mapped at the time, which the system may
take back. Recall is that of the lists against exact ones of a sample; labels are compared with those of exact lists
(adjusted Rand index) up to ``--exact-up-to`` samples. The last columns give growth exponents from size to size.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import checkout  # noqa: F401
import numpy as np
import torch
from isolated import Meter, call
from torch import Tensor
from torch.nn.functional import normalize

from unreid.clustering import dbscan
from unreid.neighbors import camera_jaccard_graph, jaccard_graph, knn
from unreid.neighbors.camera_jaccard import list_widths
from unreid.neighbors.camera_lists import CameraLists, camera_lists
from unreid.neighbors.faiss_search import recall_of
from unreid.structures import PairGraph

K1, K2, EPS = 30, 6, 0.6
MEMBERS = 17  # samples per identity
LATENT = 48  # dimensions that identities and samples vary in; the rest of the space holds little
NOISE, AMBIENT = 0.7, 0.2  # of a sample within those dimensions and outside, relative to its centre
CHUNK = 2**16
SIZES = {
    "k1_intra": 5,
    "k1_inter": 20,
    "k2_intra": 2,
    "k2_inter": 4,
}  # of CA-Jaccard, as published after the first round
SIDES = ("intra_distance", "intra", "inter_distance", "inter")
STAGES = ("search", "graph", "dbscan")


def write_features(path: Path, n: int, dim: int) -> None:
    """float32 (N, D) unit rows around N / 17 centres of low intrinsic dimension, in random order, chunk by chunk."""
    generator = torch.Generator().manual_seed(0)
    latent = min(LATENT, dim)
    centers = normalize(torch.randn(-(-n // MEMBERS), latent, generator=generator), dim=1)
    frame = torch.linalg.qr(torch.randn(dim, latent, generator=generator))[0].T
    table = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, dim))
    for start in range(0, n, CHUNK):
        size = min(CHUNK, n - start)
        owner = torch.randint(len(centers), (size,), generator=generator)
        rows = centers[owner] + NOISE * torch.randn(size, latent, generator=generator) / latent**0.5
        rows = rows @ frame + AMBIENT * torch.randn(size, dim, generator=generator) / dim**0.5
        table[start : start + size] = normalize(rows, dim=1).numpy()
    table.flush()


def mapped(folder: Path) -> Tensor:
    """The features without reading them (copy-on-write, so that torch accepts the array)."""
    return torch.from_numpy(np.load(folder / "features.npy", mmap_mode="c"))


def cameras_of(n: int, cameras: int) -> Tensor:
    """int64 (N,): every sample in a camera of its own choice."""
    return torch.randint(cameras, (n,), generator=torch.Generator().manual_seed(2))


def camera_search(args: argparse.Namespace) -> dict[str, Any]:
    """Lists of the own camera and of the others into files, and the recall of both on a sample."""
    x = mapped(args.folder)
    camids = cameras_of(len(x), args.cameras)
    widths = list_widths(**SIZES)
    camera_lists(x[:2000].clone(), camids[:2000], *widths, backend=args.knn)  # imports
    with Meter() as meter:
        lists = camera_lists(x, camids, *widths, backend=args.knn, nprobe=args.nprobe)
    for side in SIDES:
        np.save(args.folder / f"{side}.npy", getattr(lists, side).numpy())
    sample = torch.from_numpy(np.sort(np.random.default_rng(1).permutation(len(x))[:500]))
    exact = camera_lists(x, camids, *widths, queries=sample)
    recall = [recall_of(getattr(lists, side)[sample], getattr(exact, side)) for side in ("intra", "inter")]
    times = {"seconds": meter.seconds, "cpu_seconds": meter.cpu_seconds, "peak_mb": meter.peak_mb}
    return times | {"recall": min(recall), "recall_intra": recall[0], "recall_inter": recall[1]}


def search(args: argparse.Namespace) -> dict[str, Any]:
    """Neighbour lists into files, and their recall on a sample."""
    if args.cameras:
        return camera_search(args)
    x = mapped(args.folder)
    knn(x[:2000].clone(), 5, backend=args.knn)  # imports
    with Meter() as meter:
        distance, index = knn(x, K1, backend=args.knn, nprobe=args.nprobe, ef_search=args.ef_search)
    np.save(args.folder / "distance.npy", distance.numpy())
    np.save(args.folder / "index.npy", index.numpy())
    row = {"seconds": meter.seconds, "cpu_seconds": meter.cpu_seconds, "peak_mb": meter.peak_mb}
    sample = torch.from_numpy(np.random.default_rng(1).permutation(len(x))[:500])
    return row | {"recall": recall_of(index[sample], knn(x, K1, queries=sample)[1])}


def label(args: argparse.Namespace) -> dict[str, Any]:
    """Graph and labels from the lists in the files."""
    x = mapped(args.folder)
    camids = cameras_of(len(x), max(args.cameras, 1))
    names = SIDES if args.cameras else ("distance", "index")
    lists = tuple(torch.from_numpy(np.load(args.folder / f"{name}.npy", mmap_mode="c")) for name in names)

    def graph_of(x: Tensor, lists: tuple[Tensor, ...] | None) -> PairGraph:
        common = {"radius": EPS, "backend": args.backend}
        if args.cameras:
            known = None if lists is None else CameraLists(*lists)
            return camera_jaccard_graph(x, camids[: len(x)], **SIZES, **common, lists=known)
        return jaccard_graph(x, k1=K1, k2=K2, **common, neighbors=lists)

    dbscan(graph_of(x[:100].clone(), None), EPS)  # imports
    with Meter() as graph_meter:
        graph = graph_of(x, lists)
    with Meter() as label_meter:
        labels, _ = dbscan(graph, EPS)
    np.save(args.folder / "labels.npy", labels.numpy())
    row: dict[str, Any] = {"pairs": len(graph), "clusters": int(labels.max()) + 1}
    for name, meter in (("graph", graph_meter), ("dbscan", label_meter)):
        row[name] = {"seconds": meter.seconds, "cpu_seconds": meter.cpu_seconds, "peak_mb": meter.peak_mb}
    return row | {"outliers": int((labels < 0).sum())}


def run(args: argparse.Namespace, n: int, kind: str, folder: Path) -> dict[str, Any]:
    lists = folder / f"{kind}_{args.cameras}_cameras"
    lists.mkdir(exist_ok=True)
    if not (lists / "features.npy").exists():
        (lists / "features.npy").symlink_to(folder.resolve() / "features.npy")
    common = ["--knn", kind, "--folder", lists, "--nprobe", args.nprobe, "--ef-search", args.ef_search]
    common += ["--threads", args.threads, "--backend", args.backend, "--cameras", args.cameras]
    known = lists / "search.json"
    if not known.exists():
        known.write_text(json.dumps(call(__file__, ["--child", "search", *common])))
    found = json.loads(known.read_text())
    return {"n": n, "knn": kind, "search": found, **call(__file__, ["--child", "label", *common])}


def measure(args: argparse.Namespace, n: int, folder: Path) -> dict[str, Any]:
    """One size; with the exact labels where those are affordable."""
    folder = folder / f"{n}_{args.dim}"
    folder.mkdir(exist_ok=True)
    if not (folder / "features.npy").exists():
        write_features(folder / "partial.npy", n, args.dim)
        (folder / "partial.npy").rename(folder / "features.npy")
    row = run(args, n, args.knn, folder)
    if n <= args.exact_up_to:
        from sklearn.metrics import adjusted_rand_score

        row["exact"] = run(args, n, "torch", folder)
        places = [folder / f"{kind}_{args.cameras}_cameras" / "labels.npy" for kind in (args.knn, "torch")]
        labels = [np.load(place) for place in places]
        row["ari"] = adjusted_rand_score(labels[1], labels[0])
    return row


def show(row: dict[str, Any], previous: dict[str, Any] | None) -> None:
    print(f"\nN {row['n']}, {row['knn']}: recall {row['search']['recall']:.3f}, {row['clusters']} clusters, ", end="")
    print(f"{row['outliers']} outliers, {row['pairs'] / row['n']:.1f} pairs a sample", end="")
    print(f", ARI to exact {row['ari']:.4f}" if "ari" in row else "")
    for stage in STAGES:
        part = row[stage]
        line = f"  {stage:8}{part['seconds']:9.1f} s {part['cpu_seconds']:9.1f} cpu s {part['peak_mb']:8.0f} MiB"
        line += f" {1024 * part['peak_mb'] / row['n']:7.2f} KiB a sample"
        if previous:
            ratio = part["cpu_seconds"] / max(previous[stage]["cpu_seconds"], 1e-3)
            line += f"   grows as N^{math.log(ratio) / math.log(row['n'] / previous['n']):.2f}"
        if "exact" in row:
            line += f"   exact lists: {row['exact'][stage]['cpu_seconds']:.1f} cpu s"
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--knn", default="torch_ivf", help="torch_ivf, faiss_hnsw, faiss_ivf, or an exact search")
    parser.add_argument("--cameras", type=int, default=0, help="more than 0: CA-Jaccard over so many cameras")
    parser.add_argument("--nprobe", type=int, default=32)
    parser.add_argument("--ef-search", type=int, default=128)
    parser.add_argument("--backend", default="scipy", choices=["scipy", "torch"])
    parser.add_argument("--exact-up-to", type=int, default=100_000, help="largest N compared with exact lists")
    parser.add_argument("--threads", type=int, default=0, help="0: torch's default")
    parser.add_argument(
        "--folder", type=Path, default=None, help="where features and lists are put; default: temporary"
    )
    parser.add_argument("--keep", type=Path, default=None, help="a folder for features and lists that stay")
    parser.add_argument("--json", type=Path, default=None, help="also write the numbers here")
    parser.add_argument("--child", choices=["search", "label"], default=None, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.child:
        print(json.dumps(search(args) if args.child == "search" else label(args)))
        return
    rows: list[dict[str, Any]] = []
    hidden = ("json", "child", "folder", "keep")
    command = {key: str(value) for key, value in vars(args).items() if key not in hidden}
    versions = {"torch": torch.__version__, "numpy": np.__version__, "cpu": platform.processor()}
    if args.keep:
        args.keep.mkdir(parents=True, exist_ok=True)
    with nullcontext(args.keep) if args.keep else tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for n in args.sizes:
            rows.append(measure(args, n, Path(folder)))
            show(rows[-1], rows[-2] if len(rows) > 1 else None)
            if args.json:
                content = {"command": command, "versions": versions, "rows": rows}
                args.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
