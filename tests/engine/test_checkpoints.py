"""Checkpoints: what goes on from them, and what is refused with the difference named."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engine.small_runs import METHODS, StopAt, small_config, small_trainer, stopped_run, write_state
from tests.engine.stored import load_run
from tests.torture.part_checkpoints import same
from unreid.config import CfgNode
from unreid.engine.checkpoint import load_model, read_run
from unreid.engine.hooks import Hook, LossGuard
from unreid.engine.hooks.monitoring import DivergedError
from unreid.engine.resume import check_resumable
from unreid.engine.run import run
from unreid.engine.stored_state import ADDED, COUNTERS
from unreid.engine.trainer import TrainState
from unreid.models.embedding import EmbeddingModel
from unreid.structures import StepOutput
from unreid.utils.errors import UserError


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of every method, inside its second epoch."""
    folder = tmp_path_factory.mktemp("runs")
    return {name: stopped_run(small_config(name), folder / name) for name in METHODS}


def changed(file: Path, target: Path, *place: Any, **how: Any) -> Path:
    """A copy of a checkpoint, one entry set (``to=``), dropped (``drop=True``) or put through a function (``by=``)."""
    content = torch.load(file, weights_only=True)
    node = content
    for key in place[:-1]:
        node = node[key]
    if how.get("drop"):
        del node[place[-1]]
    else:
        node[place[-1]] = how["by"](node[place[-1]]) if "by" in how else how["to"]
    torch.save(content, target)
    return target


def resume(path: Path, cfg: CfgNode, folder: Path, *hooks: Hook, ids: int = 6) -> Any:
    checkpoint = read_run(path)
    check_resumable(checkpoint, cfg, path)
    trainer = small_trainer(cfg, folder, *hooks, ids=ids)
    trainer.load_state_dict(checkpoint.trainer)  # type: ignore[arg-type]
    return trainer


@pytest.mark.parametrize("name", METHODS)
def test_a_stored_state_is_restored_whole(files: dict[str, Path], tmp_path: Path, name: str) -> None:
    trainer = resume(files[name], small_config(name), tmp_path, StopAt(-1))
    assert same(trainer.state_dict(), torch.load(files[name], weights_only=True)["trainer"])


@pytest.mark.parametrize(
    ("place", "how", "complaint"),
    [
        (("version",), {"to": 99}, "version 99.*reads version 1"),
        (("version",), {"drop": True}, "version None"),
        (("model",), {"drop": True}, "lacks 'model'"),
        (("model",), {"to": [1]}, "'model' of the file is a list"),
        (("surplus",), {"to": 1}, "unknown entry 'surplus'"),
        (("config",), {"to": 3}, "'config' of the file is a int where str"),
        (("feature",), {"to": "colour"}, "'feature' is 'colour'"),
        (("trainer", "state", "step"), {"drop": True}, "'state' lacks 'step'"),
        (("trainer", "state", "epoch"), {"to": "1"}, "'epoch' of 'state' is a str where int"),
        (("trainer", "state", "epoch"), {"to": 10**30}, "beyond 64 bits"),
        (("trainer", "state", "round"), {"to": -2}, "'round' of 'state' is -2"),
        (("trainer", "plan"), {"to": None}, "inside a round and has no 'plan'"),
        (("trainer", "plan", "targets"), {"by": lambda t: t.float()}, "of type torch.float32"),
        (("trainer", "plan", "targets"), {"by": lambda t: t + 10**6}, "labels beyond"),
        (("trainer", "model", "pooling.p"), {"by": lambda t: t * torch.nan}, "NaN or infinite"),
        (("trainer", "method", "memory", "bank"), {"by": lambda t: t / 0}, "NaN or infinite"),
        (("trainer", "rng", "torch"), {"by": lambda t: t[:-1]}, "random state of torch"),
        (("trainer", "rng", "numpy"), {"to": []}, "random state of NumPy has 0 parts"),
        (("trainer", "rng", "python"), {"by": lambda p: [p[0], p[1][:-1], p[2]]}, "random state of Python"),
        (("trainer", "guard", "empty_rounds"), {"to": 1.5}, "is a float where int"),
        (("trainer", "hooks", "HistoryHook"), {"to": 1}, "hook 'HistoryHook' is no dict"),
        (("trainer", "optimizer", "param_groups"), {"to": {}}, "'param_groups'.*is a dict where list"),
    ],
)
def test_a_damaged_file_is_refused_when_it_is_read(
    files: dict[str, Path], tmp_path: Path, place: tuple[Any, ...], how: dict[str, Any], complaint: str
) -> None:
    path = changed(files["ClusterContrast"], tmp_path / "x.pth", *place, **how)
    with pytest.raises(UserError, match=rf"x\.pth.*{complaint}"):
        load_run(path)


