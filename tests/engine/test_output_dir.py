"""Who may write into OUTPUT_DIR: a failed start leaves it alone, an earlier run is not lost, two runs do not meet."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unreid.config import CfgNode, load_config
from unreid.engine import run as run_module
from unreid.engine.folder import RunFolder
from unreid.engine.run import run
from unreid.models import pretrained
from unreid.utils.errors import UserError
from unreid.utils.lockfile import LockFile

MakeConfig = Callable[..., CfgNode]
SHORTEST = ("OPTIM.EPOCHS", "1", "WARMUP.EPOCHS", "0", "DATALOADER.ITERS", "1", "MODEL.RECALIBRATE_BN", "0")


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a folder and what is in it; folders with b""."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def crops(folder: Path, query_identity: int = 5) -> Path:
    """Crops of four identities and two cameras; one query, whose gallery image is of identity 5."""
    for number in range(16):
        target = folder / "train" / f"cam{number % 2}_{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number // 4).integers(0, 255, (32, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(target)
    for split, identity, camera in (("query", query_identity, 0), ("gallery", 5, 1)):
        target = folder / split / str(identity) / f"cam{camera}_0.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((32, 16, 3), 90, dtype=np.uint8)).save(target)
    return folder


def wrong_starts(tmp_path: Path) -> dict[str, tuple[tuple[str, ...], str]]:
    """Mistakes of every kind: overrides and what is said."""
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"no checkpoint")
    unmatched = crops(tmp_path / "unmatched", query_identity=6)
    folder = ("DATASETS.NAMES", "ImageFolder", "DATASETS.FOLDER.CAMERA_REGEX", r"cam(\d)", "DATASETS.FOLDER.PATH")
    return {
        "name": (("METHOD.NAME", "x"), "no method named"),
        "dataset": (("DATASETS.NAMES", "Market1501"), "was not found"),
        "identities": ((*folder, str(unmatched)), "share no identity"),
        "start weights": (("MODEL.INIT_PATH", str(broken)), "broken.pth"),
        "backbone weights": (
            ("MODEL.BACKBONE.PRETRAIN", "True", "MODEL.BACKBONE.PRETRAIN_PATH", str(broken)),
            "broken.pth",
        ),
        "checkpoint": (("RESUME", str(broken)), "broken.pth"),
        "checkpoint to score": (("RESUME", str(broken), "TEST.EVAL_ONLY", "True"), "broken.pth"),
        "parts": (("METHOD.NAME", "CDSM"), "mean teacher"),
        "relations": (("TEST.OVERLAP_CONSTRAINT", "True", "PICKLE_PATH", str(tmp_path)), "TEST.CONSTRAINT_PATH"),
        "clusters": (("CLUSTER.NAME", "KMeans", "CLUSTER.NUM_CLUSTERS", "5000"), "CLUSTER.NUM_CLUSTERS 5000"),
        "round": (("TEST.SELECT", "round:7"), "round:7"),
        "plug-in": (("PLUGINS", str(tmp_path / "none.py")), "none.py"),
    }


@pytest.mark.parametrize("there", [False, True], ids=["new folder", "folder of an unfinished run"])
def test_a_start_that_fails_leaves_the_folder_byte_for_byte(
    small_config: MakeConfig, tmp_path: Path, there: bool
) -> None:
    output = tmp_path / "below" / "run"
    if there:
        output.mkdir(parents=True)
        for name in ("log.txt", "metrics.jsonl", "config.yaml", "environment.json", "rounds.csv", "mine.txt"):
            (output / name).write_text(f"of the run before: {name}")
    before = content(output)
    for kind, (overrides, sentence) in wrong_starts(tmp_path).items():
        with pytest.raises(UserError) as caught:
            run(small_config(*overrides, "OVERWRITE", "True", output="below/run"))
            pytest.fail(kind)
        assert sentence in str(caught.value), kind
        assert content(output) == before, kind
        assert output.parent.exists() == there, kind


@pytest.fixture(scope="module")
def finished(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that is over."""
    from tests.engine.conftest import CONFIGS, SHORT_RUN, SMALL_WORLD
    from unreid.config import load_config

    folder = tmp_path_factory.mktemp("finished") / "run"
    places = ["DATASETS.ROOT", str(world), "OUTPUT_DIR", str(folder)]
    run(load_config(CONFIGS / "ClusterContrast_synthetic.yml", [*SMALL_WORLD, *SHORT_RUN, *SHORTEST, *places]))
    return folder


