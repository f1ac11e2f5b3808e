"""Features of anything that holds images: the library entry for people who only want vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from unreid.evaluation.extract import extract_features
from unreid.structures import Tracklet
from unreid.utils.errors import UserError

if TYPE_CHECKING:
    from unreid.config import CfgNode
    from unreid.data.transforms import TestTransform

RETRIEVAL_FEATURES = {"buc": "pooled_l2"}
"""Methods that retrieve with another feature than the embedding."""


class FeatureExtractor:
    """Turns images into feature vectors, in batches.

    Accepts the path of an image, a list of paths, a folder (all images below it, in the order of
    :meth:`list_images`), an array uint8 (H, W, 3) or (N, H, W, 3) in RGB, a list of such arrays of any sizes, a tensor
    uint8 (3, H, W) or (N, 3, H, W), or a tensor float (N, 3, H, W) that went through the transform already.

    Args:
        model: an :class:`~unreid.models.embedding.EmbeddingModel`, or any module with such an output.
        transform: resize and normalisation; None: 256 x 128, bicubic, ImageNet mean and deviation.
        feature: "embedding", "pooled" or "pooled_l2", see :func:`~unreid.evaluation.extract.extract_features`.
        device: where the model runs; it is moved there.
        batch_size: images of a forward pass.
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
        self._options: dict[str, Any] = {"feature": feature, "flip": flip, "amp": amp}

    @classmethod
    def from_config(cls, cfg: CfgNode, model: nn.Module, device: torch.device | str = "cpu") -> FeatureExtractor:
        """The extractor that a run's config describes, around a loaded model."""
        from unreid.data.build import build_test_transform

        if cfg.MODEL.BACKBONE.CAMERAS:
            raise UserError(
                "FeatureExtractor takes images without cameras, and this model has a camera embedding "
                f"(MODEL.BACKBONE.CAMERAS {cfg.MODEL.BACKBONE.CAMERAS}): use tools/main.py with TEST.EVAL_ONLY True."
            )
        return cls(
            model,
            build_test_transform(cfg),
            feature=RETRIEVAL_FEATURES.get(cfg.METHOD.NAME.lower(), "embedding"),
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
        device: torch.device | str | None = None,
    ) -> FeatureExtractor:
        """The extractor of a trained model.

        Args:
            path: a checkpoint of this project (it holds its config), or one of a reference repository (its file tells
                the network; input size and interpolation come from the config or the defaults).
            config_file: replaces the config of the checkpoint.
            overrides: ``[KEY, VALUE, ...]`` over either.
            device: default: CUDA when there is one.

        Raises:
            UserError: the file is missing, holds no known checkpoint, or does not fit the config.
        """
        from unreid.models.embedding import EmbeddingModel

        cfg, weights = _read_checkpoint(path, config_file, overrides)
        model = EmbeddingModel.from_config(cfg, pretrained=False)
        try:
            model.load_state_dict({key: value for key, value in weights.items() if not key.startswith("classifier.")})
        except RuntimeError as error:
            reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
            raise UserError(f"{path} does not fit the model of its config ({reason}); give the right one.") from None
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls.from_config(cfg, model, device)

    @staticmethod
    def list_images(folder: str | Path) -> list[Path]:
        """All image files below a folder, sorted by relative path; rows of ``extractor(folder)`` are in this order.

        Raises:
            UserError: there is no such folder, or no image in it.
        """
        from unreid.data.datasets.files import image_tree

        folder = Path(folder)
        if not folder.is_dir():
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
            return self._from_paths([path] if path.exists() and not path.is_dir() else self.list_images(path))
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
        return extract_features(self.model, batches, num_samples=count, device=self.device, **self._options)


def _arrays(images: Any) -> list[np.ndarray]:
    """A list of uint8 arrays (H, W, 3)."""
    if isinstance(images, np.ndarray | Tensor):
        images = images if images.ndim == 4 else [images]
    arrays = []
    for image in images:
        array = image.permute(1, 2, 0).cpu().numpy() if isinstance(image, Tensor) and image.ndim == 3 else image
        array = np.asarray(array)
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
            raise ValueError(
                "images are paths, arrays uint8 (H, W, 3) or tensors uint8 (3, H, W), "
                f"not {type(image).__name__} {array.dtype} {array.shape}"
            )
        arrays.append(np.ascontiguousarray(array))
    return arrays


def _read_checkpoint(
    path: str | Path, config_file: str | Path | None, overrides: Sequence[Any]
) -> tuple[CfgNode, dict[str, Tensor]]:
    """The config a checkpoint is to be used with, and its weights under this project's names."""
    import yaml

    from unreid.config import CfgNode, get_cfg
    from unreid.models.checkpoint_keys import convert_checkpoint
    from unreid.utils.io import load_checkpoint

    content = load_checkpoint(path)
    stored = get_cfg()
    if content.get("format") == "unreid":
        weights = content["model"]
        stored.merge_from_other_cfg(CfgNode(yaml.safe_load(content["config"])))
    else:
        converted = convert_checkpoint(content, origin=str(path))
        weights = converted.state
        hints = converted.hints | ({"METHOD.NAME": "BUC"} if converted.layout == "buc" else {})
        stored.merge_from_list([part for pair in hints.items() for part in pair])
    cfg = stored
    if config_file is not None:
        cfg = get_cfg()
        cfg.merge_from_file(config_file)
    cfg.merge_from_list(overrides)
    # How training splits BN over a batch means nothing here.
    cfg.merge_from_list(["MODEL.BN_CHUNKS", 1, "MODEL.SYNC_BN", False])
    cfg.freeze()
    return cfg, weights
