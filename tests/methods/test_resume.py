"""What holds for whole runs of every method: exact resume, no look at identities, no NaN."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.engine.stored import load_run
from tests.engine.test_runs import assert_same_weights, stop_at
from tests.methods.conftest import MakeConfig
from unreid.config import CfgNode
from unreid.engine import build
from unreid.engine.run import run
from unreid.structures import GroundTruth

METHODS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "ClusterContrast": ("ClusterContrast_synthetic.yml", ()),
    "SpCL": ("SpCL_synthetic.yml", ()),
    "CDSM": ("CDSM_synthetic.yml", ()),
    "CDSM, base view": ("CDSM_synthetic.yml", ("METHOD.CDSM.TEACHER_VIEW", "base")),
    "ISE": ("ISE_synthetic.yml", ()),
    "3C HDC": ("CCC_HDC_synthetic.yml", ()),
    "3C k-means": ("CCC_KMeans_synthetic.yml", ()),
    "CAP": ("CAP_synthetic.yml", ("MEMORY.PROXY.INTER_AFTER", "1")),  # counts its labellings
    "O2CAP": ("O2CAP_synthetic.yml", ()),
    "O2CAP, CA-Jaccard": ("O2CAP_synthetic.yml", ("CLUSTER.METRIC", "ca_jaccard", "CLUSTER.CA.K1_INTER", "6")),
    "PPLR": ("PPLR_synthetic.yml", ("METHOD.PPLR.K", "6", "METHOD.PPLR.AALS_ROUND", "1")),
    "PPLR, cameras": ("PPLR_synthetic.yml", ("METHOD.PPLR.CAMERAS", "True", "METHOD.PPLR.K", "6")),
    "BUC": ("BUC_synthetic.yml", ("DATALOADER.ITERS", "0")),
    "BUC, cluster means": ("BUC_synthetic.yml", ("METHOD.BUC.MEMORY_INIT", "cluster_mean")),
    "labels of two rounds": ("ClusterContrast_synthetic.yml", ("CLUSTER.EVERY", "2")),
    "v2": ("CDSM_synthetic.yml", ("MEMORY.UPDATE", "v2")),  # draws its first slots
    "sampled negatives": ("ClusterContrast_synthetic.yml", ("MEMORY.NEGATIVES", "2")),  # draws in every step
}


@pytest.fixture(params=list(METHODS))
def make(request: pytest.FixtureRequest, tiny_config: MakeConfig) -> MakeConfig:
    """Configs of one method."""
    file, settings = METHODS[request.param]
    return lambda *overrides, output="run": tiny_config(*settings, *overrides, file=file, output=output)


def trained_state(cfg: CfgNode) -> dict[str, Any]:
    state = load_run(Path(cfg.OUTPUT_DIR) / "checkpoint.pth")
    del state["rng"]["python"]  # libraries draw from it when they are first imported, and nothing here does
    del state["hooks"]["ScalarHook"]  # rows of the metrics: a stopped run writes its last means when it stops
    return state


def assert_equal(first: Any, second: Any, where: str = "state") -> None:
    """Nested containers of tensors and plain values are the same, bit for bit."""
    assert type(first) is type(second), where
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), where
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for key in first:
            assert_equal(first[key], second[key], f"{where}.{key}")
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second), where
        for i, (a, b) in enumerate(zip(first, second)):
            assert_equal(a, b, f"{where}[{i}]")
    else:
        assert first == second, where


def test_a_resumed_run_equals_an_uninterrupted_one(make: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything a checkpoint holds agrees: weights, memory, teacher, clusterer, optimiser, generators."""
    whole = make(output="whole")
    assert run(whole)["finished"]
    expected = trained_state(whole)
    step = expected["state"]["global_step"] // 2
    with monkeypatch.context() as patch:
        stop_at(patch, step)
        cut = make(output="cut")
        assert not run(cut)["finished"]
    checkpoint = Path(cut.OUTPUT_DIR) / "checkpoint.pth"
    assert load_run(checkpoint)["state"]["global_step"] == step
    assert run(make("RESUME", str(checkpoint), output="cut"))["finished"]
    assert_equal(expected, trained_state(cut))
    assert all(torch.isfinite(value).all() for value in expected["model"].values())


@pytest.mark.parametrize("file", ["BUC_synthetic.yml", "SpCL_synthetic.yml"])
def test_scrambled_identities_change_nothing(
    file: str, tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = tiny_config(file=file, output="true")
    run(true)
    original = build.build_data

    def scrambled(*args: Any, **kwargs: Any) -> Any:
        data = original(*args, **kwargs)
        assert data.truth is not None
        data.truth = GroundTruth(np.random.default_rng(3).permutation(data.truth.pids))
        return data

    monkeypatch.setattr(build, "build_data", scrambled)
    other = tiny_config(file=file, output="scrambled")
    run(other)
    assert_same_weights(trained_state(true)["model"], trained_state(other)["model"])
