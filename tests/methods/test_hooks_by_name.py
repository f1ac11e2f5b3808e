"""Hooks by name and as objects, and parts of installed packages."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.methods.conftest import MakeConfig
from unreid.config import load_config
from unreid.engine import build
from unreid.engine.cli import main
from unreid.engine.hooks import HOOKS, Hook
from unreid.engine.names import check_names
from unreid.engine.optim import SCHEDULES
from unreid.engine.run import train
from unreid.utils.errors import UserError
from unreid.utils.plugins import import_installed


def test_further_hooks_come_between_the_scores_and_the_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    for table in ("_table", "_names", "_aliases"):
        monkeypatch.setattr(HOOKS, table, dict(getattr(HOOKS, table)))
    HOOKS.register("mine")(type("Mine", (Hook,), {}))
    names = build.hook_names(load_config(None, ["HOOKS", "['mine', 'Checkpoint', 'RankCheck', 'MINE']"]))
    place = names.index("MINE")  # two spellings are one hook
    assert names[place - 1 : place + 4] == ["History", "MINE", "RankCheck", None, "Scalars"]
    assert names.count("Checkpoint") == 1 and "mine" not in names


def test_a_hook_object_is_called_and_ends_up_before_the_checkpoint(tiny_config: MakeConfig) -> None:
    class Last(Hook):
        calls: list[str] = []

        def after_epoch(self) -> None:
            self.calls.append("epoch")

        def after_results(self) -> None:
            results = Path(cfg.OUTPUT_DIR) / "results.json"
            self.calls.append("results" if results.is_file() else "nothing is written yet")

    cfg = tiny_config("OPTIM.EPOCHS", "2")
    assert train(cfg, hooks=[Last()])["finished"]
    assert Last.calls == ["epoch", "epoch", "results"]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the Python path that looks like an environment with two packages of plug-ins."""
    for package, code in {
        "good": "from unreid.engine.optim import SCHEDULES\n\n\n@SCHEDULES.register('flat')\n"
        "def flat(epoch, schedule):\n    '''The rate.'''\n    return schedule.lr\n",
        "bad": "raise RuntimeError('made for another version')\n",
    }.items():
        (tmp_path / f"unreid_{package}_parts.py").write_text(code)
        info = tmp_path / f"{package}_parts-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}-parts\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[unreid.plugins]\n{package} = unreid_{package}_parts\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for table in ("_table", "_names", "_aliases"):
        monkeypatch.setattr(SCHEDULES, table, dict(getattr(SCHEDULES, table)))
    import_installed.cache_clear()
    yield tmp_path
    import_installed.cache_clear()


def test_installed_plug_ins_are_found_and_a_broken_one_is_named(
    installed: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.WARNING, "unreid"):
        check_names(load_config(None, ["OPTIM.SCHED", "flat"]))
    (warning,) = [record.getMessage() for record in caplog.records if "plug-in" in record.getMessage()]
    assert "bad-parts" in warning and "made for another version" in warning
    with pytest.raises(UserError, match="Did you mean 'flat'"):
        check_names(load_config(None, ["OPTIM.SCHED", "flt"]))
    assert main(["list", "schedules"]) == 0
    assert "flat       The rate." in capsys.readouterr().out


def test_own_names_ask_no_installed_package(installed: Path) -> None:
    check_names(load_config(None, []))
    assert import_installed.cache_info().currsize == 0