@pytest.fixture
def copy_of_finished(finished: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_a_run_leaves_no_lock(finished: Path) -> None:
    assert not [path for path in finished.iterdir() if "lock" in path.name]


def test_a_finished_run_is_not_run_over(small_config: MakeConfig, copy_of_finished: Path) -> None:
    before = content(copy_of_finished)
    with pytest.raises(UserError, match=r"holds a finished run.*RESUME auto.*another OUTPUT_DIR.*OVERWRITE True"):
        run(small_config(*SHORTEST))
    (copy_of_finished / "results.json").unlink()
    with pytest.raises(UserError, match=r"holds an unfinished run \(checkpoint.pth\).*RESUME auto"):
        run(small_config(*SHORTEST))
    del before["results.json"]
    assert content(copy_of_finished) == before


def test_another_run_s_checkpoint_does_not_open_the_folder(
    small_config: MakeConfig, copy_of_finished: Path, finished: Path
) -> None:
    with pytest.raises(UserError, match="holds a finished run"):
        run(small_config(*SHORTEST, "RESUME", str(finished / "checkpoint.pth")))


@pytest.mark.parametrize("resume", ["auto", "path"])
def test_resume_goes_on_with_a_finished_run(small_config: MakeConfig, copy_of_finished: Path, resume: str) -> None:
    value = "auto" if resume == "auto" else str(copy_of_finished / "checkpoint.pth")
    results = run(small_config(*SHORTEST, "OPTIM.EPOCHS", "2", "RESUME", value))
    assert results["finished"] and results["last"]["epoch"] == 2
    rows = [json.loads(line) for line in (copy_of_finished / "metrics.jsonl").read_text().splitlines()]
    assert {row["step"] for row in rows} == {1, 2}


def test_overwrite_removes_that_run_and_nothing_else(small_config: MakeConfig, copy_of_finished: Path) -> None:
    own = ["checkpoint_007.pth", "model_best.pth", "rounds.png", "tensorboard/events.out.tfevents.1.x", "log.rank1.txt"]
    foreign = ["notes.txt", "checkpoint_mine.pth", "tensorboard/mine.txt", "best/checkpoint.pth", "evaluation.json"]
    for name in own + foreign:
        (copy_of_finished / name).parent.mkdir(exist_ok=True)
        (copy_of_finished / name).write_text(f"old: {name}")
    run(small_config(*SHORTEST, "OVERWRITE", "True", "SEED", "3"))
    for name in own:
        path = copy_of_finished / name
        assert not path.exists() or path.read_bytes() != f"old: {name}".encode(), name
    for name in foreign:
        assert (copy_of_finished / name).read_text() == f"old: {name}"
    assert json.loads((copy_of_finished / "results.json").read_text())["seed"] == 3
    assert "seed 1" not in (copy_of_finished / "log.txt").read_text()
    # The leave was given once: the recorded config does not give it again.
    assert "OVERWRITE: false" in (copy_of_finished / "config.yaml").read_text()


def test_what_a_run_without_a_checkpoint_left_is_no_obstacle(small_config: MakeConfig, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text('{"step": 1}\n')
    (folder / "log.txt").write_text("it was killed\n")
    run(small_config(*SHORTEST))
    assert "it was killed" in (folder / "log.txt").read_text()
    assert len((folder / "metrics.jsonl").read_text().splitlines()) > 1


def test_a_folder_in_use_is_refused_and_left_alone(small_config: MakeConfig, copy_of_finished: Path) -> None:
    with LockFile(copy_of_finished / ".lock", "it"):
        before = content(copy_of_finished)
        for overrides in ((), ("RESUME", "auto"), ("OVERWRITE", "True")):
            with pytest.raises(UserError, match=f"in use by process {os.getpid()}"):
                run(small_config(*SHORTEST, *overrides))
        assert content(copy_of_finished) == before


def test_an_evaluation_shares_the_folder_of_a_training(small_config: MakeConfig, copy_of_finished: Path) -> None:
    """Also of one that is going on; the files of the training stay byte for byte. Two evaluations do not share it."""
    evaluation = ("RESUME", "auto", "TEST.EVAL_ONLY", "True", "TEST.RANKED_LIST", "2")
    before = content(copy_of_finished)
    with LockFile(copy_of_finished / ".lock", "it"):
        run(small_config(*evaluation))
    after = content(copy_of_finished)
    new = {"evaluation.json", "eval_config.yaml", "eval_environment.json", "eval_log.txt", "eval_ranked_list.jpg"}
    assert set(after) - set(before) == new
    assert {name: after[name] for name in before} == before
    with LockFile(copy_of_finished / ".eval.lock", "it"), pytest.raises(UserError, match="evaluation .* in use"):
        run(small_config(*evaluation))


def test_a_run_that_lost_the_race_removes_what_it_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run takes the folder between the check and the start."""
    folder = RunFolder(tmp_path / "a" / "b")
    folder.check()
    monkeypatch.setattr(RunFolder, "check_free", lambda self: (_ for _ in ()).throw(UserError("overtaken")))
    with pytest.raises(UserError, match="overtaken"), folder.open():
        raise AssertionError("it was opened")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_written_while_auto_was_starting_is_not_run_over(
    small_config: MakeConfig, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = run_module.build_trainer

    def slow(*args: object, **kwargs: object) -> object:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "checkpoint.pth").write_bytes((finished / "checkpoint.pth").read_bytes())
        return original(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(run_module, "build_trainer", slow)
    with pytest.raises(UserError, match="while this one was starting"):
        run(small_config(*SHORTEST, "RESUME", "auto"))
    kept = torch.load(tmp_path / "run" / "checkpoint.pth", weights_only=True)
    assert kept["trainer"]["state"]["epoch"] == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(mode=0o555)
    with pytest.raises(UserError, match="read-only"):
        RunFolder(tmp_path / "there" / "run").check()


@pytest.mark.parametrize("name", ["log.txt", "eval_log.txt"])
def test_a_log_that_may_not_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / name).touch()
    folder = RunFolder(tmp_path, evaluation=name == "eval_log.txt")
    folder.check()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != name)
    with pytest.raises(UserError, match=f"{name} cannot be written: change its permissions"):
        folder.check()


@pytest.mark.parametrize("name", ["log.txt", "checkpoint.pth", "results.json", "rounds.csv"])
def test_a_folder_where_a_file_belongs_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=f"{name} is a folder"):
        RunFolder(tmp_path, overwrite=True).check()


def test_a_folder_that_cannot_be_made_after_all_is_named() -> None:
    with (
        pytest.raises(UserError, match="OUTPUT_DIR /proc/nowhere/run cannot be written"),
        RunFolder("/proc/nowhere/run").open(),
    ):
        raise AssertionError("it was opened")


@pytest.mark.parametrize("path", ["x" * 300, "a\0b", "link/run"])
def test_a_folder_that_cannot_be_is_named(tmp_path: Path, path: str) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(UserError, match="OUTPUT_DIR"):
        RunFolder(tmp_path / path).check()


def test_weights_that_cannot_be_had_are_named_before_data_are_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(place: str) -> None:
        raise OSError(f"no way to {place}")

    monkeypatch.setattr(pretrained, "_fetch", unreachable)
    config = Path(__file__).parents[2] / "configs" / "ClusterContrast_synthetic.yml"
    weights = ["MODEL.BACKBONE.NAME", "resnet50", "MODEL.BACKBONE.PRETRAIN", "True"]
    folders = ["DATASETS.ROOT", str(tmp_path / "data"), "OUTPUT_DIR", str(tmp_path / "out")]
    with pytest.raises(UserError, match="could not be downloaded"):
        run(load_config(config, [*weights, *folders]))
    assert not list(tmp_path.iterdir())