@pytest.mark.parametrize(
    ("place", "how", "complaint"),
    [
        (
            ("model", "backbone.conv1.weight"),
            {"by": lambda t: t[:2]},
            r"'backbone.conv1.weight' of the model has the sh",
        ),
        (("model", "backbone.conv1.weight"), {"by": lambda t: t.double()}, "of type torch.float64"),
        (("model", "pooling.p"), {"drop": True}, "the model lacks 'pooling.p'"),
        (("method", "memory", "bank"), {"by": lambda t: t[:, :5]}, "'bank' of the memory has the shape"),
        (("method", "memory", "bank"), {"by": lambda t: t[:2]}, "the memory has 2 classes and the plan"),
        (("method", "memory", "_extra_state", "resets"), {"drop": True}, "lacks 'resets'"),
        (("method", "memory"), {"drop": True}, "state of ClusterContrast lacks 'memory'"),
        (("method", "surplus"), {"to": 1}, "unknown entry 'surplus'"),
        (("method", "group_bound"), {"to": "a"}, "'group_bound' of the method is a str"),
        (("method", "clusterer", "eps"), {"to": "a"}, "'eps' of the state of DBSCAN is a str"),
        (("optimizer", "state", 0, "exp_avg"), {"by": lambda t: t[:1]}, "'exp_avg'.*parameter 0 has the shape"),
        (("optimizer", "state", 0, "exp_avg"), {"drop": True}, "lacks 'exp_avg'"),
        (("optimizer", "state", 10**4), {"to": {}}, "it has a parameter 10000"),
        (("optimizer", "param_groups", 0, "betas"), {"drop": True}, "'betas' stands in one of them only"),
        (("optimizer", "param_groups", 0, "params"), {"to": [0]}, "it has 1 parameters"),
        (("hooks", "EvaluationHook", "last"), {"drop": True}, "the scores lacks 'last'"),
        (("hooks", "PseudoLabelHook", "labels"), {"by": lambda t: t[:-1]}, "the pseudo labels has the shape"),
        (("precision",), {"to": {"scale": "a"}}, "loss scaling"),
    ],
)
def test_a_state_of_another_run_is_refused_before_anything_is_changed(
    files: dict[str, Path], tmp_path: Path, place: tuple[Any, ...], how: dict[str, Any], complaint: str
) -> None:
    path = changed(files["ClusterContrast"], tmp_path / "x.pth", "trainer", *place, **how)
    with pytest.raises(UserError, match=rf"(?s)does not fit this run.*{complaint}|x\.pth.*{complaint}"):
        resume(path, small_config(), tmp_path)


def test_the_position_is_checked_whole() -> None:
    assert {*COUNTERS, *ADDED} == {field.name for field in dataclasses.fields(TrainState)}


def test_an_older_checkpoint_is_restored(files: dict[str, Path], tmp_path: Path) -> None:
    path = changed(files["SpCL"], tmp_path / "x.pth", "trainer", "state", "unreported", drop=True)
    path = changed(path, path, "feature", drop=True)
    assert resume(path, small_config("SpCL"), tmp_path).state.global_step == 5


