"""Files of other toolboxes, small but with their real names: features after import, and what is left out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet as tv

from unreid.config import CfgNode, load_config
from unreid.engine.checkpoint import load_model
from unreid.engine.start import adopt_network, described_network
from unreid.models.base import create_backbone
from unreid.models.checkpoint_keys import convert_checkpoint, export_state_dict
from unreid.models.embedding import EmbeddingModel
from unreid.models.public_layouts import PREFIXES, detect_public, public_hints
from unreid.utils.errors import UserError

State = dict[str, Tensor]
Published = Callable[[Tensor], Tensor]
IMAGES = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(1))


def resnet18(seed: int = 0) -> tv.ResNet:
    """With statistics and weights that a trained network could have."""
    torch.manual_seed(seed)
    net = tv.resnet18().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 1.5)
    del net.fc
    return net


def fine(net: tv.ResNet) -> tv.ResNet:
    """With last stride 1."""
    net.layer4[0].conv1.stride = net.layer4[0].downsample[0].stride = (1, 1)
    return net


def neck(width: int, seed: int = 5) -> nn.BatchNorm1d:
    torch.manual_seed(seed)
    layer = nn.BatchNorm1d(width).eval()
    layer.weight.data.uniform_(0.5, 1.5)
    layer.running_mean.uniform_(0, 1)
    layer.running_var.uniform_(0.5, 1.5)
    return layer


def named(prefix: str, module: nn.Module) -> State:
    return {f"{prefix}{key}": value for key, value in module.state_dict().items()}


def maps(net: tv.ResNet, images: Tensor) -> Tensor:
    x = net.maxpool(net.relu(net.bn1(net.conv1(images))))
    return net.layer4(net.layer3(net.layer2(net.layer1(x))))


def torchreid_resnet() -> tuple[Any, Published]:
    net = resnet18()
    state = named("module.", net) | {
        "module.classifier.weight": torch.ones(7, 512),
        "module.classifier.bias": torch.ones(7),
    }
    return {"state_dict": state, "epoch": 60, "rank1": 0.9}, lambda x: maps(net, x).mean((2, 3))


def torchreid_fc() -> tuple[Any, Published]:
    net, linear, norm = resnet18(), nn.Linear(512, 16), neck(16)
    state = named("", net) | named("fc.0.", linear) | named("fc.1.", norm) | {"classifier.weight": torch.ones(7, 16)}
    fine(net)  # resnet50_fc512 of torchreid
    return state, lambda x: F.relu(norm(linear(maps(net, x).mean((2, 3)))))


def fastreid() -> tuple[Any, Published]:
    net, norm, power = resnet18(), neck(512), torch.tensor([2.5])
    state = named("backbone.", net) | named("heads.bottleneck.0.", norm) | {"heads.pool_layer.p": power}
    state |= {
        "heads.weight": torch.ones(7, 512),
        "pixel_mean": torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1),
    }
    fine(net).maxpool = nn.MaxPool2d(3, stride=2, ceil_mode=True)

    def features(x: Tensor) -> Tensor:
        return norm(maps(net, x).clamp(min=1e-6).pow(2.5).mean((2, 3)).pow(1 / 2.5))

    return {"model": state, "iteration": 100}, features


def fastreid_reduced() -> tuple[Any, Published]:
    net, linear, norm = resnet18(), nn.Conv2d(512, 16, 1, bias=False), neck(16)
    state = named("backbone.", net) | named("heads.bottleneck.0.", linear) | named("heads.bottleneck.1.", norm)
    fine(net).maxpool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
    return {"model": state}, lambda x: norm(linear(maps(net, x).mean((2, 3), keepdim=True)).flatten(1))


def openunreid_dsbn() -> tuple[Any, Published]:
    net, source, norm = resnet18(), resnet18(seed=9), neck(512)
    state: State = {"module.classifier.weight": torch.ones(7, 512)}
    for prefix, part, other in (("backbone.", net, source), ("head.feat_bn.", norm, neck(512, seed=8))):
        others = other.state_dict()
        for key, value in part.state_dict().items():
            if prefix != "backbone." or "bn" in key or "downsample.1" in key:
                owner, _, last = f"{prefix}{key}".rpartition(".")
                state |= {f"module.{owner}.dsbn.0.{last}": others[key], f"module.{owner}.dsbn.1.{last}": value}
            else:
                state[f"module.{prefix}{key}"] = value
    fine(net)
    return {"state_dict": state}, lambda x: norm(maps(net, x).mean((2, 3)))


def openunreid_mean() -> tuple[Any, Published]:
    net, student, norm = resnet18(), resnet18(seed=9), neck(512)
    state = named("mean_net.backbone.", net) | named("mean_net.head.feat_bn.", norm) | named("net.backbone.", student)
    fine(net)
    return {"state_dict": state}, lambda x: norm(maps(net, x).mean((2, 3)))


def strong_baseline() -> tuple[Any, Published]:
    net, norm = resnet18(), neck(512)
    state = named("base.", net) | named("bottleneck.", norm) | {"classifier.weight": torch.ones(7, 512)}
    fine(net)
    return state, lambda x: norm(maps(net, x).mean((2, 3)))


def luperson_moco() -> tuple[Any, Published]:
    net, other = resnet18(), resnet18(seed=9)
    state = named("module.encoder_q.", net) | named("module.encoder_k.", other) | {"module.queue": torch.ones(8, 4)}
    state["module.encoder_q.fc.0.weight"] = torch.ones(8, 512)
    return {"state_dict": state, "arch": "resnet18"}, lambda x: maps(net, x).mean((2, 3))


def spcl_adapted() -> tuple[Any, Published]:
    """SpCL's domain adaptation: every BN twice."""
    net, source, norm = resnet18(), resnet18(seed=9), neck(512)
    numbers = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    state: State = {}
    for key, value in net.state_dict().items():
        first, _, rest = key.partition(".")
        name = f"module.base.{numbers[first]}.{rest}"
        if "bn" in key or "downsample.1" in key:
            owner, _, last = name.rpartition(".")
            state |= {f"{owner}.BN_S.{last}": source.state_dict()[key], f"{owner}.BN_T.{last}": value}
        else:
            state[name] = value
    state |= named("module.feat_bn.BN_S.", neck(512, seed=8)) | named("module.feat_bn.BN_T.", norm)
    return {"state_dict": state, "epoch": 50, "best_mAP": 0.7}, lambda x: norm(maps(net, x).mean((2, 3)))


