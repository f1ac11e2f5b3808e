"""Networks in files of their own: ONNX and TorchScript, with what ``unreid export`` recorded in them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unreid.structures import ModelOutput
from unreid.utils.errors import UserError
from unreid.utils.packages import require_packages
from unreid.workbench.preprocessing import Preprocessing

FORMAT = "unreid-export"
VERSION = 1
ENTRY = "unreid"
"""Name of the record, JSON text: in ONNX's metadata, and as an extra file (with .json) of TorchScript."""
INPUT, OUTPUT = "images", "vectors"


@dataclass(frozen=True)
class Exported:
    """A network and what its file says of it.

    Attributes:
        model: images float (N, 3, H, W) -> :class:`~unreid.structures.ModelOutput`, pooled and embedding alike.
        preprocessing: recorded, or None.
        fingerprint: of the model that was exported; "" in files of others.
        feature: kind of its vectors.
        size: height and width of the input where the file fixes them.
    """

    model: nn.Module
    preprocessing: Preprocessing | None
    fingerprint: str
    feature: str
    size: tuple[int, int] | None
    digest: str


def exported_kind(path: str | Path) -> str:
    """ "onnx", "torchscript", or "" for anything else."""
    path = Path(path)
    if path.suffix.lower() == ".onnx":
        return "onnx"
    if path.suffix.lower() in (".torchscript", ".ts"):
        return "torchscript"
    if path.is_file() and zipfile.is_zipfile(path):
        with contextlib.suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
            if any(name.partition("/")[2].startswith("code/") for name in archive.namelist()):
                return "torchscript"
    return ""


def read_exported(path: str | Path, kind: str, device: torch.device) -> Exported:
    """The network in an ONNX or TorchScript file.

    Raises:
        UserError: there is no such file, it is damaged or no embedding network, or a package is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no file {path}.")
    network: nn.Module
    if kind == "onnx":
        network = OnnxNetwork(path, device)
        text, size = network.record, network.size
    else:
        network, text = _read_torchscript(path, device)
        size = None
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if not text:
        return Exported(network, None, "", "embedding", size, digest)
    record = parse_record(text, str(path))
    preprocessing = Preprocessing.from_dict(record["preprocessing"], str(path))
    return Exported(network, preprocessing, record["fingerprint"], record["feature"], size, digest)


def parse_record(text: str, origin: str) -> dict[str, Any]:
    """What an exported file records; :class:`UserError` where that is something else."""
    try:
        record = json.loads(text)
        if record["format"] != FORMAT or record["version"] != VERSION:
            raise ValueError
        if not all(isinstance(record[name], str) for name in ("fingerprint", "feature")):
            raise ValueError
        record["preprocessing"]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{origin} was exported by another release: export the model anew.") from None
    return record


class OnnxNetwork(nn.Module):
    """Runs an ONNX file through onnxruntime.

    Attributes:
        record: the text that ``unreid export`` left, or "".
        size: height and width that the file fixes, or None.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        super().__init__()
        require_packages(path, "onnxruntime", way_out="install unreid[export], or name a checkpoint")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = torch.get_num_threads()
        wanted = ["CUDAExecutionProvider"] if device.type == "cuda" else []
        available = onnxruntime.get_available_providers()
        providers = [name for name in [*wanted, "CPUExecutionProvider"] if name in available]
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # its errors have no common class
            reason = str(error).splitlines()[0][:200]
            raise UserError(f"{path} cannot be run by onnxruntime: {reason}") from None
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = inputs[0].shape
        if len(inputs) != 1 or len(shape) != 4 or shape[1] not in (3, None) and not isinstance(shape[1], str):
            raise UserError(f"{path} takes {[(one.name, one.shape) for one in inputs]}, not images (N, 3, H, W).")
        if len(outputs[0].shape or ()) != 2:
            raise UserError(f"{path} gives {outputs[0].name} of shape {outputs[0].shape}, not vectors (N, D).")
        self._input, self._output = inputs[0].name, outputs[0].name
        self._batch = shape[0] if isinstance(shape[0], int) else 0
        self.size = (shape[2], shape[3]) if all(isinstance(side, int) for side in shape[2:]) else None
        self.record = self._session.get_modelmeta().custom_metadata_map.get(ENTRY, "")

    def forward(self, images: Tensor) -> ModelOutput:
        """float (N, 3, H, W) -> vectors (N, D); a file for a fixed batch is run on as many at a time."""
        pixels = np.ascontiguousarray(images.detach().float().cpu().numpy())
        step = self._batch or max(len(pixels), 1)
        parts = []
        for start in range(0, len(pixels), step):
            part = pixels[start : start + step]
            count = len(part)
            if count < step:
                part = np.concatenate([part, np.repeat(part[:1], step - count, axis=0)])
            parts.append(self._session.run([self._output], {self._input: part})[0][:count])
        vectors = torch.from_numpy(np.concatenate(parts)).to(images.device)
        return ModelOutput(pooled=vectors, embedding=vectors)


class ScriptedNetwork(nn.Module):
    """Gives what a TorchScript network returns the form of our networks."""

    def __init__(self, script: nn.Module) -> None:
        super().__init__()
        self.script = script

    def forward(self, images: Tensor) -> ModelOutput:
        """float (N, 3, H, W) -> vectors (N, D)."""
        vectors = self.script(images)
        return ModelOutput(pooled=vectors, embedding=vectors)


def _read_torchscript(path: Path, device: torch.device) -> tuple[nn.Module, str]:
    extra = {f"{ENTRY}.json": ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            script = torch.jit.load(str(path), map_location=device, _extra_files=extra)
    except (RuntimeError, ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read as TorchScript: {str(error).splitlines()[0][:200]}") from None
    text = extra[f"{ENTRY}.json"]
    return ScriptedNetwork(script.eval()), text.decode() if isinstance(text, bytes) else text
