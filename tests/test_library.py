"""The face of the package: what ``import unreid`` offers, and that it costs nothing before it is used."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import unreid

SOURCE = Path(unreid.__file__)
PROBE = """
import sys, time
start = time.perf_counter()
import unreid
seconds = time.perf_counter() - start
print(seconds < 0.5, sorted(name for name in ("torch", "numpy", "scipy", "yaml", "yacs") if name in sys.modules))
assert "DBSCAN" in dir(unreid) and "losses" in dir(unreid)
import unreid.engine, unreid.data
print("torch" in sys.modules)
unreid.ClusterMemory
print("torch" in sys.modules, "sklearn" in sys.modules, "cv2" in sys.modules)
"""


def test_importing_costs_nothing_and_a_name_loads_its_room_only() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, cwd=SOURCE.parents[1])
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["True []", "False", "True False False"]


def typed_names() -> set[str]:
    """The names that editors and mypy see."""
    tree = ast.parse(SOURCE.read_text())
    guard = next(node for node in tree.body if isinstance(node, ast.If))
    return {alias.name for node in guard.body if isinstance(node, ast.ImportFrom) for alias in node.names}


def test_every_name_is_there_and_editors_see_the_same_ones() -> None:
    assert set(unreid.__all__) == typed_names() and len(set(unreid.__all__)) == len(unreid.__all__)
    for name in unreid.__all__:
        assert getattr(unreid, name) is not None
        assert name in dir(unreid)
    assert unreid.__version__ and (SOURCE.parent / "py.typed").is_file()


def test_rooms_are_attributes_and_unknown_names_are_not() -> None:
    assert unreid.losses is importlib.import_module("unreid.losses")
    for module in (unreid, unreid.engine):
        with pytest.raises(AttributeError, match="has no attribute 'Trainr'"):
            _ = module.Trainr


def test_people_find_what_they_look_for() -> None:
    from unreid.clustering.hdc import HDC
    from unreid.engine import Hook, Trainer, evaluate, train

    assert HDC is unreid.HDC and Trainer is unreid.Trainer
    assert (train, evaluate) == (unreid.train, unreid.evaluate) and Hook.__name__ == "Hook"


def test_a_round_of_learning_from_the_names_alone() -> None:
    rng = np.random.default_rng(0)
    owner = np.repeat(np.arange(4), 10)
    x = rng.normal(size=(4, 16))[owner] + 0.1 * rng.normal(size=(40, 16))
    labels = unreid.DBSCAN(0.5, k1=8).fit_predict(x.tolist(), camids=["a", "b"] * 20)
    memory = unreid.ClusterMemory(16, update="hard")
    memory.reset(x, labels)
    sampler = unreid.MultiCameraSampler(labels, [0, 1] * 20, 4)
    batch = sampler.one_pass(rng)
    inputs = torch.tensor(x[batch], dtype=torch.float32, requires_grad=True)
    loss = memory(inputs, labels[batch])
    loss.backward()
    memory.update(inputs, labels[batch])
    assert inputs.grad is not None and inputs.grad.abs().sum() > 0
    assert unreid.cluster_report(labels, [f"person {k}" for k in owner])["ari"] == pytest.approx(1.0)


def test_every_loss_takes_arrays_and_lists() -> None:
    logits, targets = [[2.0, 0.0, 1.0], [0.0, 3.0, 1.0]], [0, 1]
    tensors = torch.tensor(logits), torch.tensor(targets)
    losses = unreid.losses
    for given in ((logits, targets), (np.array(logits), np.array(targets)), tensors):
        assert float(losses.smoothed_cross_entropy(*given)) == pytest.approx(
            float(losses.smoothed_cross_entropy(*tensors))
        )
        near = losses.ranked_smoothed_cross_entropy(*given, nearest=[[1], [0], [0]])
        assert near.isfinite() and losses.soft_entropy(given[0], given[0]).isfinite()
        assert losses.camera_entropy_weights(given[1], [0, 1]).tolist() == [1.0, 1.0]
        supports = losses.support_samples(given[0], given[0], given[1], degree=0.5)
        lp = losses.label_preserving_loss(given[0], supports.features, given[1], supports.targets)
        assert lp.isfinite()
        triplets = losses.hardest_triplets(*given)
        assert losses.triplet_distances(given[0], triplets)[1].shape == (2,)
    with pytest.raises(ValueError, match=r"logits must be numbers of shape \(N, D\), not float32 \(3,\)"):
        losses.smoothed_cross_entropy([1.0, 2.0, 3.0], [0])
    with pytest.raises(ValueError, match=r"targets must be integers of shape \(2,\), not int64 \(3,\)"):
        losses.smoothed_cross_entropy(logits, [0, 1, 2])


@pytest.mark.parametrize("name", ["ClusterMemory", "DiversityMemory", "HybridMemory", "ExclusiveTable"])
def test_every_memory_takes_arrays_and_lists_and_names_what_it_refuses(name: str) -> None:
    x = np.eye(6, dtype=np.float32)
    labels = [0, 0, 1, 1, 2, -1]
    memory = getattr(unreid, name)(6)
    memory.reset(x.tolist(), labels)
    fields = {"indices": [0, 2, 4]}
    loss = memory(x[[0, 2, 4]], [0, 1, 2], weights=[1.0, 1.0, 1.0], **fields)
    memory.update(x[[0, 2, 4]].tolist(), np.array([0, 1, 2]), **fields)
    assert loss.isfinite()
    for call, message in (
        (lambda: memory(x[:2, :3], [0, 1]), r"inputs must be numbers of shape \(N, 6\), not float32 \(2, 3\)"),
        (lambda: memory(x[:2], [0, 9]), "targets must be clusters from 0 to"),
        (lambda: memory(x[:2], [0.5, 1]), r"targets must be integers of shape \(2,\)"),
        (lambda: memory.reset(x, labels[:5]), "6 features but 5 labels"),
        (lambda: memory.reset(x[0], labels), r"features must be numbers of shape \(N, 6\)"),
        (lambda: memory.reset(x, "012345"), r"labels must be integers"),
    ):
        if name == "ExclusiveTable" and "reset" in message or (name == "ExclusiveTable" and "features" in message):
            continue  # starts at zero: it does not read the features
        with pytest.raises(ValueError, match=message):
            call()
