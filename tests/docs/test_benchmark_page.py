"""The table of methods that ``benchmarks/methods.py`` writes into docs/benchmarks.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import costs
from benchmarks.methods import TABLES, Result, check_starts, markdown, replace_block, settings, write_docs
from tests.engine.conftest import CONFIGS
from unreid.config import load_config


def result(method: str, seed: int, score: float, weights: str = "w") -> Result:
    return Result(method, seed, 10.0, score, 2 * score, 60.0, 50.0, f"{weights}{seed}")


RUNS = [result("base", 1, 40.0), result("base", 2, 50.0), result("new", 1, 43.0), result("new", 2, 55.0)]


def test_differences_are_taken_in_pairs_of_one_seed() -> None:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in markdown(RUNS, ["base", "new"]).splitlines()]
    assert rows[2] == ["base", "10.0 ± 0.0", "45.0 ± 7.1", "90.0 ± 14.1", "", "60", "50"]
    assert rows[3] == ["new", "10.0 ± 0.0", "49.0 ± 8.5", "98.0 ± 17.0", "+4.0 ± 1.4", "60", "50"]


def test_one_seed_has_no_deviation() -> None:
    assert "| 43.0 | 86.0 | +3.0 |" in markdown(RUNS[::2], ["base", "new"])


def test_different_starts_are_no_comparison() -> None:
    check_starts(RUNS)
    with pytest.raises(SystemExit, match="seed 2: base and new did not start from the same weights"):
        check_starts([*RUNS[:3], result("new", 2, 55.0, weights="other")])


def test_the_block_between_the_markers_is_replaced_and_nothing_else() -> None:
    page = "before\n<!-- methods:begin -->\nold\n<!-- methods:end -->\nafter\n"
    assert replace_block(page, "methods", "new") == page.replace("old", "new")
    added = replace_block("page\n", "methods", "new")
    assert added == "page\n\n<!-- methods:begin -->\nnew\n<!-- methods:end -->\n"


def test_a_missing_page_is_made_with_its_machine(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    write_docs(page, "methods", markdown(RUNS, ["base", "new"]), [1, 2], "command")
    text = page.read_text()
    assert text.startswith("# Benchmarks") and "Machine: " in text and "seeds 1, 2: command" in text


@pytest.mark.parametrize(("table", "name"), [(table, name) for table, rows in TABLES.items() for name in rows])
def test_every_row_is_a_valid_config(table: str, name: str) -> None:
    entry = TABLES[table][name]
    cfg = load_config(CONFIGS / f"{entry.config}_synthetic.yml", settings(entry, 3, ["OPTIM.EPOCHS", "2"]))
    assert (cfg.SEED, cfg.OPTIM.EPOCHS, cfg.TEST.EVAL_PERIOD) == (3, 2, 0)


@pytest.mark.parametrize("name", costs.ROWS)
def test_every_row_of_costs_is_a_valid_config(name: str) -> None:
    entry = costs.ROWS[name]
    load_config(CONFIGS / f"{entry.config}_synthetic.yml", [*costs.SHORT, *entry.overrides])


def test_costs_are_given_as_multiples_of_the_baseline() -> None:
    rows = {"ClusterContrast": {"label_ms": 50.0, "step_ms": 20.0}, "new": {"label_ms": 75.0, "step_ms": 25.0}}
    assert "| new | 75 | 1.5 | 25.0 | 1.25 |" in costs.markdown(rows)