FILES: dict[str, tuple[str, Callable[[], tuple[Any, Published]]]] = {
    "torchreid's ResNet": ("torchreid", torchreid_resnet),
    "torchreid's ResNet with fc": ("torchreid", torchreid_fc),
    "fast-reid": ("fastreid", fastreid),
    "fast-reid with reduction": ("fastreid", fastreid_reduced),
    "OpenUnReID, two domains": ("openunreid", openunreid_dsbn),
    "OpenUnReID, mean network": ("openunreid", openunreid_mean),
    "strong baseline": ("transreid", strong_baseline),
    "LUPerson, MoCo": ("backbone", luperson_moco),
    "SpCL, adapted": ("cc", spcl_adapted),
}


def start_config(*overrides: Any) -> CfgNode:
    return load_config(None, ["MODEL.POOLING.NAME", "avg", "MODEL.BACKBONE.LAST_STRIDE", 2, *overrides])


@pytest.mark.parametrize("name", FILES)
def test_the_network_a_file_describes_gives_the_published_features(name: str, tmp_path: Path) -> None:
    layout, make = FILES[name]
    content, published = make()
    assert convert_checkpoint(content).layout == layout
    torch.save(content, tmp_path / "model.pth")
    cfg = adopt_network(start_config(), tmp_path / "model.pth")
    assert cfg.MODEL.BACKBONE.NAME == "resnet18"
    model = EmbeddingModel.from_config(cfg, pretrained=False)
    load_model(tmp_path / "model.pth", model, start=True)
    with torch.inference_mode():
        found, expected = model.eval()(IMAGES).embedding, F.normalize(published(IMAGES))
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


def test_one_line_says_what_was_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    torch.save(luperson_moco()[0], tmp_path / "lup.pth")
    load_model(tmp_path / "lup.pth", EmbeddingModel(create_backbone("resnet18")), start=True)
    line = next(record.message for record in caplog.records if "layout" in record.message)
    assert "layout backbone" in line and "left out (" in line
    assert all(part in line for part in ("encoder_k", "queue", "fc"))
    assert any("no BN neck" in record.message for record in caplog.records)


