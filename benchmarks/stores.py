"""Vector stores that keep one folder and need no server, at a million vectors: recall, latency, memory, size.

    python benchmarks/stores.py [--rows 1000000] [--stores lancedb milvus faiss qdrant] [--folder DIR] [--json FILE]

Each store lives in a process of its own for building and another one for searching; ``--python NAME=FILE`` runs a store
with another interpreter, so that their packages need not stand side by side. The vectors are those of ``scale.py`` in
NumPy: unit rows of 20 images an identity, of low intrinsic dimension, in six cameras. Queries are new images. Recall is
that of the ten nearest against exact ones; "filtered" leaves out the query's camera, as re-identification does.
Latency is of one query at a time. Memory is peak resident memory of the process (mapped files included). Size of the
dependency: files of the package and of what it requires beyond NumPy.
"""

from __future__ import annotations

import argparse
import importlib.metadata as metadata
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

MEMBERS, LATENT, NOISE, AMBIENT, CAMERAS, TOP = 20, 48, 0.7, 0.2, 6, 10
CHUNK = 1 << 16


def write_vectors(folder: Path, rows: int, dim: int, queries: int) -> None:
    """vectors.npy, queries.npy and the exact neighbours, with and without the query's camera."""
    rng = np.random.default_rng(0)
    centers = _unit(rng.standard_normal((-(-rows // MEMBERS), LATENT), dtype=np.float32))
    frame = np.linalg.qr(rng.standard_normal((dim, LATENT)))[0].T.astype(np.float32)

    def some(owner: np.ndarray) -> np.ndarray:
        inside = centers[owner] + NOISE * rng.standard_normal((len(owner), LATENT), dtype=np.float32) / LATENT**0.5
        return _unit(inside @ frame + AMBIENT * rng.standard_normal((len(owner), dim), dtype=np.float32) / dim**0.5)

    table = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float32, (rows, dim))
    for start in range(0, rows, CHUNK):
        stop = min(start + CHUNK, rows)
        table[start:stop] = some(rng.integers(0, len(centers), stop - start))
    table.flush()
    asked = some(rng.integers(0, len(centers), queries))
    np.save(folder / "queries.npy", asked)
    cameras = camera_of(np.arange(rows))
    for name, own in (("exact", None), ("exact_filtered", camera_of(np.arange(queries)))):
        np.save(folder / f"{name}.npy", _exact(table, asked, cameras, own))


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def camera_of(index: np.ndarray) -> np.ndarray:
    """A camera for every row, spread evenly."""
    return index * 7919 % CAMERAS


def _exact(table: np.ndarray, asked: np.ndarray, cameras: np.ndarray, own: np.ndarray | None) -> np.ndarray:
    best = np.full((len(asked), TOP), -np.inf, np.float32)
    index = np.zeros((len(asked), TOP), np.int64)
    for start in range(0, len(table), CHUNK):
        score = asked @ table[start : start + CHUNK].T
        if own is not None:
            score[own[:, None] == cameras[None, start : start + CHUNK]] = -np.inf
        place = np.argpartition(-score, TOP, axis=1)[:, :TOP]
        both = np.concatenate([best, np.take_along_axis(score, place, 1)], axis=1)
        places = np.concatenate([index, place + start], axis=1)
        order = np.argsort(-both, axis=1)[:, :TOP]
        best, index = np.take_along_axis(both, order, 1), np.take_along_axis(places, order, 1)
    return index


def blocks(folder: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows and their numbers, as they come out of a feature table."""
    table = np.load(folder / "vectors.npy", mmap_mode="r")
    for start in range(0, len(table), CHUNK):
        yield np.array(table[start : start + CHUNK]), np.arange(start, min(start + CHUNK, len(table)))


class Lance:
    """LanceDB with IVF_HNSW_SQ or another of its indexes."""

    package = "lancedb"
    index, refine, nprobe = "IVF_HNSW_SQ", 4, 20

    def __init__(self, place: Path, dim: int) -> None:
        import lancedb

        self.db, self.dim = lancedb.connect(str(place)), dim

    def build(self, source: Path) -> None:
        import pyarrow as pa

        kinds = [("id", pa.int64()), ("path", pa.string()), ("camera", pa.string())]
        schema = pa.schema([*kinds, ("vector", pa.list_(pa.float32(), self.dim))])

        def batches() -> Iterator[Any]:
            for rows, numbers in blocks(source):
                vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), self.dim)
                cameras = [str(camera) for camera in camera_of(numbers)]
                paths = [f"{number:08}.jpg" for number in numbers]
                yield pa.record_batch([pa.array(numbers), pa.array(paths), pa.array(cameras), vectors], schema=schema)

        table = self.db.create_table("vectors", batches(), schema=schema)
        table.create_index(metric="cosine", index_type=self.index)
        table.create_scalar_index("camera", index_type="BITMAP")

    def open(self) -> None:
        self.table = self.db.open_table("vectors")

    def search(self, query: np.ndarray, camera: int | None) -> list[int]:
        found = self.table.search(query).distance_type("cosine").limit(TOP).nprobes(self.nprobe).select(["id"])
        if self.refine:
            found = found.refine_factor(self.refine)
        if camera is not None:
            found = found.where(f"camera != '{camera}'", prefilter=True)
        return found.to_arrow().column("id").to_pylist()


class LancePQ(Lance):
    """LanceDB with product quantisation."""

    index, refine, nprobe = "IVF_PQ", 10, 40


class LanceFlat(Lance):
    """LanceDB with plain lists."""

    index, refine, nprobe = "IVF_FLAT", 0, 20


class Milvus:
    """Milvus Lite: a file, the same client as Milvus."""

    package = "pymilvus milvus-lite"
    index: dict[str, Any] = {"index_type": "HNSW", "metric_type": "COSINE", "params": {"M": 16, "efConstruction": 100}}
    params: dict[str, Any] = {"ef": 64}

    def __init__(self, place: Path, dim: int) -> None:
        from pymilvus import MilvusClient

        place.mkdir(exist_ok=True)
        self.client, self.dim = MilvusClient(uri=str(place / "store.db")), dim

    def build(self, source: Path) -> None:
        from pymilvus import DataType, MilvusClient

        schema = MilvusClient.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("path", DataType.VARCHAR, max_length=1024)
        schema.add_field("camera", DataType.VARCHAR, max_length=64)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=self.dim)
        parameters = self.client.prepare_index_params()
        parameters.add_index("vector", **self.index)
        self.client.create_collection("vectors", schema=schema, index_params=parameters)
        for rows, numbers in blocks(source):
            for start in range(0, len(rows), 4096):
                part = slice(start, start + 4096)
                cameras = camera_of(numbers[part])
                content = [
                    {"id": int(number), "path": f"{number:08}.jpg", "camera": str(camera), "vector": row}
                    for number, camera, row in zip(numbers[part], cameras, rows[part])
                ]
                self.client.insert("vectors", content)
        self.client.flush("vectors")

    def open(self) -> None:
        self.client.load_collection("vectors")

    def search(self, query: np.ndarray, camera: int | None) -> list[int]:
        rule = "" if camera is None else f"camera != '{camera}'"
        params = {"metric_type": "COSINE", "params": self.params}
        found = self.client.search("vectors", [query], limit=TOP, filter=rule, search_params=params)
        return [hit["id"] for hit in found[0]]


class MilvusIVF(Milvus):
    """Milvus Lite with plain lists."""

    index = {"index_type": "IVF_FLAT", "metric_type": "COSINE", "params": {"nlist": 1024}}
    params = {"nprobe": 20}


class Faiss:
    """faiss (IVF, 8 bits a number) with the table of paths and cameras in a Parquet file: no store, two files."""

    package = "faiss-cpu pyarrow"
    nprobe = 20

    def __init__(self, place: Path, dim: int) -> None:
        self.place, self.dim = place, dim
        place.mkdir(exist_ok=True)

    def build(self, source: Path) -> None:
        import faiss
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = np.load(source / "vectors.npy", mmap_mode="r")
        lists = max(1, int(len(table) ** 0.5))
        index = faiss.index_factory(self.dim, f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
        chosen = np.sort(np.random.default_rng(0).choice(len(table), min(len(table), 50 * lists), replace=False))
        index.train(table[chosen])
        for rows, _ in blocks(source):
            index.add(rows)
        faiss.write_index(index, str(self.place / "index.faiss"))
        numbers = np.arange(len(table))
        columns = {"path": [f"{n:08}.jpg" for n in numbers], "camera": [str(c) for c in camera_of(numbers)]}
        pq.write_table(pa.table(columns), self.place / "rows.parquet")

    def open(self) -> None:
        import faiss
        import pyarrow.parquet as pq

        self.index = faiss.read_index(str(self.place / "index.faiss"))
        self.index.nprobe = self.nprobe
        cameras = np.array(pq.read_table(self.place / "rows.parquet").column("camera").to_pylist())
        self.allowed = {
            camera: faiss.IDSelectorBatch(np.flatnonzero(cameras != str(camera))) for camera in range(CAMERAS)
        }

    def search(self, query: np.ndarray, camera: int | None) -> list[int]:
        import faiss

        rule = None if camera is None else self.allowed[camera]
        params = faiss.SearchParametersIVF(sel=rule, nprobe=self.nprobe)
        return self.index.search(query[None], TOP, params=params)[1][0].tolist()


class FaissWide(Faiss):
    """faiss where it looks into as many lists as the recall of a vector store takes."""

    nprobe = 200


class Qdrant:
    """Qdrant's client without a server: exact, in NumPy."""

    package = "qdrant-client"

    def __init__(self, place: Path, dim: int) -> None:
        from qdrant_client import QdrantClient

        self.client, self.dim = QdrantClient(path=str(place)), dim

    def build(self, source: Path) -> None:
        from qdrant_client import models

        size = models.VectorParams(size=self.dim, distance=models.Distance.COSINE)
        self.client.create_collection("vectors", vectors_config=size)
        for rows, numbers in blocks(source):
            for start in range(0, len(rows), 4096):
                part = slice(start, start + 4096)
                self.client.upsert(
                    "vectors",
                    models.Batch(
                        ids=numbers[part].tolist(),
                        vectors=rows[part].tolist(),
                        payloads=[
                            {"path": f"{number:08}.jpg", "camera": str(camera)}
                            for number, camera in zip(numbers[part], camera_of(numbers[part]))
                        ],
                    ),
                )

    def open(self) -> None:
        pass

    def search(self, query: np.ndarray, camera: int | None) -> list[int]:
        from qdrant_client import models

        rule = None
        if camera is not None:
            own = models.FieldCondition(key="camera", match=models.MatchValue(value=str(camera)))
            rule = models.Filter(must_not=[own])
        found = self.client.query_points("vectors", query=query.tolist(), limit=TOP, query_filter=rule)
        return [int(point.id) for point in found.points]


STORES: dict[str, Any] = {
    "lancedb": Lance,
    "lancedb-pq": LancePQ,
    "lancedb-flat": LanceFlat,
    "milvus": Milvus,
    "milvus-ivf": MilvusIVF,
    "faiss": Faiss,
    "faiss-wide": FaissWide,
    "qdrant": Qdrant,
}


def build(name: str, source: Path, place: Path, dim: int) -> dict[str, float]:
    """Seconds, peak memory and size on the disk of a new store."""
    shutil.rmtree(place, ignore_errors=True)
    started, cpu = time.perf_counter(), time.process_time()
    STORES[name](place, dim).build(source)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    return {"build_s": seconds, "build_cpu_s": cpu, "build_mb": peak_mb(), "disk_mb": size / 2**20}


def search(name: str, source: Path, place: Path, dim: int, count: int) -> dict[str, float]:
    """Recall and latency of a store that was just opened."""
    queries = np.load(source / "queries.npy")[:count]
    started = time.perf_counter()
    store = STORES[name](place, dim)
    store.open()
    store.search(queries[0], None)
    results = {"open_s": time.perf_counter() - started}
    for kind, own in (("", [None] * count), ("_filtered", camera_of(np.arange(count)).tolist())):
        exact, times, hits, cpu = np.load(source / f"exact{kind}.npy"), [], 0, time.process_time()
        for row, (query, camera) in enumerate(zip(queries, own)):
            begun = time.perf_counter()
            found = store.search(query, camera)
            times.append(1e3 * (time.perf_counter() - begun))
            hits += len(set(found) & set(exact[row].tolist()))
        results[f"recall{kind}"] = hits / (count * TOP)
        results[f"median_ms{kind}"] = statistics.median(times)
        results[f"cpu_ms{kind}"] = 1e3 * (time.process_time() - cpu) / count
        results[f"p95_ms{kind}"] = float(np.quantile(times, 0.95))
    return {**results, "search_mb": peak_mb()}


def peak_mb() -> float:
    """Peak resident memory of this process (Linux)."""
    text = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", text)[0]) / 1024


def installed_mb(packages: str) -> tuple[float, str]:
    """MiB of files of the packages and all that they require, NumPy left out; and the first one's version."""
    seen: set[str] = {"numpy"}
    open_names, size = packages.split(), 0
    while open_names:
        name = open_names.pop().lower().replace("_", "-")
        if name in seen:
            continue
        seen.add(name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        files = (Path(str(found.locate_file(file))) for file in found.files or ())
        size += sum(file.stat().st_size for file in files if file.is_file())
        wanted = (text for text in found.requires or () if "extra ==" not in text)
        open_names += [re.split(r"[^A-Za-z0-9._-]", text.strip(), maxsplit=1)[0] for text in wanted]
    try:
        return size / 2**20, metadata.version(packages.split()[0])
    except metadata.PackageNotFoundError:  # installed under another name, such as faiss-gpu
        return size / 2**20, ""


def measure(name: str, arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Builds and searches a store, each in a process of its own."""
    interpreters = dict(text.split("=", 1) for text in arguments.python)
    python = interpreters.get(name.partition("-")[0], sys.executable)
    row: dict[str, Any] = {}
    for stage in ("build", "search", "size"):
        command = [python, __file__, "--stage", stage, "--stores", name, "--folder", str(folder)]
        command += ["--dim", str(arguments.dim), "--asked", str(arguments.asked)]
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=arguments.limit, check=True)
        except subprocess.TimeoutExpired:
            return {**row, "gave_up": f"{stage} took more than {arguments.limit} s"}
        except subprocess.CalledProcessError as error:
            return {**row, "gave_up": f"{stage} ended with status {error.returncode}"}
        row |= json.loads(done.stdout.strip().splitlines()[-1])
    return row


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--asked", type=int, default=300, help="queries")
    parser.add_argument("--stores", nargs="+", default=["lancedb", "milvus", "faiss"], choices=STORES)
    parser.add_argument("--folder", type=Path, default=Path("stores"))
    parser.add_argument("--python", nargs="*", default=[], metavar="NAME=FILE")
    parser.add_argument("--limit", type=float, default=3600, metavar="S", help="of one stage")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--stage", choices=["build", "search", "size"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    folder, name = arguments.folder, arguments.stores[0]
    if arguments.stage == "build":
        print(json.dumps(build(name, folder, folder / name, arguments.dim)))
    elif arguments.stage == "search":
        print(json.dumps(search(name, folder, folder / name, arguments.dim, arguments.asked)))
    elif arguments.stage == "size":
        size, version = installed_mb(STORES[name].package)
        print(json.dumps({"installed_mb": size, "version": version}))
    else:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "exact_filtered.npy").exists():
            write_vectors(folder, arguments.rows, arguments.dim, arguments.asked)
        rows = {}
        for name in arguments.stores:
            rows[name] = measure(name, arguments, folder)
            print(name, json.dumps(rows[name]), flush=True)
        if arguments.json:
            machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
            content = {"machine": machine, "rows": arguments.rows, "dim": arguments.dim, "stores": rows}
            arguments.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
