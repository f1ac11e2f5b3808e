"""A network in one file for others to run: ONNX, TorchScript or safetensors, checked on pictures before it is kept."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from unreid.data.reading import read_image
from unreid.models.checkpoint_format import FORMAT as OWN
from unreid.models.checkpoint_format import VERSION as OWN_VERSION
from unreid.models.checkpoint_keys import is_classifier
from unreid.structures import ModelOutput
from unreid.utils.errors import UserError
from unreid.utils.packages import require_packages
from unreid.utils.progress import task
from unreid.utils.writing import replacing, writing
from unreid.workbench.encoder import Encoder, load_encoder
from unreid.workbench.exported import ENTRY, FORMAT, INPUT, OUTPUT, VERSION

logger = logging.getLogger(__name__)

TOLERANCE = 1e-4
"""Largest difference of a number of a vector that is let pass; vectors have unit length."""
_OPSET = 18
_MOST = 16  # pictures of the check


class Vectors(nn.Module):
    """A network reduced to what retrieval needs: images in, vectors out, the mirror image's share included."""

    def __init__(self, model: nn.Module, feature: str, flip: bool) -> None:
        super().__init__()
        self.model = model
        self.feature = feature
        self.flip = flip

    def forward(self, images: Tensor) -> Tensor:
        """float (N, 3, H, W), preprocessed -> float (N, D)."""
        vectors = self._vectors(images)
        if self.flip:
            vectors = (vectors + self._vectors(images.flip(3))) / 2
            if self.feature == "embedding":
                vectors = normalize(vectors)
        return normalize(vectors) if self.feature == "pooled_l2" else vectors

    def _vectors(self, images: Tensor) -> Tensor:
        output: ModelOutput = self.model(images)
        return output.embedding if self.feature == "embedding" else output.pooled


def export(encoder: Encoder, path: str | Path, form: str, pictures: list[np.ndarray]) -> float:
    """Writes an encoder's network to a file, reads it back and compares both on pictures.

    The preprocessing, the kind of feature and the fingerprint stand in the file, so that vectors of the file and of
    the original may be mixed. The batch is dynamic.

    Args:
        encoder: of one of our networks.
        path: file to write, whole or not at all.
        form: "onnx", "torchscript" or "safetensors".
        pictures: uint8 (H, W, 3) arrays of any sizes, at least two.

    Returns:
        The largest difference of a number, at batches of one and of all pictures.

    Raises:
        UserError: the network cannot be exported, differs by more than 1e-4, a package is missing, or the system
            refuses the file.
    """
    from PIL import Image

    if not encoder.config:
        raise UserError(f"{encoder.name} is an exported file itself: name the checkpoint it came from.")
    encoder.model.to("cpu").eval()
    with tempfile.TemporaryDirectory(prefix="unreid-export-") as at:  # TMPDIR: what a kill leaves there is swept
        draft = Path(at) / f"model.{form}"
        transform = encoder.preprocessing.transform()
        images = torch.stack([transform(Image.fromarray(picture)) for picture in pictures])
        with task(f"exporting as {form}"), writing(draft):
            {"onnx": _onnx, "torchscript": _torchscript, "safetensors": _safetensors}[form](encoder, draft, images)
        with task("comparing", len(images), "images"):
            difference = _compare(encoder, draft, images)
        if not difference <= TOLERANCE:
            raise UserError(
                f"{encoder.name} as {form} gives other vectors (largest difference {difference:.2g}, allowed "
                f"{TOLERANCE:g}), so nothing was written."
            )
        with replacing(path) as target, draft.open("rb") as source:
            shutil.copyfileobj(source, target, 1 << 24)
    return difference


def some_pictures(images: list[str] | None) -> list[np.ndarray]:
    """Pictures for the check: some of the given files, or rendered pedestrians.

    Raises:
        UserError: fewer than two of the files can be read.
    """
    if images is None:
        return _rendered()
    step = max(1, len(images) // _MOST)
    pictures = []
    for path in images[::step][:_MOST]:
        try:
            pictures.append(np.asarray(read_image(path)))
        except UserError as error:
            logger.warning("%s", error)
    if len(pictures) < 2:
        raise UserError("The check of an export needs two images that can be read.")
    return pictures


def record(encoder: Encoder) -> str:
    """What a file says about itself."""
    return json.dumps(
        {
            "format": FORMAT,
            "version": VERSION,
            "model": encoder.name,
            "fingerprint": encoder.fingerprint,
            "feature": encoder.feature,
            "preprocessing": encoder.preprocessing.to_dict(),
        },
        sort_keys=True,
    )


def _onnx(encoder: Encoder, path: Path, images: Tensor) -> None:
    require_packages("ONNX", "onnx", "onnxruntime", "onnxscript", way_out="install unreid[export]")
    import onnx

    network = Vectors(encoder.model, encoder.feature, encoder.flip).eval()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            program = torch.onnx.export(
                network,
                (images[:2],),
                dynamo=True,
                opset_version=_OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1, max=65536)}},
                verbose=False,
            )
    except Exception as error:  # the exporter's errors have no common class
        reason = next(
            (line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__
        )
        raise UserError(f"{encoder.name} cannot be exported as ONNX: {reason[:300]}") from error
    assert program is not None
    proto = program.model_proto
    entry = proto.metadata_props.add()
    entry.key, entry.value = ENTRY, record(encoder)
    onnx.checker.check_model(proto)
    onnx.save(proto, path)


def _torchscript(encoder: Encoder, path: Path, images: Tensor) -> None:
    network = Vectors(encoder.model, encoder.feature, encoder.flip).eval()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            script = torch.jit.trace(network, images[:2], check_trace=False)
            torch.jit.save(script, str(path), _extra_files={f"{ENTRY}.json": record(encoder)})
    except (RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"{encoder.name} cannot be exported as TorchScript: {str(error).splitlines()[0]}") from error


def _safetensors(encoder: Encoder, path: Path, images: Tensor) -> None:
    require_packages("safetensors", "safetensors", way_out="install unreid[export]")
    from safetensors.torch import save_file

    state = {
        name: value.detach().clone().contiguous()
        for name, value in encoder.model.state_dict().items()
        if not is_classifier(name)
    }
    texts = {"config": encoder.config, "feature": encoder.feature, ENTRY: record(encoder)}
    save_file(state, path, metadata={"format": OWN, "version": str(OWN_VERSION), **texts})


def _compare(encoder: Encoder, path: Path, images: Tensor) -> float:
    """Largest difference between the original and the file, read back as a user of it would."""
    again = load_encoder(path)
    if again.fingerprint != encoder.fingerprint or again.preprocessing != encoder.preprocessing:
        raise RuntimeError(f"the exported file {path.name} does not say what it is")
    original = replace(encoder, amp="off").vectors(images)
    one = np.concatenate([again.vectors(image[None]) for image in images[:2]])
    many = again.vectors(images)
    found: list[Any] = [np.abs(many - original).max(), np.abs(one - original[:2]).max()]
    return float(max(found))


def _rendered() -> list[np.ndarray]:
    from unreid.rendering.knobs import WorldKnobs
    from unreid.rendering.scene import Scene
    from unreid.rendering.seeding import Half
    from unreid.rendering.world import passages

    knobs = WorldKnobs(train_ids=4, test_ids=4, cameras=2, images_per_camera=(2, 2))
    scene = Scene(knobs)
    return [image for passage in passages(knobs, Half.TRAIN) for image in scene.images(passage)][:_MOST]
