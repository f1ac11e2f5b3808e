"""The heads of horizontal parts against their definition, part by part."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from unreid.evaluation.extract import extract_features
from unreid.models.base import create_backbone
from unreid.models.embedding import EmbeddingModel
from unreid.models.part_heads import PartHeads

MAPS = torch.randn(6, 4, 9, 2, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("average_first", [False, True])
@pytest.mark.parametrize("clip_len", [1, 2])
def test_every_part_has_its_own_neck_and_classifier(clip_len: int, average_first: bool) -> None:
    heads = PartHeads(4, 3, num_classes=5)
    assert not heads.bottleneck.bias.requires_grad
    nn.init.uniform_(heads.bottleneck.weight, 0.5, 1.5)
    weights = heads.bottleneck.weight.detach().unflatten(0, (3, 4))
    features, logits = heads(MAPS, clip_len, average_first=average_first)
    assert logits is not None and logits.shape == (6 // clip_len, 3, 5)
    for part in range(3):
        pooled = MAPS[:, :, 3 * part : 3 * part + 3].mean((2, 3))
        if average_first:
            pooled = pooled.unflatten(0, (-1, clip_len)).mean(1)
        neck = F.batch_norm(pooled, None, None, weights[part], None, training=True)
        if not average_first:
            neck = neck.unflatten(0, (-1, clip_len)).mean(1)
        torch.testing.assert_close(features[:, part], neck)
        torch.testing.assert_close(logits[:, part], neck @ heads.classifier[part].T)
    heads.eval()
    assert heads(MAPS)[1] is None and PartHeads(4, 2)(MAPS)[1] is None


def test_frames_are_averaged_as_unit_vectors_in_eval_mode() -> None:
    heads = PartHeads(4, 3).eval()
    single = F.normalize(heads(MAPS)[0], dim=2)
    torch.testing.assert_close(heads(MAPS, 2)[0], single.unflatten(0, (-1, 2)).mean(1))


def model(parts: int = 2) -> EmbeddingModel:
    torch.manual_seed(0)
    return EmbeddingModel(create_backbone("resnet_tiny", width=4), num_classes=7, parts=parts)


def test_parts_change_nothing_else() -> None:
    images = torch.randn(4, 3, 32, 16)
    plain, parted = model(0), model(2)
    assert plain.part_heads is None and parted.parts_dim == 2 * 32
    one, two = plain(images), parted(images)
    assert torch.equal(one.embedding, two.embedding) and torch.equal(one.logits, two.logits)
    assert one.parts is None and one.part_logits is None
    assert two.parts.shape == (4, 2, 32) and two.part_logits.shape == (4, 2, 7)
    torch.testing.assert_close(F.normalize(two.neck, dim=1), two.embedding)


@pytest.mark.parametrize("flip", [False, True])
def test_one_pass_extracts_embedding_and_parts(flip: bool) -> None:
    net, images = model().eval(), torch.randn(5, 3, 32, 16)
    loader = [(images[:3], torch.tensor([4, 0, 2])), (images[3:], torch.tensor([1, 3]))]
    found = extract_features(
        copy.deepcopy(net), loader, feature="embedding+parts", num_samples=5, device="cpu", flip=flip
    )
    with torch.no_grad():
        views = [net(view) for view in ([images, images.flip(3)] if flip else [images])]
    embedding = F.normalize(torch.stack([view.embedding for view in views]).mean(0), dim=1)
    parts = F.normalize(torch.stack([F.normalize(view.parts, dim=2) for view in views]).mean(0), dim=2)
    torch.testing.assert_close(found[[4, 0, 2, 1, 3]], torch.cat([embedding, parts.flatten(1)], dim=1))
    with pytest.raises(ValueError, match="no parts"):
        extract_features(model(0), loader, feature="embedding+parts", num_samples=5, device="cpu")


def test_the_first_classes_alone_are_those_of_all() -> None:
    """What a round has no cluster for is not multiplied, and gets no gradient either way."""
    model = EmbeddingModel(create_backbone("resnet_tiny"), num_classes=9, parts=2).train()
    images = torch.randn(4, 3, 32, 16, generator=torch.Generator().manual_seed(1))
    whole, some = model(images), model(images, classes=4)
    torch.testing.assert_close(some.logits, whole.logits[:, :4])
    torch.testing.assert_close(some.part_logits, whole.part_logits[:, :, :4])
    grads = [
        torch.autograd.grad(found[:, :4].square().sum(), model.classifier.weight)[0]
        for found in (whole.logits, some.logits)
    ]
    torch.testing.assert_close(grads[0], grads[1])
    assert some.logits.shape[1] == 4 and not grads[1][4:].any()