def test_what_follows_a_bare_backbone_is_as_configured(tmp_path: Path) -> None:
    content, published = luperson_moco()
    torch.save(content, tmp_path / "lup.pth")
    overrides = (
        "MODEL.POOLING.NAME",
        "gem",
        "MODEL.POOLING.STRIPES",
        2,
        "MODEL.EMBED_DIM",
        8,
        "MODEL.INIT_NETWORK",
        True,
    )
    cfg = adopt_network(start_config(*overrides), tmp_path / "lup.pth")
    model = EmbeddingModel.from_config(cfg, pretrained=False)
    load_model(tmp_path / "lup.pth", model, start=True)
    with torch.inference_mode():
        torch.testing.assert_close(model.eval().forward_features(IMAGES).mean((2, 3)), published(IMAGES))


def test_pixel_statistics_of_a_file_are_read() -> None:
    assert convert_checkpoint(fastreid()[0]).hints["INPUT.PIXEL_MEAN"] == [0.485, 0.456, 0.406]


@pytest.mark.parametrize(
    ("written", "read"),
    [([123.675, 116.28, 103.53], [0.485, 0.456, 0.406]), ([0.5, 0.25, 1.0], [0.5, 0.25, 1.0]), ([0.5], None)],
)
def test_pixel_statistics_are_in_levels_or_in_shares(written: list[float], read: list[float] | None) -> None:
    values = torch.tensor(written).view(-1, 1, 1)
    hints = public_hints("fastreid", {"pixel_mean": values, "pixel_std": values}, {})
    assert hints.get("INPUT.PIXEL_MEAN") == hints.get("INPUT.PIXEL_STD") == read


def test_only_a_resnet_of_fast_reid_has_a_stem_that_rounds_up() -> None:
    resnet = {"backbone.layer1.0.conv1.weight": torch.ones(1)}
    assert public_hints("fastreid", {}, resnet)["MODEL.BACKBONE.STEM_CEIL"] is True
    assert "MODEL.BACKBONE.STEM_CEIL" not in public_hints("fastreid", {}, {"backbone.conv2.0.x": torch.ones(1)})
    assert "MODEL.BACKBONE.STEM_CEIL" not in public_hints("openunreid", {}, resnet)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("mark", ["layer1.0.conv1.weight", "conv2.0.conv1.conv.weight", "blocks.0.norm1.weight"])
def test_a_bare_backbone_is_told_by_weights_and_not_by_a_placeholder(prefix: str, mark: str) -> None:
    assert detect_public({f"{prefix}{mark}": torch.ones(4)}) == "backbone"
    assert detect_public({f"{prefix}{mark}": torch.ones(())}) is None
    assert detect_public({f"other.{mark}": torch.ones(4)}) is None


@pytest.mark.parametrize("prefix", ["base.", ""])
def test_a_model_with_a_neck_is_told_from_a_bare_backbone(prefix: str) -> None:
    vit = {f"{prefix}patch_embed.proj.weight": torch.ones(4), "blocks.0.norm1.weight": torch.ones(4)}
    resnet = {"base.layer1.0.conv1.weight": torch.ones(4), "layer1.0.conv1.weight": torch.ones(4)}
    neck = {"bottleneck.running_mean": torch.ones(4)}
    for state in (vit, resnet):
        assert detect_public(state | neck) == "transreid"
        assert detect_public(state) == "backbone"
    assert detect_public(resnet | {"classifier.weight": torch.ones(4)}) == "torchreid"


def vit_state(patches: int, blocks: int = 12, width: int = 384) -> State:
    """The names and shapes of a ViT-S; its tensors hold no memory."""
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in create_backbone("vit_small").state_dict().items()}
    shapes["pos_embed"] = torch.Size((1, patches + 1, width))
    return {key: torch.zeros(()).expand(shape) for key, shape in shapes.items() if f"blocks.{blocks}." not in key}


VIT_NECK = {f"bottleneck.{key}": value for key, value in nn.BatchNorm1d(384).state_dict().items()}


