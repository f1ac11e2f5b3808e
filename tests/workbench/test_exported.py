"""Files that others run: what they record, and ONNX of a fixed batch, through a session that stands for onnxruntime."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from unreid.utils.errors import UserError
from unreid.workbench.exported import ENTRY, FORMAT, VERSION, OnnxNetwork, exported_kind, parse_record, read_exported
from unreid.workbench.preprocessing import Preprocessing

RECORD = {
    "format": FORMAT,
    "version": VERSION,
    "fingerprint": "ab",
    "feature": "pooled",
    "preprocessing": Preprocessing((8, 4), "bicubic", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)).to_dict(),
}


def test_a_record_is_read_and_that_of_another_release_is_refused() -> None:
    assert parse_record(json.dumps(RECORD), "m.onnx") == RECORD
    for change in ({"version": VERSION + 1}, {"format": "others"}, {"fingerprint": 3}, {"feature": None}):
        with pytest.raises(UserError, match=r"m\.onnx was exported by another release: export the model anew"):
            parse_record(json.dumps(RECORD | change), "m.onnx")
    for text in (
        "{",
        "[]",
        "3",
        json.dumps({name: value for name, value in RECORD.items() if name != "preprocessing"}),
    ):
        with pytest.raises(UserError, match="another release"):
            parse_record(text, "m.onnx")


class Session:
    """Gives the sums of each image's channels, of the batch that the file is for and no other."""

    inputs = [SimpleNamespace(name="pixels", shape=[4, 3, 8, 4])]
    outputs = [SimpleNamespace(name="found", shape=[4, 3]), SimpleNamespace(name="more", shape=[4])]
    metadata: dict[str, str] = {}

    def __init__(self, path: str, options: Any, providers: list[str]) -> None:
        assert providers == ["CPUExecutionProvider"]

    def get_inputs(self) -> list[Any]:
        return self.inputs

    def get_outputs(self) -> list[Any]:
        return self.outputs

    def get_modelmeta(self) -> Any:
        return SimpleNamespace(custom_metadata_map=self.metadata)

    def run(self, names: list[str], given: dict[str, np.ndarray]) -> list[np.ndarray]:
        assert names == ["found"] and given.keys() == {"pixels"}
        images, wanted = given["pixels"], self.inputs[0].shape[0]
        assert images.dtype == np.float32 and (not isinstance(wanted, int) or len(images) == wanted)
        return [images.sum(axis=(2, 3))]


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> type[Session]:
    class Own(Session):
        pass

    runtime = SimpleNamespace(
        SessionOptions=SimpleNamespace,
        get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
        InferenceSession=Own,
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    return Own


@pytest.mark.parametrize("count", [1, 4, 6, 9])
def test_a_file_for_a_fixed_batch_is_run_on_as_many_at_a_time(
    session: type[Session], tmp_path: Path, count: int
) -> None:
    images = torch.randn(count, 3, 8, 4)
    for shape in ([4, 3, 8, 4], ["n", 3, None, "w"]):
        session.inputs = [SimpleNamespace(name="pixels", shape=shape)]
        network = OnnxNetwork(tmp_path / "m.onnx", torch.device("cpu"))
        found = network(images)
        torch.testing.assert_close(found.embedding, images.sum(dim=(2, 3)), atol=1e-5, rtol=0)
        assert found.pooled is found.embedding
        assert network.size == ((8, 4) if shape[2] == 8 else None) and network.record == ""


@pytest.mark.parametrize(
    ("inputs", "outputs", "reason"),
    [
        ([[4, 3, 8, 4], [1]], [[4, 3]], r"not images \(N, 3, H, W\)"),
        ([[4, 1, 8, 4]], [[4, 3]], r"not images \(N, 3, H, W\)"),
        ([[4, 3]], [[4, 3]], r"not images \(N, 3, H, W\)"),
        ([[4, 3, 8, 4]], [[4, 3, 1, 1]], r"not vectors \(N, D\)"),
        ([[4, 3, 8, 4]], [None], r"not vectors \(N, D\)"),
    ],
)
def test_a_file_that_takes_or_gives_something_else_is_refused(
    session: type[Session], tmp_path: Path, inputs: list[Any], outputs: list[Any], reason: str
) -> None:
    session.inputs = [SimpleNamespace(name=f"in{n}", shape=shape) for n, shape in enumerate(inputs)]
    session.outputs = [SimpleNamespace(name="out", shape=shape) for shape in outputs]
    with pytest.raises(UserError, match=reason):
        OnnxNetwork(tmp_path / "m.onnx", torch.device("cpu"))


def test_what_a_file_records_is_what_is_read(session: type[Session], tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with pytest.raises(UserError, match=r"There is no file .*m\.onnx"):
        read_exported(path, "onnx", torch.device("cpu"))
    path.write_bytes(b"one")
    plain = read_exported(path, "onnx", torch.device("cpu"))
    assert (plain.preprocessing, plain.fingerprint, plain.feature, plain.size) == (None, "", "embedding", (8, 4))
    session.metadata = {ENTRY: json.dumps(RECORD)}
    found = read_exported(path, "onnx", torch.device("cpu"))
    assert (found.fingerprint, found.feature, found.digest) == ("ab", "pooled", plain.digest)
    assert found.preprocessing is not None and found.preprocessing.to_dict() == RECORD["preprocessing"]
    path.write_bytes(b"other")
    assert read_exported(path, "onnx", torch.device("cpu")).digest != plain.digest


def test_kinds_are_told_by_name_or_content(tmp_path: Path) -> None:
    for name, kind in (
        ("a.onnx", "onnx"),
        ("a.ONNX", "onnx"),
        ("a.ts", "torchscript"),
        ("a.torchscript", "torchscript"),
    ):
        assert exported_kind(tmp_path / name) == kind
    for name, entry, kind in (("script.pth", "x/code/a.py", "torchscript"), ("plain.pth", "x/data.pkl", "")):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(entry, "")
        assert exported_kind(tmp_path / name) == kind
    (tmp_path / "text.pth").write_text("text")
    assert exported_kind(tmp_path / "text.pth") == exported_kind(tmp_path / "none.pth") == ""
    damaged = (tmp_path / "script.pth").read_bytes().replace(b"PK\x01\x02", b"xxxx")
    (tmp_path / "damaged.pth").write_bytes(damaged)
    assert exported_kind(tmp_path / "damaged.pth") == ""
