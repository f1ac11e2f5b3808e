"""Cluster Contrast (Dai et al., ACCV 2022) from the parts: no trainer, no config.

    python examples/plain_loop.py crops/                                        # crops/train, query and gallery
    python examples/plain_loop.py Market-1501-v15.09.15 --train bounding_box_train --gallery bounding_box_test \
        --camera-regex "c(\\d+)" --pid-regex "(\\d+)_c"

An epoch extracts features, clusters them, fills a memory with the clusters' means and trains the network against it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch

import unreid
from unreid.data.augment_params import AugmentRecipe
from unreid.data.batches import EpochBatches
from unreid.data.datasets import ImageFolder, ReIDDataset
from unreid.data.loader import TrainLoader
from unreid.data.reading import Resize
from unreid.data.transforms import TestTransform, TrainTransform
from unreid.models import build_pooling, create_backbone
from unreid.models.pretrained import load_pretrained


def evaluate(extractor: unreid.FeatureExtractor, dataset: ReIDDataset) -> float:
    """mAP in percent; nan where the dataset has no test set."""
    if not dataset.has_test:
        return float("nan")
    query, gallery = dataset.query, dataset.gallery
    features = [extractor([record.paths[0] for record in split.tracklets]) for split in (query, gallery)]
    cameras = [[record.camid for record in split.tracklets] for split in (query, gallery)]
    cameras = cameras if dataset.cross_camera_filter else []
    distances = unreid.pairwise_distance(*features)
    return 100 * unreid.cmc_map(distances, query.truth.pids, gallery.truth.pids, *cameras).mAP


def train(dataset: ReIDDataset, args: argparse.Namespace) -> list[float]:
    """mAP of the untrained network and after every epoch."""
    torch.manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    backbone = create_backbone(args.backbone)
    if not args.from_scratch:
        load_pretrained(backbone, args.backbone)
    pooling = build_pooling("gem", stripes=4 if args.from_scratch else 1)
    model = unreid.EmbeddingModel(backbone, pooling, standardize=args.from_scratch).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr, weight_decay=5e-4)
    resize = Resize(tuple(args.size))
    augment = TrainTransform(resize, AugmentRecipe(tuple(args.size), padding=args.size[1] // 12))
    extractor = unreid.FeatureExtractor(model, TestTransform(resize), device=device)
    clusterer = unreid.DBSCAN(args.eps, k1=args.k1, k2=6)
    memory = unreid.ClusterMemory(model.feature_dim, temp=0.05, momentum=0.1, device=device)

    records = dataset.train.tracklets
    paths, cameras = [record.paths[0] for record in records], [record.camid for record in records]
    scores = [evaluate(extractor, dataset)]
    for epoch in range(args.epochs):
        features = extractor(paths)
        labels = clusterer.fit_predict(features, cameras)
        memory.reset(features, labels)
        sampler = unreid.MultiCameraSampler(labels, cameras, args.instances)
        batches = EpochBatches(sampler, args.batch_size, args.iters, seed=args.seed)
        model.train()
        with TrainLoader(records, labels, batches, [augment], seed=args.seed, device=device) as loader:
            for batch in loader.epoch(epoch):
                embedding = model(batch.views[0]).embedding
                loss = memory(embedding, batch.targets)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                memory.update(embedding, batch.targets)
        scores.append(evaluate(extractor, dataset))
        print(f"epoch {epoch + 1}: {memory.num_clusters} clusters, loss {loss.item():.2f}, mAP {scores[-1]:.1f}")
    return scores


def main(argv: Sequence[str] | None = None) -> list[float]:
    parser = argparse.ArgumentParser(description="Cluster Contrast from the parts, on a folder of crops.")
    parser.add_argument("folder")
    for name in ("train", "query", "gallery"):
        parser.add_argument(f"--{name}", default=name, help="its sub-folder")
    parser.add_argument("--camera-regex", default="", help="its group is the camera of an image")
    parser.add_argument("--pid-regex", default="", help="its group is the identity; empty: the folder of an image")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--from-scratch", action="store_true", help="random weights, stripes, standardised images")
    parser.add_argument("--size", type=int, nargs=2, default=(256, 128), metavar=("HEIGHT", "WIDTH"))
    for name, value in {"epochs": 50, "iters": 200, "batch-size": 256, "instances": 16, "k1": 30, "seed": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    for name, value in {"lr": 3.5e-4, "eps": 0.6}.items():
        parser.add_argument(f"--{name}", type=float, default=value)
    args = parser.parse_args(argv)
    names = {name: getattr(args, name) for name in ("train", "query", "gallery", "camera_regex", "pid_regex")}
    return train(ImageFolder(args.folder, **names), args)


if __name__ == "__main__":
    main()