@pytest.mark.parametrize(
    ("patches", "stride", "size"), [(128, 16, [256, 128]), (210, 12, [256, 128]), (192, 16, [384, 128])]
)
def test_a_transreid_file_says_its_patches(patches: int, stride: int, size: list[int]) -> None:
    state = {f"base.{key}": value for key, value in vit_state(patches).items()} | VIT_NECK
    state |= {"classifier.weight": torch.ones(7, 384), "base.sie_embed": torch.zeros(6, 1, 384)}
    converted = convert_checkpoint(state)
    assert converted.layout == "transreid" and converted.hints["MODEL.BACKBONE.NAME"] == "vit_small"
    assert converted.hints["MODEL.BACKBONE.STRIDE"] == stride and converted.hints["INPUT.SIZE_TRAIN"] == size
    assert set(converted.left_out) == {"classifier.weight", "sie_embed"}


def test_positions_of_another_grid_are_interpolated(tmp_path: Path) -> None:
    state = {key: value.clone() for key, value in vit_state(210).items()}
    torch.save(state | VIT_NECK, tmp_path / "vit.pth")
    model = EmbeddingModel.from_config(start_config("MODEL.BACKBONE.NAME", "vit_small"), pretrained=False)
    load_model(tmp_path / "vit.pth", model, start=True)
    assert model.backbone.pos_embed.shape == (1, 129, 384) and not model.backbone.pos_embed.any()


def test_the_global_branch_of_jpm_is_the_last_block() -> None:
    whole = vit_state(128)
    state = {f"base.{key}": value for key, value in whole.items()} | VIT_NECK
    branch = {key: value for key, value in whole.items() if key.startswith("blocks.11.")}
    state |= {key.replace("blocks.11.", "b1.0."): torch.ones(()).expand(value.shape) for key, value in branch.items()}
    state |= {f"b1.1.{key}": torch.ones(384) for key in ("weight", "bias")}
    converted = convert_checkpoint(state).state
    assert bool(converted["backbone.blocks.11.norm1.weight"].all()) and bool(converted["backbone.norm.weight"].all())
    assert not converted["backbone.blocks.10.norm1.weight"].any()


def test_dino_gives_its_teacher() -> None:
    teacher = {f"backbone.{key}": value for key, value in vit_state(196).items()} | {"head.mlp.0.weight": torch.ones(4)}
    converted = convert_checkpoint({"student": {"module.x": torch.ones(1)}, "teacher": teacher, "epoch": 3})
    assert converted.layout == "backbone" and converted.left_out == ("head.mlp.0.weight",)
    assert converted.hints["MODEL.POOLING.NAME"] == "avg"


def test_a_convolutional_stem_is_refused_by_name() -> None:
    state = vit_state(128) | VIT_NECK | {"patch_embed.conv.0.weight": torch.ones(1)}
    with pytest.raises(UserError, match=r"does not fit vit_small.*unexpected backbone\.patch_embed\.conv\.0\.weight"):
        convert_checkpoint(state)


def test_a_file_that_needs_another_network_says_the_way_out(tmp_path: Path) -> None:
    torch.save(fastreid()[0], tmp_path / "model.pth")
    with pytest.raises(UserError, match=r"set MODEL\.POOLING\.NAME gem"):
        load_model(tmp_path / "model.pth", EmbeddingModel(create_backbone("resnet18")), start=True)
    torch.save(torchreid_resnet()[0], tmp_path / "model.pth")
    with pytest.raises(UserError, match=r"MODEL\.INIT_NETWORK True"):
        load_model(tmp_path / "model.pth", EmbeddingModel(create_backbone("resnet34")), start=True)


def test_what_can_only_be_read_is_not_written() -> None:
    with pytest.raises(UserError, match="can be read and not written"):
        export_state_dict({"backbone.conv1.weight": torch.ones(1)}, "fastreid")


def test_a_bare_state_dict_of_ours_does_not_describe_itself(tmp_path: Path) -> None:
    torch.save(EmbeddingModel(create_backbone("resnet_tiny", width=4)).state_dict(), tmp_path / "ours.pth")
    assert described_network(tmp_path / "ours.pth") == {}
    with pytest.raises(UserError, match=r"does not say what network.*MODEL\.INIT_NETWORK False"):
        adopt_network(start_config(), tmp_path / "ours.pth")
