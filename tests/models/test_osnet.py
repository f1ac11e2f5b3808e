"""OSNet against numbers of torchreid's own code, and files whose norms an export has folded away."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unreid.models.base import create_backbone
from unreid.models.batch_norm import recalibrate_bn
from unreid.models.checkpoint_keys import convert_checkpoint
from unreid.models.convert import convert_file, load_weights
from unreid.models.embedding import EmbeddingModel
from unreid.models.folded_norms import folded_norms, settle, unfold
from unreid.models.osnet import OSNet
from unreid.models.pretrained import fill_backbone
from unreid.models.weight_files import read_file
from unreid.utils.errors import UserError

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "golden" / "data" / "common" / "osnet.json").read_text(encoding="utf-8")
)
NAMES = [name for name in GOLDEN if name != "source"]


def by_formula(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the same names and shapes whose values depend on nothing else."""
    made = {}
    for name, like in state.items():
        if not like.is_floating_point():
            made[name] = torch.zeros_like(like)
            continue
        phase = len(name) * 78.233 + zlib.crc32(name.encode()) % 1000
        wave = torch.sin(torch.arange(like.numel(), dtype=torch.float64) * 12.9898 + phase)
        if name.endswith("running_var"):
            wave = wave.abs() + 0.5
        elif like.ndim == 1:
            wave = 1 + 0.2 * wave if name.endswith("weight") else 0.1 * wave
        else:
            wave = wave * (3 / like[0].numel()) ** 0.5
        made[name] = wave.reshape(like.shape).float()
    return made


def torchreid_state(name: str) -> dict[str, Tensor]:
    """Names and shapes of a torchreid checkpoint of five identities, as its code writes it; values by formula."""
    with torch.device("meta"):
        state = create_backbone(name).state_dict()
    width = state["conv5.conv.weight"].shape[0]
    head = {"fc.0.weight": (512, width), "fc.0.bias": (512,), "classifier.weight": (5, 512), "classifier.bias": (5,)}
    head |= {f"fc.1.{leaf}": (512,) for leaf in ("weight", "bias", "running_mean", "running_var")}
    state |= {key: torch.empty(shape) for key, shape in head.items()}
    state["fc.1.num_batches_tracked"] = torch.zeros((), dtype=torch.int64)
    return by_formula({key: torch.empty(value.shape, dtype=value.dtype) for key, value in state.items()})


def whole(name: str = "osnet_x0_25") -> EmbeddingModel:
    return EmbeddingModel(create_backbone(name), embed_dim=512, bn_bias=True, neck_relu=True).eval()


