"""What the demo says about other seeds, where it writes, and whose scores it shows."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest

from unreid.config import CfgNode
from unreid.engine.commands import demo


def test_the_spread_is_said_of_the_shipped_config_only() -> None:
    assert "58.2 ± 1.7" in demo.spread(None, [])
    assert demo.spread(None, ["SEED", "2", "OUTPUT_DIR", "elsewhere"]) and demo.spread(None, ["SEED=2"])
    assert not demo.spread(None, ["OPTIM.EPOCHS", "10"])
    assert not demo.spread(None, ["OPTIM.EPOCHS=10"])
    assert not demo.spread("ISE_synthetic.yml", [])


@pytest.mark.parametrize(
    ("words", "folder", "may_remove"),
    [
        ([], "logs/demo", True),
        (["SEED=2"], "logs/demo", True),
        (["OUTPUT_DIR", "mine"], "mine", False),
        (["OUTPUT_DIR=mine"], "mine", False),
    ],
)
def test_a_run_in_a_folder_of_the_user_is_never_removed(
    monkeypatch: pytest.MonkeyPatch, words: list[str], folder: str, may_remove: bool
) -> None:
    asked: list[CfgNode] = []

    def stop(cfg: CfgNode) -> None:
        asked.append(cfg)
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "check_start", stop)
    with pytest.raises(KeyboardInterrupt):
        demo.run(parsed(words))
    assert (folder, may_remove) == (asked[0].OUTPUT_DIR, asked[0].OVERWRITE)


def parsed(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    return parser.parse_args(words)


def test_scores_are_found_under_the_test_sets_own_name(small_config: Callable[..., CfgNode]) -> None:
    cfg = small_config("DATASETS.NAMES", "synthetic_source", "DATASETS.TESTS", "synthetic")
    scores = {"mAP": 12.5, "R1": 25.0, "R5": 50.0, "R10": 75.0}
    page = demo._report(cfg, {"initial": {}, "last": {"epoch": 3, "Synthetic": scores}}, 0.0, "")
    assert "12.5   25.0   50.0   75.0" in page and "\nSynthetic, rendered" in page
