"""``CLUSTER.REVIEW`` in a whole training: the pseudo labels that a run ends with obey every answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.methods.conftest import MakeConfig
from unreid.constraints import load_pseudo_labels
from unreid.constraints.review_file import COLUMNS
from unreid.engine.data import build_data
from unreid.engine.run import run
from unreid.utils.errors import UserError


def write_answers(path: Path, rows: list[tuple[str, str, str, str]]) -> None:
    path.write_text("".join(f"{','.join(row)}\n" for row in (COLUMNS, *rows)))


@pytest.mark.parametrize("name", ["ClusterContrast", "SpCL", "CCC_KMeans"])
def test_answers_hold_in_the_labels_of_a_run(name: str, tiny_config: MakeConfig, tmp_path: Path) -> None:
    table = tmp_path / "answers.csv"
    cfg = tiny_config("CLUSTER.REVIEW", [str(table)], file=f"{name}_synthetic.yml")
    data = build_data(cfg)
    keys = data.keys
    same = [(0, len(keys) - 1, "clusters"), (1, len(keys) - 2, "crops")]
    apart = [(0, 2, "clusters"), (3, 4, "crops"), (1, 5, "crops")]
    rows = [(keys[a], keys[b], "same", kind) for a, b, kind in same]
    rows += [(keys[a], keys[b], "different", kind) for a, b, kind in apart]
    write_answers(table, [*rows, (keys[6], "", "noise", "crops")])
    run(cfg)
    labels, _ = load_pseudo_labels(Path(cfg.OUTPUT_DIR) / "pseudo_labels.npz", keys)
    for a, b, _ in same:
        assert labels[a] == labels[b] >= 0
    for a, b, _ in apart:
        assert labels[a] != labels[b] or labels[a] == -1
    assert labels[6] == -1


def test_answers_about_other_crops_stop_before_the_first_round(tiny_config: MakeConfig, tmp_path: Path) -> None:
    table = tmp_path / "answers.csv"
    write_answers(table, [("x.jpg", "y.jpg", "same", "crops")])
    with pytest.raises(UserError, match="knows none of the .* training samples .* another data set"):
        run(tiny_config("CLUSTER.REVIEW", [str(table)]))
