"""``timm/NAME``: maps, tokens, sizes, strides, stages and weight files, on timm's own miniature networks."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unreid.config import load_config
from unreid.engine.names import check_timm_name, timm_names
from unreid.models.backbone import build_backbone
from unreid.models.base import create_backbone
from unreid.models.embedding import EmbeddingModel
from unreid.models.pretrained import fill_backbone, load_pretrained, published_weights
from unreid.models.timm_backbone import TimmBackbone, grid_of, to_map
from unreid.models.timm_network import adapted
from unreid.utils.errors import UserError
from unreid.utils.pixels import pixel_statistics

timm = pytest.importorskip("timm")

SIZE = (64, 32)
CNN, VIT = "test_resnet", "test_vit"


def build(name: str = CNN, **options: Any) -> TimmBackbone:
    return TimmBackbone(name, **{"image_size": SIZE, **options})


def config(name: str, *pairs: Any) -> Any:
    sizes = ["INPUT.SIZE_TRAIN", list(SIZE), "INPUT.SIZE_TEST", list(SIZE), "MODEL.BACKBONE.PRETRAIN", False]
    return load_config(None, ["MODEL.BACKBONE.NAME", f"timm/{name}", *sizes, *pairs])


@pytest.mark.parametrize("name", [CNN, "test_efficientnet", "test_convnext", VIT, "test_nfnet"])
def test_features_are_those_of_timm(name: str) -> None:
    backbone = build(name, own_stride=0 if name == VIT else 2, output="map").eval()
    images = torch.randn(2, 3, *SIZE)
    with torch.no_grad():
        maps, expected = backbone(images), backbone.inner.forward_features(images)  # type: ignore[operator]
    if expected.ndim == 3:
        grid = backbone.inner.patch_embed.grid_size  # type: ignore[union-attr]
        expected = expected[:, 1:].transpose(1, 2).reshape(2, -1, *grid)
    assert torch.equal(maps, expected) and maps.shape[1] == backbone.feature_dim


def test_a_token_network_gives_its_class_token_or_its_grid() -> None:
    whole, grid = build(VIT).eval(), build(VIT, output="map").eval()
    grid.load_state_dict(whole.state_dict())
    images = torch.randn(2, 3, *SIZE)
    assert whole.output == "pooled" and whole(images).shape == (2, whole.feature_dim, 1, 1)
    assert torch.allclose(whole(images).flatten(1), whole.inner(images), atol=1e-5)
    assert grid(images).shape == (2, grid.feature_dim, 4, 2)


def test_the_grid_of_tokens_stands_upright() -> None:
    """What changes at the top of the image changes most at the top of the map."""
    backbone = build(VIT, output="map").eval()
    images = torch.zeros(1, 3, *SIZE)
    other = images.clone()
    other[:, :, :16, :16] = torch.randn(3, 16, 16)
    with torch.no_grad():
        change = (backbone(images) - backbone(other)).abs().mean(dim=1)[0]
    assert change.argmax() == 0


def test_channels_that_come_last_are_put_first() -> None:
    features = torch.randn(2, 4, 3, 5)
    assert torch.equal(to_map(features, SimpleNamespace(output_fmt="NHWC"), SIZE, "x"), features.permute(0, 3, 1, 2))
    assert torch.equal(to_map(features, SimpleNamespace(), SIZE, "x"), features)


def test_a_grid_has_the_proportions_of_the_image() -> None:
    """Also where a network has merged tokens, so that there are fewer than patches."""
    patches = SimpleNamespace(patch_embed=SimpleNamespace(dynamic_feat_size=lambda size: (size[0] // 8, size[1] // 8)))
    for net in (SimpleNamespace(), patches):
        assert grid_of(32, net, (128, 64)) == (8, 4) and grid_of(8, net, (32, 64)) == (2, 4)
        assert grid_of(7, net, (128, 64)) is None
    assert grid_of(128, patches, (128, 64)) == (16, 8)
    tokens = torch.arange(9.0).view(1, 9, 1)
    found = to_map(tokens, SimpleNamespace(num_prefix_tokens=1), SIZE, "x")
    assert found.tolist() == [[[[1, 2], [3, 4], [5, 6], [7, 8]]]]
    with pytest.raises(UserError, match="x has no feature map: set MODEL.BACKBONE.OUTPUT pooled"):
        to_map(tokens, SimpleNamespace(num_prefix_tokens=2), SIZE, "x")


@pytest.mark.parametrize("name", [CNN, "mobilenetv3_small_050", VIT])
def test_a_new_network_has_seen_nothing_and_is_ready_to_train(name: str) -> None:
    """Trying its sizes leaves no trace in statistics and modes."""
    backbone = build(name, test_size=(96, 32))
    assert all(module.training for module in backbone.modules())
    counts = [count for key, count in backbone.state_dict().items() if key.endswith("num_batches_tracked")]
    assert not any(counts)


def test_parts_and_stripes_work_on_maps_and_on_grids() -> None:
    for name in (CNN, VIT, "test_convnext"):
        pairs = (
            "MODEL.POOLING.NAME",
            "avg",
            "MODEL.BACKBONE.OUTPUT",
            "map",
            "MODEL.PARTS",
            2,
            "MODEL.POOLING.STRIPES",
            2,
        )
        model = EmbeddingModel.from_config(config(name, *pairs))
        output = model(torch.randn(4, 3, *SIZE))
        assert output.embedding.shape == (4, 2 * model.backbone.feature_dim)
        assert output.parts is not None and output.parts.shape == (4, 2, model.backbone.feature_dim)


def test_gem_pooling_is_for_maps_that_end_with_an_activation() -> None:
    assert not build(CNN).signed_output and build("test_convnext").signed_output and build(VIT).signed_output
    EmbeddingModel.from_config(config(CNN, "MODEL.POOLING.NAME", "gem"))
    with pytest.raises(
        UserError, match="gem drops the negative values of timm/test_convnext: set MODEL.POOLING.NAME avg"
    ):
        EmbeddingModel.from_config(config("test_convnext", "MODEL.POOLING.NAME", "gem"))


@pytest.mark.parametrize("name", [CNN, "test_efficientnet", "resnet18d", "mobilenetv3_small_050"])
def test_the_last_stride_doubles_the_map_and_keeps_the_weights(name: str) -> None:
    coarse, fine, own = (build(name, own_stride=stride) for stride in (2, 1, 0))
    fine.load_state_dict(coarse.state_dict())
    images = torch.randn(2, 3, *SIZE)
    height, width = coarse(images).shape[2:]
    assert fine(images).shape[2:] == own(images).shape[2:] == (2 * height, 2 * width)


@pytest.mark.parametrize("name", ["test_convnext", VIT])
def test_where_there_is_no_such_stride_it_is_said(name: str) -> None:
    with pytest.raises(UserError, match=rf"last stage of timm/{name} cannot be given stride 1.*LAST_STRIDE 0"):
        build(name, own_stride=1)
    before = build(name, own_stride=0)
    assert before(torch.randn(2, 3, *SIZE)).ndim == 4


def test_what_the_features_do_not_need_is_not_trained() -> None:
    backbone = build("mobilenetv3_small_050")
    idle = [name for name, parameter in backbone.inner.named_parameters() if not parameter.requires_grad]
    assert idle and all(name.startswith("conv_head") for name in idle)
    backbone(torch.randn(2, 3, *SIZE)).mean().backward()
    assert all(p.grad is not None for p in backbone.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", [CNN, VIT, "test_efficientnet", "test_convnext", "poolformerv2_s12"])
def test_stages_hold_every_parameter_once(name: str) -> None:
    backbone = build(name)
    stages = backbone.stages()
    assert list(stages) == ["stem", "layer1", "layer2", "layer3", "layer4"]
    parts = [part for parts in stages.values() for part in parts]
    held = [id(p) for part in parts for p in ([part] if isinstance(part, nn.Parameter) else part.parameters())]
    assert sorted(held) == sorted(id(p) for p in backbone.parameters())
    assert id(next(backbone.inner.parameters())) in held[: len(list(backbone.parameters())) // 2]


def test_a_size_that_does_not_fit_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"multiples of its patches of 16 x 16 pixels.*to \[64, 32\]"):
        build(VIT, image_size=(64, 40))
    with pytest.raises(UserError, match=r"timm/jx_nest_tiny does not take images of 64 x 32 .*made for 224 x 224"):
        build("jx_nest_tiny")
    with pytest.raises(UserError, match="multiples of its patches"):
        build(VIT, test_size=(64, 40))
    assert build(VIT, test_size=(96, 32))(torch.randn(1, 3, 96, 32)).shape[2:] == (1, 1)


@pytest.mark.parametrize(
    ("name", "message"), [("resnt18", r"Did you mean timm/resnet18\?"), ("resnet18.nothing", "resnet18.nothing")]
)
def test_a_misspelt_name_is_one_sentence(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_timm_name(name)
        build(name)


def test_the_names_are_read_from_the_source_of_timm() -> None:
    assert set(timm_names()) == set(timm.list_models(include_tags=False))


def test_pixels_are_normalised_as_the_weights_ask_for() -> None:
    half = (0.5, 0.5, 0.5)
    assert pixel_statistics(config("tf_efficientnet_lite0")) == (half, half)
    assert pixel_statistics(config("vit_base_patch16_clip_224.openai"))[0][0] == pytest.approx(0.48145466)
    asked = ("INPUT.PIXEL_MEAN", [0.4, 0.4, 0.4])
    assert pixel_statistics(config("tf_efficientnet_lite0", *asked))[0] == (0.4, 0.4, 0.4)
    source = ("INPUT.PIXEL_SOURCE", "config")
    assert pixel_statistics(config("tf_efficientnet_lite0", *source))[0] == (0.485, 0.456, 0.406)
    assert pixel_statistics(load_config(None, []))[0] == (0.485, 0.456, 0.406)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_file_of_timm_is_read(tmp_path: Path, suffix: str) -> None:
    donor = timm.create_model(CNN)
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save(donor.state_dict(), path)
    else:
        from safetensors.torch import save_file

        save_file(donor.state_dict(), path)
    backbone = build_backbone(config(CNN, "MODEL.BACKBONE.PRETRAIN", True, "MODEL.BACKBONE.PRETRAIN_PATH", str(path)))
    own = backbone.inner.state_dict()  # type: ignore[union-attr]
    assert all(torch.equal(own[key], donor.state_dict()[key]) for key in own)


def test_a_damaged_safetensors_file_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match=r"broken\.safetensors is not a safetensors file"):
        load_pretrained(build(), f"timm/{CNN}", path=str(path))
    with pytest.raises(UserError, match="There is no weight file"):
        load_pretrained(build(), f"timm/{CNN}", path=str(tmp_path / "none.safetensors"))


def test_positions_of_square_images_are_resampled() -> None:
    """Weights of 160 x 160 images for crops of 64 x 32."""
    donor = timm.create_model(VIT)
    assert donor.pos_embed.shape[1] == 101
    report = fill_backbone(build(VIT), donor.state_dict(), min_match=1.0)
    assert not report.misshaped


def test_positions_keep_their_prefix_where_timm_does_not_resize_them(monkeypatch: pytest.MonkeyPatch) -> None:
    donor, backbone = timm.create_model(VIT, num_classes=0), build(VIT)
    torch.nn.init.normal_(donor.pos_embed)
    expected = adapted(donor.state_dict(), backbone.inner, VIT)["pos_embed"]
    monkeypatch.setattr("timm.models.vision_transformer.checkpoint_filter_fn", None)
    found = adapted(donor.state_dict(), backbone.inner, VIT)["pos_embed"]
    assert found.shape == (1, 9, donor.pos_embed.shape[2]) and torch.equal(found[:, 0], donor.pos_embed[:, 0])
    torch.testing.assert_close(found, expected)


def test_names_of_the_first_release_are_translated_as_timm_does() -> None:
    """ConvNeXt as its authors name its tensors."""
    net = timm.create_model("test_convnext", num_classes=0)
    state = {}
    for key, value in net.state_dict().items():
        key = re.sub(r"^stem\.", "downsample_layers.0.", key)
        key = re.sub(r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1.", key)
        key = key.replace(".blocks.", ".").replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
        state[key.replace("head.norm", "norm")] = value
    found = adapted(state, net, "test_convnext")
    assert found.keys() == net.state_dict().keys() != state.keys()
    assert all(torch.equal(found[key], value) for key, value in net.state_dict().items())


TORCHVISION = [("mobilenet_v2", "mobilenetv2_100"), ("mobilenet_v3_small", "mobilenetv3_small_100")]
LARGE = [("efficientnet_b0",) * 2, ("mnasnet1_0", "mnasnet_100"), ("convnext_tiny",) * 2]
LARGE += [("vit_b_16", "vit_base_patch16_224"), ("swin_t", "swin_tiny_patch4_window7_224"), ("densenet121",) * 2]


@pytest.mark.parametrize(
    ("theirs", "name"), [*TORCHVISION, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in LARGE)]
)
def test_a_file_of_torchvision_gives_torchvisions_features(theirs: str, name: str) -> None:
    """The whole network, classifier included, so that not one tensor can be in the wrong place."""
    import torchvision

    torch.manual_seed(0)
    donor = getattr(torchvision.models, theirs)(weights=None).eval()
    state = donor.state_dict()
    for key, value in state.items():
        value.copy_(_shaken(key, value))
    backbone = TimmBackbone(name, image_size=(224, 224), output="pooled").eval()
    report = fill_backbone(backbone, state, min_match=1.0)
    assert report.share == 1
    images = torch.randn(1, 3, 224, 224)
    seen: dict[str, Tensor] = {}
    heads = [module for module in donor.modules() if isinstance(module, nn.Linear) and module.out_features == 1000]
    heads[-1].register_forward_pre_hook(lambda _, inputs: seen.update(features=inputs[0]))
    with torch.no_grad():
        donor(images)
        pooled = backbone(images).flatten(1)
    expected = seen["features"]
    assert float((pooled - expected).abs().max()) < 2e-3 * float(expected.abs().max())


def _shaken(key: str, value: Tensor) -> Tensor:
    if not value.is_floating_point():
        return value
    return torch.rand_like(value) + 0.5 if key.endswith("running_var") else value + 0.05 * torch.randn_like(value)


def test_without_network_one_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> Any:
        raise OSError("no network")

    monkeypatch.setattr("timm.create_model", offline)
    with pytest.raises(UserError, match=r"timm/resnet18 .*could not be downloaded \(no network\).*PRETRAIN_PATH"):
        published_weights("timm/resnet18")


def test_a_network_without_published_weights_is_explained() -> None:
    with pytest.raises(UserError, match=r"timm publishes no weights for vit_giant_patch14_224: .*PRETRAIN False"):
        published_weights("timm/vit_giant_patch14_224")


def test_it_is_found_like_any_other_backbone() -> None:
    backbone = create_backbone(f"timm/{CNN}", image_size=SIZE)
    assert isinstance(backbone, TimmBackbone)
    model = EmbeddingModel.from_config(config(CNN, "MODEL.FREEZE_AT", "layer1"))
    assert not next(model.backbone.inner.parameters()).requires_grad  # type: ignore[union-attr]


def openai_clip(net: nn.Module) -> dict[str, Tensor]:
    """The tensors of a ViT of timm under the names of OpenAI's and open_clip's files, text tower left out."""
    state: dict[str, Tensor] = {}
    names = {
        "cls_token": "class_embedding",
        "pos_embed": "positional_embedding",
        "patch_embed.proj.weight": "conv1.weight",
        "norm_pre": "ln_pre",
        "norm": "ln_post",
    }
    inside = {
        "norm1": "ln_1",
        "norm2": "ln_2",
        "attn.proj": "attn.out_proj",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
    }
    for key, value in net.state_dict().items():
        if key.startswith("blocks."):
            _, number, rest = key.split(".", 2)
            rest = rest.replace("attn.qkv.", "attn.in_proj_")
            for ours, theirs in inside.items():
                rest = rest.replace(f"{ours}.", f"{theirs}.")
            state[f"visual.transformer.resblocks.{number}.{rest}"] = value
        else:
            word = key if key in names else key.rpartition(".")[0]
            state["visual." + key.replace(word, names[word], 1)] = (
                value[0, 0] if key == "cls_token" else value.squeeze(0)
            )
    return state | {"logit_scale": torch.tensor(4.6), "visual.proj": torch.zeros(768, 512)}


def test_the_image_tower_of_a_clip_file_is_found() -> None:
    name = "vit_base_patch32_clip_224"
    donor = timm.create_model(name, num_classes=0).eval()
    backbone = TimmBackbone(name, image_size=(224, 224)).eval()
    report = fill_backbone(backbone, openai_clip(donor), min_match=1.0)
    assert report.share == 1
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        assert torch.allclose(backbone(images).flatten(1), donor(images), atol=1e-5)
    crops = TimmBackbone(name, image_size=(256, 128))
    assert fill_backbone(crops, openai_clip(donor), min_match=1.0).share == 1


def test_dinov2_takes_multiples_of_its_patches() -> None:
    with pytest.raises(UserError, match=r"multiples of its patches of 14 x 14 pixels.*to \[252, 126\]"):
        TimmBackbone("vit_small_patch14_dinov2", image_size=(256, 128))
    backbone = TimmBackbone("vit_small_patch14_dinov2", image_size=(252, 126), output="map")
    assert backbone(torch.randn(1, 3, 252, 126)).shape == (1, 384, 18, 9)


@pytest.mark.parametrize("pair", [("MODEL.BACKBONE.CAMERAS", 3), ("MODEL.BACKBONE.STRIDE", 12)])
def test_what_only_our_own_vits_have_is_refused(pair: tuple[str, int]) -> None:
    with pytest.raises(UserError, match=rf"{pair[0]} is for vit_small and vit_base, not for timm/{VIT}"):
        build_backbone(config(VIT, *pair))
