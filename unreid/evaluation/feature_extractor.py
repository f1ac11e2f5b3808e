"""Features of anything that holds images: the library entry for people who only want vectors."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from unreid.evaluation.extract import extract_features
from unreid.structures import Tracklet
from unreid.utils.errors import UserError
from unreid.utils.progress import tracked
from unreid.utils.registry import fold

if TYPE_CHECKING:
    from unreid.config import CfgNode
    from unreid.data.transforms import TestTransform

_EMBEDDING = (
    *("AuxUSL", "CAP", "3C", "CCC", "CDSM", "CC", "ClusterContrast", "ISE", "O2CAP", "PPLR", "SpCL", "SpCLUDA"),
)
RETRIEVAL_FEATURES = dict.fromkeys(_EMBEDDING, "embedding") | {"BUC": "pooled_l2"}
"""What the methods of this package retrieve with, for configs and for checkpoints that do not say it themselves."""


class FeatureExtractor:
    """Turns images into feature vectors, in batches.

    Accepts the path of an image, a list of paths, a folder (all images below it, in the order of
    :meth:`list_images`), an array uint8 (H, W, 3) or (N, H, W, 3) in RGB, a Pillow image (RGB), a list of arrays or
    images of any sizes, a tensor uint8 (3, H, W) or (N, 3, H, W), or a tensor float (N, 3, H, W) that went through the
    transform already. Any iterable may stand for a list.

    Args:
        model: an :class:`~unreid.models.embedding.EmbeddingModel`, or any module with such an output.
        transform: resize and normalisation; None: 256 x 128, bicubic, ImageNet mean and deviation.
        feature: "embedding", "pooled" or "pooled_l2", see :func:`~unreid.evaluation.extract.extract_features`.
        device: where the model runs; it is moved there.
        workers: processes that decode files; 0: this one.
        flip: average an image's feature with its mirror image's.
        amp: "off", "bf16" or "fp16".

    Example:
        >>> from unreid.evaluation.feature_extractor import FeatureExtractor
        >>> from unreid.models.embedding import EmbeddingModel
        >>> from unreid.models.resnet_tiny import TinyResNet
        >>> extractor = FeatureExtractor(EmbeddingModel(TinyResNet()))
        >>> crops = [np.zeros((120, 50, 3), np.uint8), np.full((90, 40, 3), 200, np.uint8)]
        >>> features = extractor(crops)
        >>> features.shape, features.dtype
        (torch.Size([2, 128]), torch.float32)
    """

    def __init__(
        self,
        model: nn.Module,
        transform: TestTransform | None = None,
        *,
        feature: str = "embedding",
        device: torch.device | str = "cpu",
        batch_size: int = 64,
        workers: int = 0,
        flip: bool = False,
        amp: str = "off",
    ) -> None:
        if transform is None:
            from unreid.data.reading import Resize
            from unreid.data.transforms import TestTransform

            transform = TestTransform(Resize((256, 128)))
        self.device = torch.device(device)
        self.model = model.to(self.device)
        self.transform = transform
        self.batch_size = batch_size
        self.workers = workers
        self.feature = feature
        self.flip = flip
        self.amp = amp

    @classmethod
    def from_config(
        cls, cfg: CfgNode, model: nn.Module, device: torch.device | str = "cpu", *, feature: str = ""
    ) -> FeatureExtractor:
        """The extractor that a run's config describes, around a loaded model.

        Args:
            feature: "embedding", "pooled" or "pooled_l2"; "" takes that of ``METHOD.NAME``.

        Raises:
            UserError: the method is a plug-in's, and ``feature`` does not say what it retrieves with.
        """
        from unreid.data.build import build_test_transform

        if cfg.MODEL.BACKBONE.CAMERAS:
            raise UserError(
                "FeatureExtractor takes images without cameras, and this model has a camera embedding "
                f"(MODEL.BACKBONE.CAMERAS {cfg.MODEL.BACKBONE.CAMERAS}): use unreid eval."
            )
        return cls(
            model,
            build_test_transform(cfg),
            feature=feature or retrieval_feature(cfg.METHOD.NAME),
            device=device,
            batch_size=cfg.DATALOADER.TEST_BATCH_SIZE,
            workers=cfg.DATALOADER.NUM_WORKERS,
            flip=cfg.TEST.FLIP,
            amp=cfg.TEST.AMP,
        )

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        *,
        config_file: str | Path | None = None,
        overrides: Sequence[Any] = (),
        plugins: Sequence[str] = (),
        feature: str = "",
        device: torch.device | str | None = None,
    ) -> FeatureExtractor:
        """The extractor of a trained model.

        Args:
            path: a checkpoint of this project (it holds its config), a state dict of one of its networks (with its
                config), or a checkpoint of a reference repository (its file tells the network; input size and
                interpolation come from the config or the defaults), or the bare name of a network that comes with the
                package, such as "rendered_o2cap".
            config_file: replaces the config of the checkpoint.
            overrides: ``[KEY, VALUE, ...]`` over either.
            plugins: files or modules to import first, as ``PLUGINS`` in a config. Those that a checkpoint's own config
                names are not imported: that would run whatever file its author names.
            feature: "embedding", "pooled" or "pooled_l2"; "" takes what the run retrieved with.
            device: default: CUDA when there is one.

        Raises:
            UserError: the file is missing, holds no known checkpoint, does not fit the config, or needs a plug-in.
        """
        from unreid.evaluation.stored_model import read_stored_model

        cfg, model, stored_feature = read_stored_model(path, config_file, overrides, plugins)
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls.from_config(cfg, model, device, feature=feature or stored_feature)

    @staticmethod
    def list_images(folder: str | Path) -> list[Path]:
        """All image files below a folder, sorted by relative path; rows of ``extractor(folder)`` are in this order.

        Raises:
            UserError: there is no such folder, or no image in it.
        """
        from unreid.data.datasets.files import image_tree

        folder = Path(folder)
        if not os.path.isdir(folder):
            raise UserError(f"There is no file or folder {folder}.")
        names = image_tree(folder, FeatureExtractor.__name__)
        if not names:
            raise UserError(f"There is no image below {folder}.")
        return [folder / name for name in names]

    def __call__(self, images: Any) -> Tensor:
        """Features float32 (N, D) on the extractor's device, one row per image, in order.

        Raises:
            UserError: a path does not exist or is no readable image.
            ValueError: an array or tensor of another shape or type.
        """
        if isinstance(images, str | Path):
            path = Path(images)
            is_file = os.path.exists(path) and not os.path.isdir(path)
            return self._from_paths([path] if is_file else self.list_images(path))
        if not isinstance(images, np.ndarray | Tensor | Sequence) and isinstance(images, Iterable):
            images = list(images)
        if isinstance(images, Sequence) and images and all(isinstance(item, str | Path) for item in images):
            return self._from_paths([Path(item) for item in images])
        if isinstance(images, Tensor) and images.is_floating_point():
            if images.ndim != 4 or images.shape[1] != 3:
                raise ValueError(f"transformed images are float (N, 3, H, W), not {tuple(images.shape)}")
            return self._extract(len(images), self._split(images))
        pixels = _arrays(images)
        return self._extract(len(pixels), self._transformed(pixels))

    def _from_paths(self, paths: list[Path]) -> Tensor:
        from unreid.data.extract_loader import ExtractLoader
        from unreid.data.formats import why_not_an_image

        for path in paths:
            reason = why_not_an_image(path)
            if reason is not None:
                raise UserError(f"There is no image {path}: it {reason}.")
        records = [Tracklet((str(path),), camid=0, trackid=i) for i, path in enumerate(paths)]
        loader = ExtractLoader(
            records, self.transform, batch_size=self.batch_size, device=self.device, workers=self.workers
        )
        with loader:
            return self._extract(len(paths), loader)

    def _transformed(self, pixels: list[np.ndarray]) -> Iterator[tuple[Tensor, Tensor]]:
        from PIL import Image

        for start in range(0, len(pixels), self.batch_size):
            part = pixels[start : start + self.batch_size]
            resized = torch.stack([self.transform.resize(Image.fromarray(array)) for array in part])
            yield self.transform.apply_batch(resized.to(self.device)), torch.arange(start, start + len(part))

    def _split(self, images: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(images), self.batch_size):
            part = images[start : start + self.batch_size]
            yield part.float(), torch.arange(start, start + len(part))

    def _extract(self, count: int, batches: Any) -> Tensor:
        batches = tracked(batches, "features", count, "images", size=lambda batch: len(batch[1]))
        return extract_features(
            self.model,
            batches,
            feature=self.feature,
            num_samples=count,
            device=self.device,
            flip=self.flip,
            amp=self.amp,
        )


def retrieval_feature(method: str) -> str:
    """What a method of this package retrieves with; :class:`UserError` for the name of another one."""
    known = {name.lower(): feature for name, feature in RETRIEVAL_FEATURES.items()}
    found = known.get(fold(method))
    if found is None:
        raise UserError(
            f"METHOD.NAME {method} is none of this package's methods, and nothing tells what it retrieves with: give "
            "feature='embedding', 'pooled' or 'pooled_l2'."
        )
    return found


def _arrays(images: Any) -> list[np.ndarray]:
    """A list of uint8 arrays (H, W, 3)."""
    if not isinstance(images, Sequence) and not (isinstance(images, np.ndarray | Tensor) and images.ndim == 4):
        images = [images]
    arrays = []
    for image in images:
        array = image.permute(1, 2, 0).cpu().numpy() if isinstance(image, Tensor) and image.ndim == 3 else image
        array = np.asarray(array)
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
            raise ValueError(
                "images are paths, arrays uint8 (H, W, 3) or tensors uint8 (3, H, W), all of one kind, "
                f"not {type(image).__name__} {array.dtype} {array.shape}"
            )
        arrays.append(np.ascontiguousarray(array))
    return arrays
