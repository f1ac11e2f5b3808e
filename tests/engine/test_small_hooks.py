"""Pseudo labels that a run leaves, hashes that processes compare, and what diagnostics note."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.engine.scripted import LABELS, N, Script, Scripted
from unreid.constraints import load_pseudo_labels
from unreid.engine.hooks import DiagnosticsHook, PseudoLabelHook, RankCheckHook, RankMismatchError
from unreid.engine.hooks.rank_check import content_hash
from unreid.structures import GroundTruth, Tracklet

KEYS = [f"key{n}" for n in range(N)]
LAST = [1, 1, -1, 0, 0, -1]


def test_the_labels_of_the_last_round_are_left_with_their_keys(tmp_path: Path) -> None:
    hook = PseudoLabelHook(tmp_path, KEYS, {"method": "Scripted"})
    warmup = Scripted([list(range(N))])
    Script(Scripted([LABELS, LAST], epochs=3, iters=1), warmup=warmup, hooks=[hook]).trainer.train()
    labels, meta = load_pseudo_labels(tmp_path / "pseudo_labels.npz", KEYS)
    assert labels.tolist() == LAST
    assert (meta["epoch"], meta["method"]) == (3, "Scripted")


def test_a_run_that_only_warmed_up_leaves_none_and_a_resumed_one_keeps_its_own(tmp_path: Path) -> None:
    hook = PseudoLabelHook(tmp_path, KEYS, {})
    Script(Scripted(epochs=1), warmup=Scripted([list(range(N))]), hooks=[hook]).trainer.train()
    assert list(tmp_path.iterdir()) == []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first = Script(Scripted([LAST], epochs=1), hooks=[PseudoLabelHook(tmp_path / "first", KEYS, {})])
    first.trainer.train()
    over = Script(Scripted([LAST], epochs=1), hooks=[PseudoLabelHook(tmp_path / "second", KEYS, {})])
    over.trainer.load_state_dict(first.trainer.state_dict())
    over.trainer.train()
    assert load_pseudo_labels(tmp_path / "second" / "pseudo_labels.npz", KEYS)[0].tolist() == LAST


# ----------------------------------------------------------------------------------------------------- hashes


def state() -> dict[str, Any]:
    return {
        "a": torch.arange(4.0),
        "b": [1, 2.5, "x", None, (True, torch.zeros(2, dtype=torch.int64))],
        "c": {"name": [[1], [2]]},
    }


CHANGES: dict[str, Any] = {
    "a value": lambda s: s["a"].add_(torch.tensor([0, 0, 0, 1e-6])),
    "a dtype": lambda s: s.update(a=s["a"].double()),
    "a shape": lambda s: s.update(a=s["a"].view(2, 2)),
    "a number": lambda s: s["b"].__setitem__(1, 2.5000001),
    "a key": lambda s: s.__setitem__("c", {"key": s["c"].pop("name")}),
    "a nesting": lambda s: s["c"].__setitem__("name", [[1, 2], []]),
    "a length": lambda s: s["b"].append(None),
    "a deep tensor": lambda s: s["b"][4][1].add_(1),
}


def test_equal_contents_have_equal_hashes() -> None:
    assert content_hash(state()) == content_hash(state())
    strided = torch.arange(8.0)[::2]
    assert content_hash(strided) == content_hash(strided.clone())


@pytest.mark.parametrize("change", CHANGES)
def test_every_difference_changes_the_hash(change: str) -> None:
    other = state()
    CHANGES[change](other)
    assert content_hash(other) != content_hash(state())


def test_what_differs_between_processes_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def others(own: dict[str, str]) -> list[dict[str, str]]:
        return [own, {**own, "weights": "0123"}]

    script = Script(Scripted(epochs=1), hooks=[RankCheckHook()])
    script.trainer.train()
    monkeypatch.setattr("unreid.engine.hooks.rank_check.all_gather_objects", others)
    with pytest.raises(RankMismatchError, match=r"after epoch 1 \(hashes by rank\): weights \w{16}, 0123$"):
        Script(Scripted(epochs=1), hooks=[RankCheckHook()]).trainer.train()


# ------------------------------------------------------------------------------------------------ diagnostics


def test_diagnostics_compare_with_the_truth_and_only_note(caplog: pytest.LogCaptureFixture) -> None:
    tracklets = [Tracklet(("x.jpg",), n % 2, n) for n in range(N)]
    truth = GroundTruth(np.array([7, 7, 8, 8, 9, 9]))
    noted: list[dict[str, float | None]] = []

    class Notes(DiagnosticsHook):
        def after_label(self, clustering: Any, plan: Any) -> None:
            super().after_label(clustering, plan)
            storage = self.trainer.storage
            noted.append({name: storage.noted(f"cluster/{name}") for name in ("pair_precision", "cross_camera_recall")})

    caplog.set_level("INFO", logger="unreid")
    Script(
        Scripted([LABELS], epochs=1), warmup=Scripted([list(range(N))]), hooks=[Notes(tracklets, truth, pictures=0)]
    ).trainer.train()
    Script(Scripted([LABELS], epochs=1), hooks=[Notes(tracklets, truth, pictures=0)]).trainer.train()
    Script(Scripted([LABELS], epochs=1), hooks=[Notes(tracklets, None, pictures=0)]).trainer.train()
    nothing = {"pair_precision": None, "cross_camera_recall": None}
    # Clusters 0-2 and 3-5 hold six pairs; (0, 1) and (4, 5) are right, from two cameras, and (2, 3) is missed.
    assert noted == [nothing, {"pair_precision": 2 / 6, "cross_camera_recall": 2 / 3}, nothing]
    assert "round 0: 2 clusters, 0 outliers, pair precision 33 %, cross-camera recall 67 %" in caplog.text
