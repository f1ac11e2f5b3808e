"""From images to vectors with whatever the user calls a model."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unreid.config import load_config
from unreid.data.build import build_test_transform
from unreid.data.extract_loader import ExtractLoader
from unreid.data.reading import CorruptImages
from unreid.evaluation.extract import extract_features
from unreid.evaluation.feature_extractor import retrieval_feature
from unreid.evaluation.stored_model import read_stored_model
from unreid.models.checkpoint_keys import is_classifier
from unreid.models.embedding import EmbeddingModel
from unreid.structures import Tracklet
from unreid.utils.errors import UserError
from unreid.utils.shipped_weights import locate_weights
from unreid.workbench.exported import Exported, exported_kind, read_exported
from unreid.workbench.feature_table import FeatureMeta
from unreid.workbench.preprocessing import Preprocessing
from unreid.workbench.start_weights import check_start_weights

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Encoder:
    """A network with everything that decides about its vectors.

    Attributes:
        model: gives a :class:`~unreid.structures.ModelOutput`.
        fingerprint: of weights, preprocessing and kind of feature.
        feature: "embedding", "pooled" or "pooled_l2".
        flip: average with the mirror image's vector.
        amp: "off", "bf16" or "fp16".
        config: of the network as YAML, or "" where it is not one of ours.
    """

    model: nn.Module
    preprocessing: Preprocessing
    name: str
    fingerprint: str
    feature: str = "embedding"
    flip: bool = False
    amp: str = "off"
    device: torch.device = torch.device("cpu")
    config: str = ""

    def meta(self, root: str, unreadable: Sequence[str] = ()) -> FeatureMeta:
        """What a table of its vectors says about their origin."""
        return FeatureMeta(
            root, self.name, self.fingerprint, self.feature, self.preprocessing.to_dict(), list(unreadable)
        )

    def stream(
        self, files: Sequence[str], rows: np.ndarray, *, batch_size: int, workers: int = 0
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Vectors float32 (n, D) and their rows int64 (n,), batch by batch; unreadable images are warned about.

        Args:
            rows: which of them, in this order.
            workers: processes that decode; 0: this one.
        """
        records = [Tracklet((file,), camid=0, trackid=number) for number, file in enumerate(files)]
        loader = ExtractLoader(
            records,
            self.preprocessing.transform(),
            batch_size=batch_size,
            device=self.device,
            workers=workers,
            corrupt=CorruptImages(skip=True),
            indices=rows,
        )
        with loader:
            for images, owners in loader:
                yield self.vectors(images), owners.cpu().numpy()

    def vectors(self, images: Tensor) -> np.ndarray:
        """float32 (n, D) of preprocessed images float (n, 3, H, W); :class:`UserError` if they are not finite."""
        batch = [(images, torch.arange(len(images), device=images.device))]
        found = extract_features(
            self.model,
            batch,
            feature=self.feature,
            num_samples=len(images),
            device=self.device,
            flip=self.flip,
            amp=self.amp,
        )
        if not bool(found.isfinite().all()):  # no command would read the table
            raise UserError(
                f"{self.name} gives vectors that are NaN or infinite (TEST.AMP {self.amp}): use TEST.AMP off."
            )
        return found.cpu().numpy()


def load_encoder(
    model: str | Path,
    *,
    config_file: str | Path | None = None,
    overrides: Sequence[Any] = (),
    plugins: Sequence[str] = (),
    feature: str = "",
    device: torch.device | str = "cpu",
) -> Encoder:
    """The encoder that ``model`` names.

    Args:
        model: a checkpoint (of this project or a published one), a file that ``unreid export`` or others wrote (ONNX,
            TorchScript, safetensors), the bare name of a network of the package, or the name of a backbone, which
            gets its published weights or those of ``MODEL.BACKBONE.PRETRAIN_PATH``.
        config_file, overrides, plugins: as for
            :meth:`~unreid.evaluation.feature_extractor.FeatureExtractor.from_checkpoint`.
        feature: "" takes what the model retrieves with.

    Raises:
        UserError: there is no such model, or the file is damaged or does not fit.
    """
    device = torch.device(device)
    kind = exported_kind(model)
    if kind:
        return _from_export(read_exported(model, kind, device), str(model), config_file, overrides, feature, device)
    stored_feature = ""
    if locate_weights(model).is_file():
        cfg, network, stored_feature = read_stored_model(model, config_file, overrides, plugins)
    else:
        cfg = load_config(config_file, ["MODEL.BACKBONE.NAME", str(model), *overrides])
        check_start_weights(cfg, str(model))
        network = EmbeddingModel.from_config(cfg, pretrained=True)
    if cfg.MODEL.BACKBONE.CAMERAS:
        raise UserError(
            f"{model} has a camera embedding (MODEL.BACKBONE.CAMERAS {cfg.MODEL.BACKBONE.CAMERAS}), whose cameras are "
            "those of its training: use unreid eval."
        )
    feature = feature or stored_feature or retrieval_feature(cfg.METHOD.NAME)
    preprocessing = Preprocessing.of(build_test_transform(cfg))
    own = fingerprint(network, preprocessing, feature, cfg.TEST.FLIP)
    network = network.to(device).eval()
    return Encoder(network, preprocessing, str(model), own, feature, cfg.TEST.FLIP, cfg.TEST.AMP, device, cfg.dump())


def fingerprint(model: nn.Module, preprocessing: Preprocessing, feature: str, flip: bool) -> str:
    """32 hexadecimal digits of all that decides about the vectors, a classifier left out."""
    digest = hashlib.sha256(json.dumps([preprocessing.to_dict(), feature, flip], sort_keys=True).encode())
    for name, value in sorted(model.state_dict().items()):
        if not is_classifier(name) and not name.endswith("num_batches_tracked"):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]


def _from_export(
    found: Exported,
    name: str,
    config_file: str | Path | None,
    overrides: Sequence[Any],
    feature: str,
    device: torch.device,
) -> Encoder:
    feature = feature or found.feature
    if found.preprocessing is not None:
        if config_file or overrides or feature != found.feature:
            raise UserError(f"{name} records its preprocessing and its feature {found.feature}, which nothing changes.")
        return Encoder(found.model.eval(), found.preprocessing, name, found.fingerprint, feature, device=device)
    size = ["INPUT.SIZE_TEST", list(found.size)] if found.size else []
    cfg = load_config(config_file, [*size, *overrides])
    preprocessing, flip = Preprocessing.of(build_test_transform(cfg)), cfg.TEST.FLIP
    logger.warning("%s records no preprocessing: taken is %s", name, preprocessing.to_dict())
    decisive = [found.digest, preprocessing.to_dict(), *(["flip"] if flip else [])]
    own = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:32]
    return Encoder(found.model.eval(), preprocessing, name, own, feature, flip, cfg.TEST.AMP, device)