def test_a_refused_model_leaves_the_run_as_it_was(files: dict[str, Path], tmp_path: Path) -> None:
    state = load_run(files["ClusterContrast"])
    state["optimizer"]["param_groups"][0]["params"] = [0]
    trainer = small_trainer(small_config(), tmp_path)
    before = copy.deepcopy(trainer.state_dict())
    with pytest.raises(UserError, match="parameters"):
        trainer.load_state_dict(state)
    assert same(before, trainer.state_dict())


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (("MODEL.POOLING.NAME", "avg"), "MODEL.POOLING.NAME was gem, is avg"),
        (("MODEL.EMBED_DIM", 16), "MODEL.EMBED_DIM was 0, is 16"),
        (("OPTIM.OPT", "sgd"), "OPTIM.OPT was adam, is sgd"),
        (("MODEL.BACKBONE.WIDTH", 8), "MODEL.BACKBONE.WIDTH was 4, is 8"),
        (("MODEL.EMA.ENABLED", True), "MODEL.EMA.ENABLED was False, is True"),
    ],
)
def test_a_config_of_another_network_is_refused_by_its_keys(
    files: dict[str, Path], overrides: tuple[Any, ...], named: str
) -> None:
    """Before data is read: only the file and the config are looked at."""
    path = files["ClusterContrast"]
    with pytest.raises(UserError, match=named):
        check_resumable(read_run(path), small_config("ClusterContrast", *overrides), path)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("other", METHODS)
def test_a_checkpoint_of_another_method_is_refused(
    files: dict[str, Path], tmp_path: Path, name: str, other: str
) -> None:
    if name == other:
        return
    with pytest.raises(UserError, match=f"METHOD.NAME was {other}, is {name}"):
        check_resumable(read_run(files[other]), small_config(name), files[other])
    with pytest.raises(UserError, match="does not fit this run"):
        small_trainer(small_config(name), tmp_path).load_state_dict(load_run(files[other]))


