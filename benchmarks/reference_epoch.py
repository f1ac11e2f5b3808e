"""An epoch the way the published repositories do it: what ``end_to_end.py`` compares with.

A JPEG is decoded and transformed by PIL for every sample; float32, default memory format; the memory is updated row by
row in Python; the Jaccard distance is a dense matrix made on the host; queries are ranked one by one.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import checkout  # noqa: F401
import numpy as np
import torch
import torch.nn.functional as F
from dense_jaccard import dense_jaccard, dense_labels
from evaluation import loop_cmc_map
from gpu import network, now
from loader import ReferenceDataset
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as T

from unreid.data.reading import read_image
from unreid.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from unreid.neighbors import knn

TEMP, MOMENTUM, EPS = 0.05, 0.1, 0.6


class TestImages(Dataset):
    """Open, decode, resize, normalise."""

    def __init__(self, paths: Sequence[str], size: tuple[int, int]) -> None:
        self.paths = paths
        bicubic = T.InterpolationMode.BICUBIC
        self.transform = T.Compose(
            [T.Resize(size, interpolation=bicubic), T.ToTensor(), T.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        return self.transform(read_image(self.paths[index]))


class ReferenceEpoch:
    """Measures the phases; what is too slow to be done in whole is done in part and scaled.

    Args:
        args: of ``end_to_end.py``.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.device = torch.device(args.device)
        self.pin = self.device.type == "cuda"
        self.model = network(args.backbone, self.device, channels_last=False)

    def extract(self, paths: Sequence[str]) -> float:
        """Seconds for all of ``paths``, from those of the first few thousand."""
        part = paths[: self.args.reference_images]
        loader = DataLoader(
            TestImages(part, tuple(self.args.size)), self.args.batch, num_workers=self.args.workers, pin_memory=self.pin
        )
        self.model.eval()
        start = now(self.device)
        with torch.no_grad():
            for images in loader:
                self.model(images.to(self.device)).embedding.cpu()
        return (now(self.device) - start) * len(paths) / len(part)

    def label(self, features: Tensor) -> dict[str, float]:
        """Seconds of search (the same as ours), dense matrix and DBSCAN."""
        start = now(self.device)
        index = knn(features, self.args.k1)[1].cpu().numpy()
        searched = now(self.device)
        distance = dense_jaccard(features.cpu().numpy(), index, self.args.k1, self.args.k2)
        measured = time.perf_counter()
        dense_labels(distance, EPS, 4)
        return {
            "neighbours": searched - start,
            "jaccard": measured - searched,
            "dbscan": time.perf_counter() - measured,
        }

    def train(self, paths: list[str], labels: np.ndarray, batches: list[np.ndarray], iters: int) -> float:
        """Seconds of ``iters`` steps, from those of a few."""
        warmup = min(2, len(batches) - 1)
        loader = DataLoader(
            ReferenceDataset(paths, tuple(self.args.size)),
            batch_sampler=[batch.tolist() for batch in batches],
            num_workers=self.args.workers,
            pin_memory=self.pin,
        )
        targets = torch.from_numpy(labels).to(self.device)
        bank = F.normalize(torch.randn(int(labels.max()) + 1, self.model.feature_dim, device=self.device))
        optimizer = torch.optim.Adam(self.model.parameters(), lr=3.5e-4, weight_decay=5e-4)
        self.model.train()
        for step, (images, indices) in enumerate(loader):
            if step == warmup:
                start = now(self.device)
            features = self.model(images.to(self.device)).embedding
            target = targets[indices.to(self.device)]
            loss = F.cross_entropy(features @ bank.t() / TEMP, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            update_row_by_row(bank, features.detach(), target)
            loss.item()  # their meters read it in every step
        return (now(self.device) - start) / (len(batches) - warmup) * iters

    def rank(self, query: Tensor, gallery: Tensor, ids: list[np.ndarray]) -> float:
        """Seconds of distances, CMC and mAP."""
        start = now(self.device)
        both = query.square().sum(1, keepdim=True) + gallery.square().sum(1) - 2 * query @ gallery.t()
        loop_cmc_map(both.cpu().numpy(), ids)
        return now(self.device) - start


def update_row_by_row(bank: Tensor, features: Tensor, targets: Tensor) -> None:
    """The published update: one sample after the other."""
    for feature, target in zip(features, targets):
        row = MOMENTUM * bank[target] + (1 - MOMENTUM) * feature
        bank[target] = row / row.norm()
