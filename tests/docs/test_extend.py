"""Every recipe of docs/extend.md is run as a user would: pasted into a file and named in PLUGINS."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.docs.blocks import DOCS, assert_key_exists, python_blocks
from tests.docs.test_compose import REGISTRIES as OTHERS
from tests.engine.stored import load_run
from tests.engine.test_runs import assert_same_weights, stop_at
from tests.methods.conftest import MakeConfig
from unreid.engine.cli import main
from unreid.engine.kinds import KINDS
from unreid.engine.run import run
from unreid.neighbors import knn
from unreid.utils.plugins import import_plugins

PAGE = "extend.md"
PARTS = {
    "moved_labels": ("HOOKS", "['moved_labels']"),
    "rmsprop": ("OPTIM.OPT", "rmsprop"),
    "polynomial": ("OPTIM.SCHED", "polynomial"),
    "grey": ("INPUT.TRANSFORM", "grey"),
    "largest_first": ("DATALOADER.SAMPLER.NAME", "largest_first"),
    "lp3": ("MODEL.POOLING.NAME", "lp3"),
    "two_layers": ("MODEL.BACKBONE.NAME", "two_layers"),
    "margin_pairs": ("METHOD.LOSSES", "['margin_pairs=0.1']"),
    "loss_table": ("LOG.WRITERS", "['loss_table']"),
}


@pytest.fixture(autouse=True)
def _leave_no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an example registers is gone after the test."""
    for registry in {
        id(registry): registry for registry in (*OTHERS, *(kind.load() for kind in KINDS.values()))
    }.values():
        for table in ("_table", "_names", "_aliases"):
            monkeypatch.setattr(registry, table, dict(getattr(registry, table)))


def pasted(folder: Path, *names: str) -> list[str]:
    """Files with the recipes of those names."""
    files = []
    for name in names:
        (block,) = [
            block for block in python_blocks(PAGE) if f'register("{name}")' in block or f'_backbone("{name}")' in block
        ]
        files.append(folder / f"{name}.py")
        files[-1].write_text(block)
    return [str(file) for file in files]


def test_the_recipes_train_together_and_resume(
    tmp_path: Path, tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = pasted(tmp_path, *PARTS)
    settings = [word for setting in PARTS.values() for word in setting]

    def make(*overrides: Any, output: str) -> Any:
        return tiny_config("PLUGINS", str(files), *settings, "OPTIM.EPOCHS", "2", *overrides, output=output)

    whole = make(output="whole")
    assert run(whole)["finished"]
    rows = [json.loads(line) for line in (Path(whole.OUTPUT_DIR) / "metrics.jsonl").read_text().splitlines()]
    assert any("cluster/moved" in row for row in rows)
    assert all(row["loss/margin_pairs"] >= 0 for row in rows if "loss/margin_pairs" in row)
    table = (Path(whole.OUTPUT_DIR) / "losses.csv").read_text().splitlines()
    assert any(line.split(",")[1] == "loss/margin_pairs" for line in table)
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        assert not run(make(output="cut"))["finished"]
    checkpoint = Path(make(output="cut").OUTPUT_DIR) / "checkpoint.pth"
    assert run(make("RESUME", str(checkpoint), output="cut"))["finished"]
    states = [load_run(Path(make(output=name).OUTPUT_DIR) / "checkpoint.pth") for name in ("whole", "cut")]
    assert_same_weights(states[0]["model"], states[1]["model"])
    assert states[0]["hooks"]["MovedLabels"] == states[1]["hooks"]["MovedLabels"]


def test_the_dataset_of_the_page_is_trained_on(tmp_path: Path, tiny_config: MakeConfig, world: Path) -> None:
    (folder,) = [path for path in world.glob("synthetic-*") if (path / "bounding_box_train").is_dir()][:1]
    for split, source in {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}.items():
        target = tmp_path / "Corridor" / split
        target.mkdir(parents=True)
        for number, path in enumerate(sorted((folder / source).glob("[0-9]*.jpg"))):
            identity, camera = path.name[:4], path.name[6]
            shutil.copy(path, target / f"{identity}_{camera}_{number}.jpg")
    cfg = tiny_config(
        *("PLUGINS", str(pasted(tmp_path, "Corridor")), "DATASETS.NAMES", "['Corridor']"),
        *("DATASETS.ROOT", str(tmp_path), "OPTIM.EPOCHS", "1"),
    )
    assert run(cfg)["finished"]


def test_the_metric_and_the_search_of_the_page_make_a_run(tmp_path: Path, tiny_config: MakeConfig) -> None:
    files = str(pasted(tmp_path, "correlation", "kd_tree"))
    metric = tiny_config("PLUGINS", files, "CLUSTER.METRIC", "correlation", "CLUSTER.EPS", "0.02", output="metric")
    assert run(metric)["finished"]
    import_plugins(pasted(tmp_path, "kd_tree"))
    features = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    for queries in (None, torch.tensor([3, 7])):
        for one, other in zip(knn(features, 6, backend="kd_tree", queries=queries), knn(features, 6, queries=queries)):
            assert torch.equal(one, other)


def test_no_recipe_is_left_out() -> None:
    assert len(python_blocks(PAGE)) == len(PARTS) + 3  # metric, neighbour search, dataset


def test_every_kind_of_part_has_a_recipe() -> None:
    """By its registry or decorator: on this page, or on the one about compositions."""
    text = "".join(python_blocks(PAGE) + python_blocks("compose.md"))
    for kind, entry in KINDS.items():
        registry = entry.home.partition(":")[2]
        decorator = {"backbone": "@register_backbone(", "memory update rule": "@update_rule("}.get(kind)
        if kind != "diversity memory mode":  # parts of one memory, not of a run
            assert (decorator or f"@{registry}.register(") in text, kind


def test_the_list_shows_the_part_of_a_plug_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file,) = pasted(tmp_path, "polynomial")
    assert main(["list", "schedules", "--plugins", file]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^polynomial +From the rate down to zero", said, re.MULTILINE) and "cosine" in said


def test_the_keys_of_the_table_exist() -> None:
    for line in (DOCS / PAGE).read_text().splitlines():
        if line.startswith("| [") and line.count("|") == 4:
            for key in re.findall(r"`([A-Z.]+)`", line.split("|")[3]):
                assert_key_exists(key)


def test_grey_is_grey(tmp_path: Path) -> None:
    from unreid.config import load_config
    from unreid.data.build import build_train_transform

    import_plugins(pasted(tmp_path, "grey"))
    transform = build_train_transform(
        load_config(None, ["INPUT.TRANSFORM", "grey", "INPUT.PIXEL_MEAN", "[0, 0, 0]", "INPUT.PIXEL_STD", "[1, 1, 1]"])
    )
    params = transform.recipe.draw(2, 0, 0, 0, 0)
    out = transform.apply_batch(torch.randint(0, 255, (2, 3, 256, 128), dtype=torch.uint8), params)
    assert torch.equal(out[:, 0], out[:, 1]) and torch.equal(out[:, 1], out[:, 2])