def test_what_may_change_passes_and_what_changes_the_run_is_said(
    files: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    path = files["ClusterContrast"]
    checkpoint = read_run(path)
    check_resumable(checkpoint, small_config("ClusterContrast", "OUTPUT_DIR", "elsewhere", "TEST.FLIP", True), path)
    assert not caplog.records
    check_resumable(checkpoint, small_config("ClusterContrast", "OPTIM.LR", 0.5, "SEED", 7), path)
    assert "SEED was 1, is 7" in caplog.text and "OPTIM.LR was" in caplog.text


@pytest.mark.parametrize("opt", [("OPTIM.OPT", "sgd"), ("OPTIM.OPT", "adamw"), ("OPTIM.BACKBONE_LR_MULT", 0.5)])
def test_another_optimiser_is_refused_by_its_state(
    files: dict[str, Path], tmp_path: Path, opt: tuple[Any, ...]
) -> None:
    trainer = small_trainer(small_config("ClusterContrast", *opt), tmp_path)
    with pytest.raises(UserError, match=r"its optimiser is another than this run's .*|the optimiser's state is none"):
        trainer.load_state_dict(load_run(files["ClusterContrast"]))


@pytest.mark.parametrize("name", METHODS)
def test_other_training_samples_are_refused(files: dict[str, Path], tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"24 training samples and this run has 28.*DATASETS|classifier"):
        resume(files[name], small_config(name), tmp_path, ids=7)


def test_epochs_that_are_already_done_are_said(
    files: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = small_config("ClusterContrast", "OPTIM.EPOCHS", 1)
    trainer = resume(files["ClusterContrast"], cfg, tmp_path)
    assert "1 epochs done and this run is to have 1 (OPTIM.EPOCHS): nothing is left to train" in caplog.text
    trainer.train()
    assert trainer.state.global_step == 5


class Counter(Hook):
    """Counts steps."""

    def __init__(self, by: int) -> None:
        self.by = by
        self.count = 0

    def after_step(self, output: StepOutput) -> None:
        self.count += self.by

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count = state["count"]


def test_two_hooks_of_one_class_keep_states_of_their_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cfg = small_config()
    trainer = small_trainer(cfg, tmp_path, Counter(1), Counter(10), StopAt(2))
    trainer.train()
    path = write_state(tmp_path / "x.pth", trainer, cfg)
    hooks = Counter(1), Counter(10)
    resume(path, cfg, tmp_path, *hooks, StopAt(-1))
    assert [hook.count for hook in hooks] == [2, 20]
    assert not [record for record in caplog.records if "the hook" in record.message]
    resume(path, cfg, tmp_path, Counter(1), StopAt(-1))
    assert "a state of the hook Counter#2, which this run does not have" in caplog.text
    resume(path, cfg, tmp_path, Counter(1), Counter(1), Counter(1), StopAt(-1))
    assert "nothing of the hook Counter#3" in caplog.text


def test_files_for_evaluation_name_a_checkpoint_only_where_there_is_one(files: dict[str, Path], tmp_path: Path) -> None:
    alone = changed(files["CDSM"], tmp_path / "model_best.pth", "trainer", drop=True)
    with pytest.raises(UserError, match=r"for evaluation only.*MODEL\.INIT_PATH .*model_best\.pth"):
        load_run(alone)
    (tmp_path / "checkpoint.pth").write_bytes(files["CDSM"].read_bytes())
    with pytest.raises(UserError, match=r"for evaluation only.*RESUME .*checkpoint\.pth"):
        load_run(alone)


@pytest.mark.parametrize("there", [True, False])
def test_the_loss_guard_names_a_checkpoint_only_where_there_is_one(tmp_path: Path, there: bool) -> None:
    path = tmp_path / "checkpoint.pth"
    if there:
        path.touch()
    guard = LossGuard(period=1, checkpoint=str(path))
    guard.trainer = small_trainer(small_config(), tmp_path)
    with pytest.raises(DivergedError) as caught:
        guard.after_step(StepOutput({"memory": torch.tensor(torch.nan)}))
    assert (str(path) in str(caught.value)) == there


def test_weights_of_the_teacher_are_what_is_evaluated(files: dict[str, Path]) -> None:
    cfg = small_config("CDSM")
    model = EmbeddingModel.from_config(cfg, pretrained=False)
    load_model(files["CDSM"], model)
    teacher = load_run(files["CDSM"])["method"]["teacher"]
    assert all(torch.equal(value, teacher[f"model.{key}"]) for key, value in model.state_dict().items())


def test_a_run_refuses_a_checkpoint_of_another_method(small_config: Any, files: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="METHOD.NAME was CDSM, is ClusterContrast"):
        run(small_config("RESUME", str(files["CDSM"])))


def test_a_flipped_bit_anywhere_is_found_or_harmless(files: dict[str, Path], tmp_path: Path) -> None:
    content = files["SpCL"].read_bytes()
    whole = load_run(files["SpCL"])
    refused = 0
    for at in range(40, len(content), len(content) // 25):
        damaged = bytearray(content)
        damaged[at] ^= 4
        (tmp_path / "x.pth").write_bytes(bytes(damaged))
        try:
            assert same(load_run(tmp_path / "x.pth"), whole), at
        except UserError as error:
            assert "cut off or damaged" in str(error)
            refused += 1
    assert refused >= 15  # the rest lies in padding


def test_a_config_that_refers_to_itself_is_refused(files: dict[str, Path], tmp_path: Path) -> None:
    bomb = "A: &a [1, 1]\n" + "".join(
        f"{chr(66 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(20)
    )
    path = changed(files["ClusterContrast"], tmp_path / "x.pth", "config", to=bomb)
    with pytest.raises(UserError, match="refers to parts of itself"):
        check_resumable(read_run(path), small_config(), path)
