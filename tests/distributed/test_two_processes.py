"""Two processes train as one: labels, losses, memory and weights agree; they stop and go on together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.distributed.conftest import by_rank, run_jobs
from tests.distributed.jobs import METHODS, train
from tests.engine.stored import load_run
from tests.engine.test_runs import assert_same_weights

FAST = ("ClusterContrast", "CDSM")
SLOW = tuple(name for name in METHODS if name not in FAST)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything below in one launch: starting two processes costs more than what they do."""
    return run_jobs(tmp_path_factory.mktemp("two"), *FAST, "stop", "mismatch", "graph")


@pytest.fixture(scope="module")
def slow_jobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_jobs(tmp_path_factory.mktemp("two_slow"), *SLOW)


def losses_of(folder: Path) -> list[tuple[int, float]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(row["step"], value) for row in rows for name, value in row.items() if name.startswith("loss/")]


def assert_one_run(two: Path, one: Path, method: str) -> None:
    """Both folders hold the same run of ``method``, up to rounding."""
    train(one, method)
    alone = json.loads((one / method / "rank0.json").read_text())
    for rank, found in enumerate(by_rank(two / method)):
        assert found["labels"] == alone["labels"], f"pseudo labels of rank {rank}"
        moved, expected = torch.tensor(found["moved"]), torch.tensor(alone["moved"])
        assert (moved - expected).norm() < 1e-5 * expected.norm(), f"weights of rank {rank}"
    expected, found = (load_run(folder / method / "checkpoint.pth") for folder in (one, two))
    assert [step for step, _ in losses_of(two / method)] == [step for step, _ in losses_of(one / method)]
    torch.testing.assert_close(
        torch.tensor([loss for _, loss in losses_of(two / method)]),
        torch.tensor([loss for _, loss in losses_of(one / method)]),
        atol=1e-5,
        rtol=1e-5,
    )
    for memory in {"memory", "table"} & expected["method"].keys():
        torch.testing.assert_close(found["method"][memory], expected["method"][memory], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found["model"], expected["model"], atol=1e-5, rtol=1e-5)
    assert found["state"] == expected["state"]


@pytest.mark.parametrize("method", FAST)
def test_two_processes_train_as_one(jobs: Path, world: Path, method: str) -> None:
    assert_one_run(jobs, world, method)


@pytest.mark.slow
@pytest.mark.parametrize("method", SLOW)
def test_two_processes_train_as_one_whatever_the_method(slow_jobs: Path, world: Path, method: str) -> None:
    assert_one_run(slow_jobs, world, method)


def test_a_signal_to_one_process_stops_all_after_the_same_step(jobs: Path) -> None:
    """The signal comes after step 5; it takes a step to tell the others."""
    found = by_rank(jobs / "stop")
    assert [rank["finished"] for rank in found] == [False, False]
    assert found[0]["steps"] == found[1]["steps"]
    assert 6 <= found[0]["steps"] <= 7


def test_a_stopped_run_goes_on_by_itself_as_if_it_had_not_been_stopped(jobs: Path) -> None:
    """``RESUME auto``, with dropout: bit for bit."""
    whole, cut = (load_run(jobs / "stop" / name / "checkpoint.pth") for name in ("whole", "cut"))
    assert cut["state"] == whole["state"]
    assert_same_weights(whole["model"], cut["model"])
    assert torch.equal(whole["method"]["memory"]["bank"], cut["method"]["memory"]["bank"])


def test_a_memory_that_differs_between_processes_ends_the_run(jobs: Path) -> None:
    messages = [rank["message"] for rank in by_rank(jobs / "mismatch")]
    assert any("the processes disagree after epoch 2" in message and "memory" in message for message in messages)


def test_neighbours_and_graph_of_two_processes_are_those_of_one(jobs: Path) -> None:
    found, nothing = by_rank(jobs / "graph")
    assert len(found) == 3 and all(found.values()), found
    assert nothing == {}


def test_one_process_writes(jobs: Path) -> None:
    """One set of files; the other process keeps a log of its own."""
    folder = jobs / "ClusterContrast"
    results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    assert results["last"]["epoch"] == 3
    assert [step for step, _ in losses_of(folder)] == list(range(1, 13))
    assert (folder / "log.rank1.txt").is_file()
    assert "Synthetic  mAP" in (folder / "log.txt").read_text()
