"""The networks that come with the package: found by name, what their cards say, and what they score."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import unreid
from benchmarks.weights import HISTOGRAM, RECIPES, SMALL, SMALL_TITLE
from unreid.config import load_config
from unreid.engine.cli import main
from unreid.engine.run import evaluate, run, train
from unreid.models.weight_files import read_file
from unreid.utils.errors import UserError
from unreid.utils.shipped_weights import CARD, FOLDER, locate_weights, shipped_names, summary

NAMES = shipped_names()
on_each = pytest.mark.parametrize("name", NAMES)


def card(name: str) -> tuple[dict, str]:
    text = (FOLDER / f"{name}{CARD}").read_text(encoding="utf-8")
    head, body = text.removeprefix("---\n").split("\n---\n", 1)
    return yaml.safe_load(head), body


def test_every_recipe_has_its_file_and_its_card() -> None:
    assert set(NAMES) == set(RECIPES)
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}{end}" for name in NAMES for end in (".pth", ".md")}


@on_each
def test_the_file_is_the_one_of_its_card(name: str) -> None:
    facts, body = card(name)
    content = locate_weights(name).read_bytes()
    assert (facts["bytes"], facts["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert len(content) < 1_500_000 and facts["license"] == "Apache-2.0"
    stored = read_file(name)
    assert facts["config"] == f"{RECIPES[name]}.yml" and facts["seed"] == load_config(None).SEED == 1
    assert not re.search(r"[:\s'\"]/\w", stored["config"]), "a path of the machine it was made on"
    assert summary(name) in body and HISTOGRAM in body and "Limits" in body


@on_each
def test_it_scores_what_its_card_says(name: str, tmp_path: Path, worlds: Path) -> None:
    row = next(line for line in card(name)[1].splitlines() if line.startswith(f"| {SMALL_TITLE}"))
    said = [float(number) for number in row.rstrip("| ").rpartition("|")[2].split("/")]
    settings = ["TEST.EVAL_ONLY", True, "RESUME", name, "OUTPUT_DIR", str(tmp_path), "DATASETS.ROOT", str(worlds)]
    scores = evaluate(load_config(f"{RECIPES[name]}.yml", [*settings, *SMALL]))["Synthetic"]
    assert [scores["mAP"], scores["R1"]] == pytest.approx(said, abs=1.0)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("worlds")


def test_a_bare_name_is_found_from_anywhere_and_a_file_of_that_name_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    crops = np.random.default_rng(0).integers(0, 255, (2, 128, 64, 3), dtype=np.uint8)
    features = unreid.FeatureExtractor.from_checkpoint("rendered_o2cap", device="cpu")(crops)
    assert features.shape == (2, 512)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(2))
    Path("rendered_o2cap").write_bytes(b"something else")
    with pytest.raises(UserError, match="rendered_o2cap"):
        unreid.FeatureExtractor.from_checkpoint("rendered_o2cap")
    assert locate_weights("./rendered_o2cap") == Path("rendered_o2cap")
    assert locate_weights("elsewhere/rendered_cluster_contrast").exists() is False


@pytest.mark.parametrize("key", ["MODEL.INIT_PATH", "RESUME"])
def test_a_wrong_name_is_answered_with_the_right_ones(key: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{key}.*rendered_o2cpa.*{', '.join(NAMES)}"):
        run(load_config("ClusterContrast_synthetic.yml", [key, "rendered_o2cpa", "OUTPUT_DIR", str(tmp_path)]))


def test_training_cannot_go_on_from_it_and_says_how_to_start_from_it(tmp_path: Path, tiny: list) -> None:
    with pytest.raises(UserError, match="MODEL.INIT_PATH rendered_o2cap"):
        words = [*tiny, "RESUME", "rendered_o2cap", "OUTPUT_DIR", str(tmp_path)]
        train(load_config("ClusterContrast_synthetic.yml", words))


@pytest.fixture
def tiny(worlds: Path) -> list:
    return [
        *(*SMALL, "DATASETS.SYNTHETIC.TRAIN_IDS", 6, "DATASETS.SYNTHETIC.TEST_IDS", 6, "DATASETS.ROOT", str(worlds)),
        *("OPTIM.EPOCHS", 1, "DATALOADER.ITERS", 2, "DATALOADER.TRAIN_BATCH_SIZE", 16, "LOG.TENSORBOARD", False),
        *("CLUSTER.K1", 8, "CLUSTER.K2", 2, "MODEL.RECALIBRATE_BN", 0),
    ]


def test_a_training_starts_from_it(tmp_path: Path, tiny: list) -> None:
    """On another world: the scores before the first step are those of the network."""
    other = [*tiny, "DATASETS.SYNTHETIC.SEED", 1]
    words = [*other, "MODEL.INIT_PATH", "rendered_o2cap", "OUTPUT_DIR", str(tmp_path / "run")]
    results = train(load_config("transfer_synthetic.yml", words))
    words = [*other, "TEST.EVAL_ONLY", True, "RESUME", "rendered_o2cap", "OUTPUT_DIR", str(tmp_path / "eval")]
    as_it_is = evaluate(load_config("transfer_synthetic.yml", words))
    assert results["finished"] and results["initial"]["Synthetic"]["mAP"] > 30
    assert results["initial"]["Synthetic"]["mAP"] == pytest.approx(as_it_is["Synthetic"]["mAP"], abs=0.01)


def test_the_demo_shows_it_without_training(
    tmp_path: Path, worlds: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--pretrained", *SMALL, "DATASETS.ROOT", str(worlds)]) == 0
    said = capsys.readouterr().out
    assert "rendered_o2cap, not trained here" in said and "striped colour histogram" in said and "Its card" in said
    assert Path("logs/demo_pretrained/eval_ranked_list.jpg").is_file()
    assert main(["list", "weights"]) == 0
    listed = capsys.readouterr().out
    assert all(f"{name} " in listed for name in NAMES)
