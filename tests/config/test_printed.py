"""``unreid config`` prints a config that loads to the same tree, and says where every value came from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from unreid.config import get_cfg, load_config
from unreid.config.keys import KEYS
from unreid.config.node import leaves
from unreid.config.printed import commented
from unreid.config.table import table
from unreid.engine.cli import main

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.yml"))


def test_every_shipped_config_is_printed_as_one_that_loads_to_the_same_tree(tmp_path: Path) -> None:
    for path in CONFIGS:
        cfg = load_config(path)
        (tmp_path / "printed.yml").write_text(commented(cfg))
        assert load_config(tmp_path / "printed.yml") == cfg, path.name


@pytest.mark.parametrize(
    "value", ["off", "1e-3", "null", "# no comment", "a: b", "[1, 2]", "'", '"', "é中", "-", "x" * 300, "a  # b", " "]
)
def test_texts_that_yaml_would_read_otherwise_come_back(value: str, tmp_path: Path) -> None:
    cfg = get_cfg()
    cfg.DATASETS.ROOT = cfg.OUTPUT_DIR = value
    cfg.DATASETS.NAMES = [value or "Synthetic", "Market1501"] if value.strip() else ["Synthetic"]
    cfg.validate()
    (tmp_path / "printed.yml").write_text(commented(cfg))
    assert load_config(tmp_path / "printed.yml") == cfg


def test_each_key_has_its_meaning_and_each_setting_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "base.yml").write_text("CLUSTER:\n  EPS: 0.5\n")
    (tmp_path / "mine.yml").write_text("_BASE_: base.yml\nOPTIM: {LR: 0.01}\n")
    assert main(["config", str(tmp_path / "mine.yml"), "OPTIM.EPOCHS=3", "SEED", "7"]) == 0
    printed = capsys.readouterr().out
    lines = {line.split("  # ")[0].strip(): line for line in printed.splitlines()}
    assert lines["EPS: 0.5"].endswith(f"# DBSCAN radius ({tmp_path}/base.yml:2)")
    assert lines["LR: 0.01"].endswith(f"# base learning rate ({tmp_path}/mine.yml:2)")
    assert lines["EPOCHS: 3"].endswith("(command line)") and lines["SEED: 7"].endswith("(command line)")
    assert printed.count("(command line)") == 2
    assert [key for key, entry in KEYS.items() if entry.text not in printed and key in dict(leaves(get_cfg()))] == []


def test_without_a_file_the_defaults_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config"]) == 0
    assert capsys.readouterr().out == commented(get_cfg())
    assert main(["config", "--config-file", str(CONFIGS[0]), "SEED=9"]) == 0
    assert "SEED: 9 " in capsys.readouterr().out
    for words in (["SEED", "9"], ["SEED=9"]):
        assert main(["config", *words]) == 0
        assert capsys.readouterr().out == commented(load_config(None, ["SEED", "9"]))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["none.yml"], "no config file none.yml"),
        ([str(CONFIGS[0]), "OPTIM.LRR=1"], "did you mean OPTIM.LR?"),
        ([str(CONFIGS[0]), "SEED"], "come in pairs KEY VALUE"),
        ([str(CONFIGS[0]), "--repeat", "2"], "options come before the overrides"),
    ],
)
def test_a_mistake_is_one_sentence(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", *words]) == 2
    out, error = capsys.readouterr()
    assert out == "" and error.count("\n") == 1 and sentence in error


def test_torch_is_not_needed() -> None:
    script = (
        "import sys; from unreid.engine.cli import main; status = main(sys.argv[1:]);"
        "assert 'torch' not in sys.modules; sys.exit(status)"
    )
    subprocess.run(
        [sys.executable, "-c", script, "config", str(CONFIGS[0])], check=True, cwd=ROOT, stdout=subprocess.DEVNULL
    )


def test_the_table_of_the_docs_is_in_step() -> None:
    assert (ROOT / "docs" / "config.md").read_text() == table(), "run `make docs`"
