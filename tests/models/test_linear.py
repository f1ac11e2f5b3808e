"""Linear layers of any network take the faster library, and stay what they were."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from unreid.models.embedding import EmbeddingModel
from unreid.models.linear import FastLinear, speed_up_linear_layers


def test_only_plain_layers_change_and_nothing_but_their_forward() -> None:
    plain = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.MultiheadAttention(4, 2), nn.Linear(4, 3, bias=False))
    before = plain.state_dict()
    inputs = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    expected = plain[3](plain[0](inputs))
    assert speed_up_linear_layers(plain) is plain
    assert [type(plain[0]), type(plain[3])] == [FastLinear, FastLinear]
    assert type(plain[2].out_proj) is NonDynamicallyQuantizableLinear
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in before.items())
    torch.testing.assert_close(plain[3](plain[0](inputs)), expected)


def test_an_embedding_model_speeds_up_its_backbone() -> None:
    class Backbone(nn.Module):
        feature_dim = 4

        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(4, 4)

        def forward(self, maps: torch.Tensor) -> torch.Tensor:
            return self.mix(maps.movedim(1, 3)).movedim(3, 1)

    model = EmbeddingModel(Backbone(), embed_dim=3, num_classes=7)
    assert all(type(module) is FastLinear for module in model.modules() if isinstance(module, nn.Linear))
