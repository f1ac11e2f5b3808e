from __future__ import annotations

import pytest
import torch

from unreid.models.base import create_backbone
from unreid.models.embedding import EmbeddingModel
from unreid.models.pretrained import fill_backbone
from unreid.models.vit import guess_grid, resample_positions
from unreid.utils.errors import UserError

timm = pytest.importorskip("timm")


@pytest.fixture(scope="module")
def imagenet_net() -> torch.nn.Module:
    """timm's network for square images, with random weights."""
    torch.manual_seed(0)
    return timm.create_model("vit_small_patch16_224", num_classes=0).eval()


def test_it_is_timms_network(imagenet_net: torch.nn.Module) -> None:
    ours = create_backbone("vit_small", image_size=(224, 224)).eval()
    state = {f"module.backbone.{key}": value for key, value in imagenet_net.state_dict().items()}
    assert fill_backbone(ours, state, min_match=1.0).share == 1.0
    images = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        assert torch.allclose(ours(images).flatten(1), imagenet_net(images), atol=1e-5)


def test_weights_of_a_square_grid_fit_upright_overlapping_patches(imagenet_net: torch.nn.Module) -> None:
    ours = create_backbone("vit_small", image_size=(256, 128), patch_stride=12)
    assert ours.grid == (21, 10)
    assert fill_backbone(ours, imagenet_net.state_dict(), min_match=1.0).share == 1.0
    expected = resample_positions(imagenet_net.pos_embed, (14, 14), (21, 10))
    assert torch.equal(ours.pos_embed, expected) and expected.shape == (1, 211, 384)
    assert torch.equal(expected[:, 0], imagenet_net.pos_embed[:, 0])


def test_positions_are_interpolated_smoothly() -> None:
    ramp = torch.linspace(0, 1, 8)[:, None].expand(8, 4).reshape(1, 32, 1)
    positions = torch.cat((torch.full((1, 1, 1), 9.0), ramp), dim=1)
    found = resample_positions(positions, (8, 4), (16, 8))
    assert found[0, 0] == 9 and found.shape == (1, 129, 1)
    rows = found[0, 1:, 0].view(16, 8)
    assert (rows[1:-1].diff(dim=0) > 0).all()
    assert torch.allclose(rows.mean(dim=0), torch.full((8,), 0.5), atol=1e-5)
    assert torch.equal(resample_positions(positions, (8, 4), (8, 4)), positions)


@pytest.mark.parametrize(
    ("count", "own", "grid"), [(196, (16, 8), (14, 14)), (128, (21, 10), (16, 8)), (210, (21, 10), (21, 10))]
)
def test_the_grid_of_a_file_is_guessed(count: int, own: tuple[int, int], grid: tuple[int, int]) -> None:
    assert guess_grid(count, own) == grid


def test_an_unknown_grid_is_refused() -> None:
    with pytest.raises(UserError, match="197 patches"):
        guess_grid(197, (16, 8))


def test_a_step_with_cameras_and_images_of_another_size() -> None:
    backbone = create_backbone("vit_small", image_size=(64, 32), cameras=3)
    model = EmbeddingModel(backbone, freeze_at="layer3").train()
    images, cameras = torch.randn(4, 3, 64, 32), torch.tensor([0, 2])
    output = model(images, clip_len=2, camids=cameras)
    assert output.embedding.shape == (2, 384)
    output.embedding[:, 0].sum().backward()
    assert backbone.camera_embed.weight.grad[[0, 2]].abs().sum() > 0
    assert backbone.camera_embed.weight.grad[1].abs().sum() == 0
    assert backbone.blocks[8].attn.qkv.weight.grad is None and backbone.blocks[9].attn.qkv.weight.grad is not None
    model.eval()
    with torch.inference_mode():
        first = model(images[:2], camids=torch.tensor([0, 0])).embedding
        second = model(images[:2], camids=torch.tensor([1, 1])).embedding
        assert not torch.allclose(first, second, atol=1e-3)
        assert model(torch.randn(2, 3, 80, 48), camids=torch.tensor([0, 1])).embedding.shape == (2, 384)
    with pytest.raises(ValueError, match="camera id"):
        model(images)


def test_stages_hold_every_parameter_but_the_cameras() -> None:
    net = create_backbone("vit_small", image_size=(32, 32), cameras=2)
    parts = [part for stage in net.stages().values() for part in stage]
    found = [p for part in parts for p in (part.parameters() if isinstance(part, torch.nn.Module) else [part])]
    assert {id(p) for p in found} == {id(p) for name, p in net.named_parameters() if not name.startswith("camera")}
    assert len({id(p) for p in found}) == len(found)


def test_options_are_checked() -> None:
    with pytest.raises(UserError, match="at least 16 pixels"):
        create_backbone("vit_small", image_size=(64, 8))
    with pytest.raises(ValueError, match="patch stride"):
        create_backbone("vit_small", patch_stride=20)
