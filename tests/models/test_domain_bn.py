"""BatchNorm of two domains: each half of a joint batch by its own layer, the target's alone where one is scored."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from unreid.engine.checkpoint import load_model
from unreid.models.base import create_backbone
from unreid.models.batch_norm import chunk_batch_norm
from unreid.models.domain_bn import fit_domains, joint_batches, split_domains, start_source
from unreid.models.embedding import EmbeddingModel
from unreid.utils.errors import UserError


def net(chunks: int = 1) -> nn.Sequential:
    torch.manual_seed(0)
    return chunk_batch_norm(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()), chunks)  # type: ignore[return-value]


@pytest.mark.parametrize("chunks", [1, 2])
def test_halves_are_normalised_as_in_two_networks(chunks: int) -> None:
    one, other = net(chunks), net(chunks)
    both = split_domains(net(chunks))
    source, target = torch.randn(8, 3, 5, 5), 3 * torch.randn(8, 3, 5, 5) + 1
    with joint_batches(both):
        found = both(torch.cat((source, target)))
    torch.testing.assert_close(found, torch.cat((one(source), other(target))))
    torch.testing.assert_close(both[1].running_mean, other[1].running_mean)
    torch.testing.assert_close(both[1].source.running_mean, one[1].running_mean)
    torch.testing.assert_close(both.eval()(source), other.eval()(source))


def test_other_batches_are_the_targets_alone() -> None:
    both, plain = split_domains(net()), net()
    images = torch.randn(6, 3, 5, 5)
    torch.testing.assert_close(both(images), plain(images))
    assert not both[1].source.running_mean.any()


def test_odd_joint_batches_and_synchronised_layers_are_refused() -> None:
    both = split_domains(net())
    with joint_batches(both), pytest.raises(ValueError, match="as many source as target"):
        both(torch.randn(5, 3, 5, 5))
    with pytest.raises(UserError, match="SYNC_BN"):
        split_domains(nn.Sequential(nn.SyncBatchNorm(4)))


def test_gradients_go_to_the_domain_that_asked() -> None:
    both = split_domains(net())
    with joint_batches(both):
        both(torch.randn(4, 3, 5, 5))[:2].square().sum().backward()
    assert both[1].source.weight.grad.any() and not both[1].weight.grad.any()


def test_a_source_begins_as_the_target_is() -> None:
    both = split_domains(net())
    both[1].running_mean.fill_(2.0)
    both[1].weight.data.fill_(3.0)
    start_source(both)
    assert (both[1].source.running_mean == 2).all() and (both[1].source.weight == 3).all()
    both[1].running_mean.fill_(5.0)
    assert (both[1].source.running_mean == 2).all()


def test_checkpoints_pass_between_networks_of_one_and_two_domains(tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = EmbeddingModel(create_backbone("resnet_tiny", width=4))
    plain.bottleneck.running_mean.uniform_()
    both = split_domains(copy.deepcopy(plain))
    torch.save(plain.state_dict(), tmp_path / "plain.pth")
    both.bottleneck.source.running_mean.fill_(9.0)
    load_model(tmp_path / "plain.pth", both)
    torch.testing.assert_close(both.bottleneck.source.running_mean, plain.bottleneck.running_mean)
    both.bottleneck.running_mean.fill_(0.5)
    torch.save(both.state_dict(), tmp_path / "both.pth")
    load_model(tmp_path / "both.pth", plain)
    assert (plain.bottleneck.running_mean == 0.5).all()


def test_a_split_layer_is_the_trained_one_and_the_source_begins_like_it() -> None:
    layer = nn.BatchNorm2d(4)
    nn.init.uniform_(layer.weight)
    nn.init.uniform_(layer.bias)
    layer.running_mean.uniform_()
    layer.running_var.uniform_(1, 2)
    both = split_domains(nn.Sequential(layer))[0]
    assert both.weight is layer.weight and both.bias is layer.bias  # an optimiser that holds them goes on
    for name, value in layer.state_dict().items():
        assert torch.equal(both.state_dict()[name], value) and torch.equal(both.source.state_dict()[name], value)


def test_a_joint_batch_that_is_scored_and_a_batch_after_it_are_the_targets() -> None:
    both, plain = split_domains(net()), net()
    both[1].source.running_mean.fill_(7.0)
    images = torch.randn(6, 3, 5, 5)
    with joint_batches(both.eval()):
        torch.testing.assert_close(both(images), plain.eval()(images))
    both.train()
    torch.testing.assert_close(both(images), plain.train()(images))
    with pytest.raises(KeyError), joint_batches(both):
        raise KeyError
    torch.testing.assert_close(both(images), plain(images))


def test_a_file_of_two_domains_keeps_both_in_a_network_of_two() -> None:
    expected = split_domains(net()).state_dict()
    stored = {key: torch.full_like(value, place) for place, (key, value) in enumerate(expected.items())}
    fitted = fit_domains(stored, expected)
    assert fitted.keys() == expected.keys() and all(torch.equal(fitted[key], stored[key]) for key in stored)