@pytest.mark.parametrize("name", NAMES)
def test_names_and_features_are_torchreids(name: str) -> None:
    state = torchreid_state(name)
    listed = "\n".join(f"{key} {tuple(value.shape)}" for key, value in sorted(state.items()))
    assert zlib.crc32(listed.encode()) == GOLDEN[name]["names"]
    converted = convert_checkpoint(dict(state))
    assert converted.layout == "torchreid" and converted.hints["MODEL.BACKBONE.NAME"] == name
    model = whole(name)
    model.load_state_dict(converted.state, strict=True)
    image = torch.sin(torch.arange(2 * 3 * 64 * 32, dtype=torch.float64) * 0.37).reshape(2, 3, 64, 32).float()
    with torch.no_grad():
        features = model(image).neck
    assert features is not None
    expected = torch.tensor(GOLDEN[name]["values"]).reshape(2, 8)
    assert torch.allclose(features[:, ::64], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", ["x0_75", "x0_5", "x0_25"])
def test_the_narrow_ain_variants_have_a_name_of_their_own(size: str) -> None:
    state = torchreid_state(f"osnet_ain_{size}")
    assert convert_checkpoint(state).hints["MODEL.BACKBONE.NAME"] == f"osnet_ain_{size}"


def test_it_has_no_last_stride() -> None:
    with pytest.raises(UserError, match=r"no stride in its last stage.*LAST_STRIDE 1 instead of 2"):
        OSNet(last_stride=2)


def test_a_torchreid_file_is_a_whole_network_or_a_backbone(tmp_path: Path) -> None:
    state = {f"module.{key}": value for key, value in torchreid_state("osnet_x0_25").items()}
    torch.save({"state_dict": state, "epoch": 60}, tmp_path / "model.pth.tar")
    model = whole()
    load_weights(read_file(tmp_path / "model.pth.tar"), model, "model.pth.tar")
    report = fill_backbone(create_backbone("osnet_x0_25"), state, min_match=1.0)
    assert report.share == 1 and not report.missing
    converted = convert_file(tmp_path / "model.pth.tar", tmp_path / "ours.pth")
    again = whole()
    load_weights(read_file(tmp_path / "ours.pth"), again, "ours.pth")
    image = torch.randn(2, 3, 64, 32)
    assert torch.equal(model(image).embedding, again(image).embedding)
    convert_file(tmp_path / "ours.pth", tmp_path / "theirs.pth", to="torchreid")
    back = torch.load(tmp_path / "theirs.pth", weights_only=True)
    assert {f"module.{key}" for key in back} == {key for key in state if "classifier" not in key}
    assert converted.hints["MODEL.EMBED_DIM"] == 512


def test_the_neck_without_relu_is_a_choice_that_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    model = EmbeddingModel(create_backbone("osnet_x0_25"), embed_dim=512, bn_bias=True)
    load_weights(torchreid_state("osnet_x0_25"), model, "model.pth")
    assert "MODEL.NECK_RELU True, the config says False" in caplog.text


def folded(state: dict[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """What an exporter makes of the 2d norms: a convolution with a bias each."""
    plain = {key: value.double() for key, value in state.items()}
    for name, module in net.named_modules():
        if not isinstance(module, nn.BatchNorm2d):
            continue
        parent = name.rpartition(".")[0]
        layer = f"{parent}.conv2" if f"{parent}.conv2.weight" in plain else f"{parent}.conv"
        scale, bias, mean, var = (
            plain.pop(f"{name}.{leaf}") for leaf in ("weight", "bias", "running_mean", "running_var")
        )
        plain.pop(f"{name}.num_batches_tracked", None)
        scale = scale / (var + module.eps).sqrt()
        plain[f"{layer}.weight"] = plain[f"{layer}.weight"] * scale[:, None, None, None]
        plain[f"{layer}.bias"] = bias - mean * scale
    return {key: value.float() for key, value in plain.items() if "num_batches" not in key}


def test_folded_norms_compute_the_same_and_can_be_trained() -> None:
    """In training mode each channel has its own strength again, which folding had hidden."""
    torch.manual_seed(0)
    net, twin = create_backbone("osnet_x0_25"), create_backbone("osnet_x0_25")
    net.load_state_dict(by_formula(net.state_dict()))
    images = torch.randn(16, 3, 64, 32)
    recalibrate_bn(net, [images])
    export = unfold(folded(net.state_dict(), net), twin)
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    with torch.no_grad():
        expected, trained = net.eval()(images), net.train()(images)
        twin.load_state_dict(export)
        assert len(folded_norms(twin)) == norms
        plain, naive = twin.eval()(images), twin.train()(images)
        twin.load_state_dict(export)
        assert settle(twin, [images[:8], images[8:]]) == norms and not folded_norms(twin)
        settled, again = twin.eval()(images), twin.train()(images)
    tolerance = 1e-3 * float(expected.max())
    assert torch.allclose(plain, expected, atol=tolerance) and torch.allclose(settled, expected, atol=tolerance)
    assert float((again - trained).norm()) < 0.35 * float((naive - trained).norm())


def test_settling_asks_for_images_only_where_a_norm_is_folded() -> None:
    assert settle(create_backbone("osnet_x0_25"), iter(())) == 0
    net = create_backbone("osnet_x0_25")
    net.load_state_dict(unfold(folded(net.state_dict(), net), net))
    with pytest.raises(ValueError, match="no batch"):
        settle(net, iter(()))


def onnx_file(path: Path, state: dict[str, Tensor], net: nn.Module) -> None:
    """An ONNX file with the nodes that PyTorch's exporter writes for the layers, names and numbering included."""
    onnx = pytest.importorskip("onnx")
    from onnx import helper, numpy_helper

    nodes, constants = [], []
    small = folded({key: value for key, value in state.items() if not key.startswith(("fc.", "classifier."))}, net)
    small |= {key: value for key, value in state.items() if key.startswith("fc.")}
    for number, layer in enumerate(dict.fromkeys(key.rpartition(".")[0] for key in small)):
        scope = "".join(f"/{'.'.join(parts)}" for parts in _scopes(layer))
        kind = "Gemm" if layer == "fc.0" else "BatchNormalization" if layer == "fc.1" else "Conv"
        inputs = [f"in_{number}"]
        leaves = ("weight", "bias", "running_mean", "running_var")
        for leaf in leaves:
            if f"{layer}.{leaf}" in small:
                hidden = kind == "Conv" and f"{layer}.bias" in small and "gate" not in layer
                name = f"onnx::Conv_{1000 + 3 * number + leaves.index(leaf)}" if hidden else f"{layer}.{leaf}"
                constants.append(numpy_helper.from_array(small[f"{layer}.{leaf}"].numpy(), name))
                inputs.append(name)
        extra = {"transB": 1} if kind == "Gemm" else {}
        nodes.append(helper.make_node(kind, inputs, [f"out_{number}"], name=f"{scope}/{kind}", **extra))
    graph = helper.make_graph(nodes, "main_graph", [], [], constants)
    onnx.save(helper.make_model(graph), str(path))


def _scopes(layer: str) -> list[list[str]]:
    """``conv2.0.conv1`` -> conv2, conv2.0, conv1: the exporter's way of naming the children of a container."""
    scopes: list[list[str]] = []
    for part in layer.split("."):
        scopes.append([*scopes[-1], part] if part.isdigit() and scopes else [part])
    return scopes


def test_an_onnx_file_gives_the_features_of_the_checkpoint(tmp_path: Path) -> None:
    state = torchreid_state("osnet_x0_25")
    onnx_file(tmp_path / "osnet.onnx", state, create_backbone("osnet_x0_25"))
    model, exported = whole(), whole()
    load_weights(state, model, "osnet.pth")
    load_weights(read_file(tmp_path / "osnet.onnx"), exported, "osnet.onnx")
    image = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        assert torch.allclose(model(image).embedding, exported(image).embedding, atol=1e-4)
    convert_file(tmp_path / "osnet.onnx", tmp_path / "ours.pth")
    again = whole()
    load_weights(read_file(tmp_path / "ours.pth"), again, "ours.pth")
    assert folded_norms(again)


@pytest.mark.parametrize("content", [b"", b"no onnx at all", b"\x08\x07" * 40])
def test_a_damaged_onnx_file_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("onnx")
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"broken\.onnx (is not an ONNX file|holds no convolution)"):
        read_file(path)


def test_a_missing_onnx_file_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    with pytest.raises(UserError, match="There is no weight file"):
        read_file(tmp_path / "none.onnx")


def test_fresh_gates_have_no_bias() -> None:
    biases = [layer.bias for layer in OSNet(width=0.25).modules() if isinstance(layer, nn.Conv2d)]
    kept = [bias for bias in biases if bias is not None]
    assert len(kept) == 2 * 6 and not any(bias.any() for bias in kept)
