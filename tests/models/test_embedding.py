"""The embedding model against the formulas of the three families, written out frame by frame."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from unreid.config import get_cfg
from unreid.models.base import create_backbone
from unreid.models.batch_norm import ChunkedBatchNorm1d, ChunkedBatchNorm2d
from unreid.models.embedding import EmbeddingModel
from unreid.models.pooling import build_pooling
from unreid.utils.errors import UserError


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True).clamp(min=1e-12)


def tiny(**options: object) -> EmbeddingModel:
    """A small model whose bottleneck is not the identity."""
    model = EmbeddingModel(create_backbone("resnet_tiny", width=4), **options)  # type: ignore[arg-type]
    nn.init.uniform_(model.bottleneck.weight, 0.5, 1.5)
    nn.init.uniform_(model.bottleneck.running_mean, -0.1, 0.1)
    return model


def eval_norm(layer: nn.BatchNorm1d, x: Tensor) -> Tensor:
    return (x - layer.running_mean) / (layer.running_var + layer.eps).sqrt() * layer.weight + layer.bias


def train_norm(layer: nn.BatchNorm1d, x: Tensor) -> Tensor:
    return (x - x.mean(0)) / (x.var(0, unbiased=False) + layer.eps).sqrt() * layer.weight + layer.bias


IMAGES = torch.randn(6, 3, 32, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("training", [False, True])
def test_cluster_contrast_family(training: bool) -> None:
    model = tiny(pooling=build_pooling("gem")).train(training)
    with torch.no_grad():
        z = model.pooling(copy.deepcopy(model).backbone(IMAGES))
        norm = train_norm if training else eval_norm
        expected = unit(norm(model.bottleneck, z))
        output = model(IMAGES)
    assert torch.allclose(output.embedding, expected, atol=1e-6)
    assert torch.allclose(output.pooled, z, atol=1e-6)
    assert output.logits is None


def test_auxusl_averages_bn_outputs_of_frames() -> None:
    model = tiny(num_classes=5)
    assert model.classifier is not None and model.classifier.bias is None
    twin = copy.deepcopy(model)
    with torch.no_grad():
        z = twin.train().backbone(IMAGES).mean((2, 3))
        b = train_norm(model.bottleneck, z).view(2, 3, -1).mean(1)
        output = model.train()(IMAGES, clip_len=3)
        assert torch.allclose(output.pooled, z.view(2, 3, -1).mean(1), atol=1e-6)
        assert torch.allclose(output.logits, b @ model.classifier.weight.T, atol=1e-6)
        model.eval()
        z = model.backbone(IMAGES).mean((2, 3))
        output = model(IMAGES, clip_len=3)
        expected = unit(eval_norm(model.bottleneck, z)).view(2, 3, -1).mean(1)
    assert torch.allclose(output.embedding, expected, atol=1e-6)
    assert (output.embedding.norm(dim=1) < 1 - 1e-5).all()  # not normalised again


def test_buc_averages_frames_first() -> None:
    model = tiny(embed_dim=8, bn_bias=True, frame_pool="before_bottleneck").eval()
    with torch.no_grad():
        m = model.backbone(IMAGES).mean((2, 3)).view(3, 2, -1).mean(1)
        output = model(IMAGES, clip_len=2)
        expected = unit(eval_norm(model.bottleneck, m @ model.embedding.weight.T + model.embedding.bias))
    assert torch.allclose(output.pooled, m, atol=1e-6)
    assert torch.allclose(output.embedding, expected, atol=1e-6)
    assert model.bottleneck.bias.requires_grad


def test_an_image_is_a_clip_of_one_frame_in_both_orders() -> None:
    after = tiny(embed_dim=8).eval()
    before = tiny(embed_dim=8, frame_pool="before_bottleneck").eval()
    before.load_state_dict(after.state_dict())
    assert torch.equal(after(IMAGES).embedding, before(IMAGES).embedding)


@pytest.mark.parametrize(("position", "unit_length"), [("after_norm", False), ("before_norm", True)])
def test_dropout_before_or_after_normalisation(position: str, unit_length: bool) -> None:
    model = tiny(dropout=0.5, dropout_position=position).train()
    lengths = model(IMAGES).embedding.norm(dim=1)
    assert bool(torch.allclose(lengths, torch.ones(6))) is unit_length
    assert (model(IMAGES).embedding == 0).float().mean() > 0.2
    model.eval()
    assert torch.equal(model(IMAGES).embedding, model(IMAGES).embedding)


def test_start_values_of_the_head() -> None:
    model = EmbeddingModel(create_backbone("resnet_tiny"), embed_dim=64, num_classes=300)
    assert isinstance(model.embedding, nn.Linear) and model.classifier is not None
    assert model.embedding.weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.1)
    assert not model.embedding.bias.any() and not model.bottleneck.bias.any()
    assert model.classifier.weight.std().item() == pytest.approx(0.001, rel=0.1)
    assert not model.bottleneck.bias.requires_grad
    assert model.feature_dim == 64 and model.pooled_dim == 128


@pytest.mark.parametrize(("freeze_at", "layers"), [("stem", 1), ("layer2", 24), ("layer4", 53)])
def test_frozen_stages_have_no_gradient_and_keep_all_their_statistics(freeze_at: str, layers: int) -> None:
    model = EmbeddingModel(create_backbone("resnet50"), freeze_at=freeze_at).train()
    frozen = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d) and not m.training]
    assert len(frozen) == layers
    assert all(not p.requires_grad for layer in frozen for p in layer.parameters())
    before = copy.deepcopy(model.backbone.bn1.state_dict())
    with torch.no_grad():
        model(torch.randn(2, 3, 32, 32))
    assert all(torch.equal(before[k], v) for k, v in model.backbone.bn1.state_dict().items())
    trained = {name.split(".")[1] for name, p in model.backbone.named_parameters(prefix="b") if p.requires_grad}
    assert freeze_at not in trained and "conv1" not in trained


def test_standardisation_removes_gain_and_offset_of_every_image() -> None:
    model = tiny(standardize=True).eval()
    changed = IMAGES * torch.rand(6, 3, 1, 1).add(0.5) + torch.randn(6, 3, 1, 1)
    assert torch.allclose(model(IMAGES).embedding, model(changed).embedding, atol=1e-3)
    seen = {}
    model.backbone.register_forward_pre_hook(lambda module, args: seen.update(x=args[0]))
    model(IMAGES)
    assert torch.allclose(seen["x"].mean((2, 3)), torch.zeros(6, 3), atol=1e-5)
    assert torch.allclose(seen["x"].std((2, 3), unbiased=False), torch.ones(6, 3), atol=1e-4)


def test_features_stay_in_float32_under_autocast() -> None:
    model = tiny(embed_dim=8, pooling=build_pooling("gem")).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(IMAGES)
    assert output.pooled.dtype == output.embedding.dtype == torch.float32
    output.embedding.sum().backward()


def test_gradients_reach_every_trained_parameter() -> None:
    model = tiny(pooling=build_pooling("gem", 2), embed_dim=8, num_classes=3).train()
    output = model(IMAGES, clip_len=2)
    assert output.logits is not None
    (output.embedding.square() @ torch.randn(8) + output.logits.sum(1) + output.pooled.sum(1)).sum().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert without == ["bottleneck.bias"]


def test_frames_must_make_whole_clips() -> None:
    with pytest.raises(ValueError, match="6 frames"):
        tiny()(IMAGES, clip_len=4)


@pytest.mark.parametrize("option", [{"dropout_position": "x"}, {"frame_pool": "x"}, {"freeze_at": "layer9"}])
def test_wrong_options_are_refused(option: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="not 'x'|not 'layer9'"):
        tiny(**option)


def small_cfg(*overrides: object) -> object:
    cfg = get_cfg()
    cfg.merge_from_list(["MODEL.BACKBONE.NAME", "resnet_tiny", "MODEL.BACKBONE.PRETRAIN", "False", *overrides])
    return cfg


def test_from_config() -> None:
    cfg = small_cfg(
        "MODEL.POOLING.STRIPES", "2", "MODEL.EMBED_DIM", "32", "MODEL.EMBED_BIAS", "False", "MODEL.CLASSIFIER", "True",
        "MODEL.BN_CHUNKS", "2", "MODEL.BACKBONE.LAST_STRIDE", "2", "MODEL.BACKBONE.WIDTH", "8",
    )  # fmt: skip
    model = EmbeddingModel.from_config(cfg, num_classes=7)
    assert (model.pooled_dim, model.feature_dim) == (128, 32)
    assert isinstance(model.embedding, nn.Linear) and model.embedding.bias is None
    assert model.classifier is not None and model.classifier.out_features == 7
    assert model.bn_chunks == 2 and isinstance(model.bottleneck, ChunkedBatchNorm1d)
    assert not any(type(m) is nn.BatchNorm2d for m in model.modules())
    assert any(type(m) is ChunkedBatchNorm2d for m in model.modules())
    assert set(dict(model.named_parameters())) >= {"pooling.p", "embedding.weight", "bottleneck.weight"}
    with pytest.raises(ValueError, match="3 samples does not divide into 2"):
        model.train()(IMAGES, clip_len=2)


def test_contradicting_settings_are_explained() -> None:
    with pytest.raises(UserError, match="exclude each other"):
        EmbeddingModel.from_config(small_cfg("MODEL.SYNC_BN", "True", "MODEL.BN_CHUNKS", "2"))
    with pytest.raises(UserError, match="resnet_tiny.*PRETRAIN False"):
        EmbeddingModel.from_config(small_cfg("MODEL.BACKBONE.PRETRAIN", "True"))
    with pytest.raises(UserError, match="POOLING.NAME avg"):
        EmbeddingModel.from_config(small_cfg("MODEL.BACKBONE.NAME", "vit_small"))


def test_the_frames_of_a_clip_come_from_its_camera() -> None:
    class Shown(nn.Module):
        """Maps whose value is the camera of the frame."""

        feature_dim, takes_cameras = 2, True

        def forward(self, images: Tensor, cameras: Tensor) -> Tensor:
            return cameras.float().view(-1, 1, 1, 1).expand(len(images), 2, 1, 1)

    output = EmbeddingModel(Shown()).eval()(IMAGES, clip_len=2, camids=torch.tensor([4, 7, 2]))
    assert output.pooled[:, 0].tolist() == [4, 7, 2]
