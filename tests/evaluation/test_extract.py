from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unreid.evaluation.extract import extract_features
from unreid.structures import ModelOutput


class Toy(nn.Module):
    """Linear on the pixel rows, so that a mirrored image gives another vector; BN shows the mode."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * 2 * 4, 5)
        self.bn = nn.BatchNorm1d(5)
        self.frozen = nn.BatchNorm1d(5)
        self.frozen.eval()
        self.calls: list[int] = []

    def forward(self, images: torch.Tensor) -> ModelOutput:
        assert not self.bn.training and not self.frozen.training
        self.calls.append(len(images))
        pooled = self.linear(images.flatten(1))
        return ModelOutput(pooled=pooled, embedding=F.normalize(self.frozen(self.bn(pooled))))


def frames(count: int) -> torch.Tensor:
    return torch.randn(count, 3, 2, 4, generator=torch.Generator().manual_seed(5))


def per_frame(model: Toy, images: torch.Tensor, name: str) -> torch.Tensor:
    modes = [module.training for module in model.modules()]
    model.eval()
    with torch.no_grad():
        value = getattr(model(images), name)
    for module, mode in zip(model.modules(), modes):
        module.training = mode
    return value


def test_images_are_placed_in_their_rows() -> None:
    model, images = Toy(), frames(5)
    loader = [(images[:3], torch.tensor([4, 0, 2])), (images[3:], torch.tensor([1, 3]))]
    got = extract_features(model, loader, feature="embedding", num_samples=5, device="cpu")
    torch.testing.assert_close(got[[4, 0, 2, 1, 3]], per_frame(model, images, "embedding"))
    assert got.dtype == torch.float32 and not got.requires_grad


@pytest.mark.parametrize("feature", ["embedding", "pooled", "pooled_l2"])
def test_frames_of_a_sample_are_averaged_over_batches(feature) -> None:
    model, images = Toy(), frames(7)
    owners = torch.tensor([0, 0, 0, 0, 1, 2, 2])
    loader = [(images[i : i + 3], owners[i : i + 3]) for i in (0, 3, 6)]
    got = extract_features(model, loader, feature=feature, num_samples=3, device="cpu")
    values = per_frame(model, images, "embedding" if feature == "embedding" else "pooled")
    expected = torch.stack([values[owners == i].mean(0) for i in range(3)])
    expected = F.normalize(expected) if feature == "pooled_l2" else expected
    torch.testing.assert_close(got, expected)


def test_mean_of_embeddings_is_not_normalised_again() -> None:
    model, images = Toy(), frames(4)
    got = extract_features(model, [(images, torch.zeros(4).long())], feature="embedding", num_samples=1, device="cpu")
    assert got.norm() < 0.999


@pytest.mark.parametrize("feature", ["embedding", "pooled", "pooled_l2"])
def test_flip_averages_with_the_mirror_image(feature) -> None:
    model, images = Toy(), frames(3)
    got = extract_features(model, [(images, torch.arange(3))], feature=feature, num_samples=3, device="cpu", flip=True)
    name = "embedding" if feature == "embedding" else "pooled"
    expected = (per_frame(model, images, name) + per_frame(model, images.flip(-1), name)) / 2
    torch.testing.assert_close(got, expected if feature == "pooled" else F.normalize(expected))


def test_every_module_gets_its_own_mode_back() -> None:
    model = Toy()
    before = [module.training for module in model.modules()]
    extract_features(model, [(frames(2), torch.arange(2))], feature="pooled", num_samples=2, device="cpu")
    assert [module.training for module in model.modules()] == before and True in before and False in before

    def broken():
        yield frames(2), torch.arange(2)
        raise OSError("disk")

    with pytest.raises(OSError):
        extract_features(model, broken(), feature="pooled", num_samples=2, device="cpu")
    assert [module.training for module in model.modules()] == before


def test_a_sample_without_frames_is_a_row_of_zeros() -> None:
    got = extract_features(Toy(), [(frames(1), torch.tensor([1]))], feature="pooled_l2", num_samples=3, device="cpu")
    assert (got.norm(dim=1) > 0).tolist() == [False, True, False]


def test_an_empty_share_has_the_width_the_model_states() -> None:
    model = Toy()
    model.pooled_dim = 5
    assert extract_features(model, [], feature="pooled", num_samples=0, device="cpu").shape == (0, 5)


def test_amp_runs_the_model_in_low_precision_and_returns_float32() -> None:
    model, images = Toy(), frames(3)
    loader = [(images, torch.arange(3))]
    full = extract_features(model, loader, feature="pooled", num_samples=3, device="cpu")
    half = extract_features(model, loader, feature="pooled", num_samples=3, device="cpu", amp="bf16")
    assert half.dtype == torch.float32 and not torch.equal(full, half)
    torch.testing.assert_close(full, half, atol=0.05, rtol=0.05)


def test_bad_names() -> None:
    with pytest.raises(ValueError, match="feature must be"):
        extract_features(Toy(), [], feature="logits", num_samples=0, device="cpu")
    with pytest.raises(ValueError, match="amp must be"):
        extract_features(Toy(), [], feature="pooled", num_samples=0, device="cpu", amp="int8")
