"""The commands of the tutorials run one after the other as the pages have them; what is appended makes them short."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.docs.blocks import DOCS, python_blocks
from tests.docs.test_command_lines import SCRIPTS, command_lines
from tests.docs.test_migrating_runs import torchreid
from unreid.engine.cli import main
from unreid.rendering.layouts import render_layout

WORLD = [
    *("DATASETS.SYNTHETIC.TRAIN_IDS", "6", "DATASETS.SYNTHETIC.TEST_IDS", "6", "DATASETS.SYNTHETIC.DISTRACTORS", "0"),
    *("DATASETS.SYNTHETIC.CAMERAS", "3", "DATASETS.SYNTHETIC.HEIGHT", "64", "DATASETS.SYNTHETIC.WIDTH", "32"),
]
SHORT = [
    *("OPTIM.EPOCHS", "1", "DATALOADER.ITERS", "1", "DATALOADER.TRAIN_BATCH_SIZE", "16", "WARMUP.EPOCHS", "0"),
    *("CLUSTER.K1", "8", "CLUSTER.K2", "2", "LOG.CLUSTER_IMAGES", "0", "LOG.TENSORBOARD", "False"),
]


def lines(page: str) -> list[list[str]]:
    """Words of the page's commands of this project, as ``unreid`` takes them, in order."""
    found = []
    for words in command_lines((DOCS / page).read_text(encoding="utf-8")):
        if words[0] == "make":
            words = ["unreid", words[1]]
        elif words[0].startswith("python"):
            words = ["unreid", SCRIPTS[words[1]], *words[2:]] if words[1] in SCRIPTS else []
        found += [words[1:]] if words else []
    return found


def run(words: list[str], *more: str) -> None:
    assert main([*words, *more]) == 0, words


@pytest.mark.slow
def test_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    commands = [words for words in lines("demo.md") if words[0] != "config"]
    assert [words[0] for words in commands] == ["demo", "demo", "train", "train"]
    for words in commands:
        run(words, *SHORT, *WORLD)
    run(["report", "logs/demo"])
    assert Path("logs/demo/ranked_list.jpg").is_file() and list(Path("logs/demo").glob("*.html"))
    assert len(list(Path("logs").glob("CDSM_synthetic/seed_*"))) == 3


def test_the_networks_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(render_layout("market1501", "w", ids=8, cameras=2, images=4, size=(64, 32)) / "query", "crops")
    commands = [words for words in lines("weights.md") if words[0] != "weights"]
    assert [words[0] for words in commands] == ["list", "demo", "eval", "train", "report", "extract", "cluster"]
    for words in commands:
        small = {"train": [*SHORT, *WORLD], "eval": WORLD, "demo": WORLD, "cluster": few_neighbours()}
        run(words, *small.get(words[0], []))
    assert Path("logs/demo_pretrained/eval_ranked_list.jpg").is_file() and Path("identities.csv").is_file()


def few_neighbours() -> list[str]:
    return ["--set", "CLUSTER.MIN_SAMPLES", "2", "--set", "CLUSTER.K1", "4", "--set", "CLUSTER.K2", "1"]


def test_the_python_block_of_the_networks() -> None:
    (block,) = python_blocks("weights.md")
    names: dict = {}
    exec(compile(block, "weights.md", "exec"), names)
    assert names["features"].shape == (4, 512)
    assert np.allclose(names["features"].norm(dim=1).cpu(), 1, atol=1e-5)


@pytest.mark.slow
def test_from_a_public_model_to_ones_own_cameras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sections 2 and 3: the file of an OSNet in torchreid's layout, scored as it is and trained on from."""
    monkeypatch.chdir(tmp_path)
    content = torchreid("osnet_x0_25")
    torch.save(content, "osnet_x0_25_msmt17.pth")
    market = render_layout("market1501", ".", ids=6, cameras=2, images=4, size=(64, 32))
    Path("crops").mkdir()
    for path in (market / "bounding_box_train").iterdir():  # 0001_c1s1_... as the page's expression has cameras
        shutil.copy(path, Path("crops", re.sub(r"_c(\d)s\d_", r"_c\1_", path.name)))
    text = (DOCS / "transfer.md").read_text(encoding="utf-8")
    (config,) = re.findall(r"^```yaml\n# (mine\.yml\n.*?)^```", text, re.M | re.S)
    Path("mine.yml").write_text(config.partition("\n")[2].replace("/data/crops", "crops"), encoding="utf-8")
    score, train = (words for words in lines("transfer.md") if "SpCL_UDA" not in " ".join(words))
    size = ["INPUT.SIZE_TEST", "[64, 32]"]
    run(score, *size, "DATASETS.ROOT", ".")
    assert Path("logs/zero_shot/evaluation.json").is_file()
    few = ["CLUSTER.K1", "4", "CLUSTER.MIN_SAMPLES", "2", "INPUT.PADDING", "4", "MODEL.BN_CHUNKS", "1"]
    run(train, *size, "INPUT.SIZE_TRAIN", "[64, 32]", *SHORT, *few, "DATALOADER.NUM_WORKERS", "0")
    assert Path("logs/mine/checkpoint.pth").is_file()
