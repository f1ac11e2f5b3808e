"""BN over n parts of a batch against n replicas that know nothing of each other."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import multiprocessing, nn

from unreid.models.base import create_backbone
from unreid.models.batch_norm import (
    ChunkedBatchNorm1d,
    ChunkedBatchNorm2d,
    chunk_batch_norm,
    chunks_per_process,
    recalibrate_bn,
    synchronize_batch_norm,
)
from unreid.models.ema import MeanTeacher
from unreid.models.embedding import EmbeddingModel
from unreid.utils.errors import UserError

from .bn_replicas import loss_of, network, replica


@pytest.mark.parametrize("chunks", [2, 4])
def test_chunks_equal_replicas(chunks: int) -> None:
    images = torch.randn(8, 3, 8, 6)
    whole = chunk_batch_norm(network(), chunks).train()
    replicas = [network().train() for _ in range(chunks)]
    outputs = torch.cat([net(part) for net, part in zip(replicas, images.chunk(chunks))])
    found = whole(images)
    assert torch.allclose(found, outputs, atol=1e-6)
    loss_of(found).backward()
    loss_of(outputs).backward()
    for name, parameter in whole.named_parameters():
        expected = sum(net.get_parameter(name).grad for net in replicas)
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, expected, atol=1e-4), name  # type: ignore[arg-type]
    for name, buffer in whole.named_buffers():
        assert torch.allclose(buffer, replicas[0].get_buffer(name), atol=1e-6), name


def test_chunks_in_one_process_equal_two_processes(tmp_path: Path) -> None:
    images = torch.randn(8, 3, 8, 6)
    torch.save(images, tmp_path / "images.pt")
    multiprocessing.spawn(replica, args=(free_port(), str(tmp_path), 2), nprocs=2)
    grads, buffers = torch.load(tmp_path / "result.pt")
    single = chunk_batch_norm(network(), 4).train()
    loss_of(single(images)).backward()
    for parameter, expected in zip(single.parameters(), grads, strict=True):
        assert torch.allclose(parameter.grad, expected, atol=1e-4)
    for name, buffer in single.named_buffers():
        assert torch.allclose(buffer, buffers[name], atol=1e-6), name


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@given(chunks=st.integers(1, 4), per_chunk=st.integers(2, 4), channels=st.integers(1, 5), flat=st.booleans())
def test_every_part_has_mean_zero_and_variance_one(chunks: int, per_chunk: int, channels: int, flat: bool) -> None:
    shape = (chunks * per_chunk, channels) if flat else (chunks * per_chunk, channels, 4, 3)
    x = torch.randn(shape) * 3 + 1
    kind = nn.BatchNorm1d if flat else nn.BatchNorm2d
    model = chunk_batch_norm(nn.Sequential(kind(channels, eps=1e-12)), chunks).train()
    parts = model(x).unflatten(0, (chunks, per_chunk)).transpose(1, 2).flatten(2)
    assert torch.allclose(parts.mean(2), torch.zeros(chunks, channels), atol=1e-4)
    assert torch.allclose(parts.std(2, unbiased=False), torch.ones(chunks, channels), atol=1e-3)


def test_conversion_keeps_parameters_buffers_and_eval_mode() -> None:
    model = network()
    nn.init.uniform_(model[1].running_mean)
    model[1].bias.requires_grad_(False)
    images = torch.randn(4, 3, 8, 6)
    expected = model.eval()(images)
    state = copy.deepcopy(model.state_dict())
    parameters = [id(p) for p in model.parameters()]
    chunk_batch_norm(model, 2)
    assert isinstance(model[1], ChunkedBatchNorm2d) and isinstance(model[6], ChunkedBatchNorm1d)
    assert [id(p) for p in model.parameters()] == parameters and not model[1].bias.requires_grad
    assert list(model.state_dict()) == list(state)
    assert not model[1].training and torch.equal(model(images), expected)
    assert "chunks=2" in repr(model[1])


def test_one_chunk_changes_nothing() -> None:
    model = network()
    assert type(chunk_batch_norm(model, 1)[1]) is nn.BatchNorm2d
    with pytest.raises(ValueError, match="at least 1"):
        chunk_batch_norm(model, 0)


def test_batches_must_divide_on_tracklet_boundaries() -> None:
    model = EmbeddingModel(create_backbone("resnet_tiny", width=4))
    chunk_batch_norm(model, 4)
    model.train()
    model(torch.randn(8, 3, 32, 16), clip_len=2)
    with pytest.raises(ValueError, match="2 samples does not divide into 4 BN chunks"):
        model(torch.randn(8, 3, 32, 16), clip_len=4)  # 8 frames would divide
    model.eval()
    model(torch.randn(3, 3, 32, 16))


def test_chunks_are_shared_among_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unreid.models.batch_norm.get_world_size", lambda: 2)
    assert [chunks_per_process(n) for n in (1, 2, 4)] == [1, 1, 2]
    with pytest.raises(UserError, match="multiple of the 2 processes"):
        chunks_per_process(3)


def test_recalibration_is_the_mean_over_batches() -> None:
    model = chunk_batch_norm(network(), 2)
    batches = [torch.randn(4, 3, 8, 6) + k for k in range(3)]
    maps = [model[0](b) for b in batches]
    model.eval()
    assert recalibrate_bn(model, iter(batches)) == 3
    layer = model[1]
    assert torch.allclose(layer.running_mean, sum(m.mean((0, 2, 3)) for m in maps) / 3, atol=1e-6)
    variances = sum(m.transpose(0, 1).flatten(1).var(1) for m in maps) / 3
    assert torch.allclose(layer.running_var, variances, atol=1e-6)
    assert layer.momentum == 0.1 and layer.chunks == 2 and not model.training


def test_recalibration_leaves_frozen_stages_and_odd_batches_alone() -> None:
    model = EmbeddingModel(create_backbone("resnet_tiny", width=4), freeze_at="stem").train()
    chunk_batch_norm(model, 2)
    before = model.backbone.bn1.running_mean.clone()
    recalibrate_bn(model, [torch.randn(3, 3, 32, 16)])
    assert torch.equal(model.backbone.bn1.running_mean, before)
    assert int(model.bottleneck.num_batches_tracked) == 1 and model.training
    with pytest.raises(ValueError, match="no batch"):
        recalibrate_bn(model, [])


def test_synchronised_layers_replace_plain_ones_and_keep_their_names() -> None:
    model = EmbeddingModel(create_backbone("resnet_tiny", width=4), freeze_at="stem")
    names = list(model.state_dict())
    assert synchronize_batch_norm(model) is model
    assert not any(type(m) in (nn.BatchNorm1d, nn.BatchNorm2d) for m in model.modules())
    assert list(model.state_dict()) == names and not model.bottleneck.bias.requires_grad
    model.train()
    assert not model.backbone.bn1.training and model.bottleneck.training
    assert model(torch.randn(2, 3, 32, 16)).embedding.shape == (2, 32)


def test_a_copy_keeps_its_chunks() -> None:
    model = chunk_batch_norm(EmbeddingModel(create_backbone("resnet_tiny", width=4)), 2)
    assert MeanTeacher(model).model.bn_chunks == 2
