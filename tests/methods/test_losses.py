"""Losses by name: METHOD.LOSSES of cluster-memory methods, AuxUSL's own keys, plug-ins, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.methods.conftest import MakeConfig
from unreid.engine.cli import main
from unreid.engine.names import check_names
from unreid.engine.run import run
from unreid.losses import LOSSES, LossInputs, soft_margin_triplet
from unreid.losses.base import weighted_losses
from unreid.losses.triplet import hardest_triplets, triplet_distances
from unreid.utils.errors import UserError

PLUGIN = """
from unreid.losses import LOSSES, Loss


@LOSSES.register("spread")
class Spread(Loss):
    \"\"\"Length of the mean image.\"\"\"

    def __call__(self, inputs):
        assert inputs.camids is None or inputs.camids.shape == inputs.targets.shape
        return inputs.features.float().mean(dim=0).square().sum()
"""


@pytest.fixture(autouse=True)
def _leave_no_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for table in ("_table", "_names", "_aliases"):
        monkeypatch.setattr(LOSSES, table, dict(getattr(LOSSES, table)))
    yield


def written(cfg: Any) -> dict[str, float]:
    """The losses in a run's metrics."""
    rows = [json.loads(line) for line in (Path(cfg.OUTPUT_DIR) / "metrics.jsonl").read_text().splitlines()]
    return {key: value for row in rows for key, value in row.items() if key.startswith("loss/")}


def test_a_plug_ins_loss_and_a_weighted_one_train_beside_the_memory(tmp_path: Path, tiny_config: MakeConfig) -> None:
    plugin = tmp_path / "spread.py"
    plugin.write_text(PLUGIN)
    cfg = tiny_config("PLUGINS", f"['{plugin}']", "METHOD.LOSSES", "['triplet=0.5', 'spread']")
    assert run(cfg)["finished"]
    assert {"loss/memory", "loss/triplet", "loss/spread"} <= written(cfg).keys()


def test_the_weight_is_a_factor_and_the_loss_sees_the_images_of_the_batch(tiny_config: MakeConfig) -> None:
    chosen = weighted_losses(tiny_config(), ["triplet=0.5", "watl"])
    assert {name: weight for name, (weight, _) in chosen.items()} == {"triplet": 0.5, "watl": 1.0}
    features, targets = torch.randn(8, 4), torch.arange(4).repeat(2)
    mined = hardest_triplets(features, targets)
    expected = soft_margin_triplet(*triplet_distances(features, mined), mined.valid)
    assert torch.equal(chosen["triplet"][1](LossInputs(features, targets)), expected)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (("METHOD.LOSSES", "['tripled']"), "no loss named 'tripled'. Did you mean 'triplet'"),
        (("MODEL.LOSSES.TRI_OPTION", "hinge"), "no loss named 'hinge'"),
    ],
)
def test_a_misspelt_loss_is_refused(tiny_config: MakeConfig, overrides: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        check_names(tiny_config(*overrides))


@pytest.mark.parametrize("word", ["triplet=", "triplet=x", "triplet=-1", "=1"])
def test_a_weight_is_a_number(tiny_config: MakeConfig, word: str) -> None:
    with pytest.raises(UserError, match="NAME=WEIGHT"):
        tiny_config("METHOD.LOSSES", f"['{word}']")


def test_who_cannot_take_a_loss_says_so(tiny_config: MakeConfig) -> None:
    with pytest.raises(UserError, match="cross_entropy reads a classifier"):
        run(tiny_config("METHOD.LOSSES", "['cross_entropy']"))
    with pytest.raises(UserError, match="BUC has no use for METHOD.LOSSES"):
        run(tiny_config("METHOD.NAME", "BUC", "MEMORY.NAME", "ExclusiveTable", "METHOD.LOSSES", "['triplet']"))


def test_they_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "losses"]) in (0, None)
    listed = capsys.readouterr().out
    assert all(name in listed for name in ("cross_entropy", "ranked_label_smoothing", "triplet", "watl"))


def test_the_keys_of_a_loss_reach_it(tiny_config: MakeConfig) -> None:
    cfg = tiny_config(
        *("MODEL.LOSSES.TRI_MARGIN", "0.25", "MODEL.LOSSES.TRI_LAMBDA", "-2"),
        *("MODEL.LOSSES.CE.EPSILON", "0.3", "MODEL.LOSSES.ID_K", "7"),
    )
    chosen: Any = {name: loss for name, (_, loss) in weighted_losses(cfg, ["watl", "lsce", "rlsce"]).items()}
    assert (chosen["watl"].margin, chosen["watl"].lambda_) == (0.25, -2.0)
    assert chosen["lsce"].epsilon == 0.3
    assert (chosen["rlsce"].epsilon, chosen["rlsce"].k) == (0.3, 7)
