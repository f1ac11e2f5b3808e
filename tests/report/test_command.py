"""``unreid report`` on runs as a user makes them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.engine.conftest import CONFIGS, SHORT_RUN, SMALL_WORLD
from tests.report.test_page import SECTIONS, Reader
from unreid.config import load_config
from unreid.engine.cli import main
from unreid.engine.run import run
from unreid.rendering.layouts import render_layout


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the rendered world."""
    place = tmp_path_factory.mktemp("labelled")
    words = [*SMALL_WORLD, *SHORT_RUN, "DATASETS.ROOT", str(place), "OUTPUT_DIR", str(place / "run")]
    run(load_config(str(CONFIGS / "ClusterContrast_synthetic.yml"), words))
    return place / "run"


def parts(text: str) -> dict[str, str]:
    """Section -> its HTML."""
    return {name: text[text.index(f'<section id="{name}"') :].partition("</section>")[0] for name in SECTIONS}


def test_a_run_becomes_one_page_with_all_its_parts(labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(labelled), "--device", "cpu"]) == 0
    assert str(labelled / "report.html") in capsys.readouterr().out
    text = (labelled / "report.html").read_text(encoding="utf-8")
    read, found = Reader(text), parts(text)
    assert read.wrong == [] and read.open == []
    assert "This run, in percent" in found["scores"] and "label-free score" in found["history"]
    assert "CLUSTER.EPS 0.7" in found["sweep"] and "pair precision" in found["sweep"]
    assert "worst first" in found["ranked"] and "cluster" in found["clusters"]
    assert found["activation"].count("<img") == 24 and "R1 by pair of cameras" in found["cameras"]
    assert "Set on the command line" in found["config"] and "base/synthetic.yml" in found["config"]
    scores = json.loads((labelled / "results.json").read_text())["last"]["Synthetic"]
    assert f"{scores['mAP']:.1f}" in found["scores"]


def test_fewer_images_are_a_sample_and_the_page_says_so(labelled: Path, tmp_path: Path) -> None:
    assert main(["report", "--images", "8", "-o", str(tmp_path / "few.html"), str(labelled)]) == 0
    found = parts((tmp_path / "few.html").read_text(encoding="utf-8"))
    assert (
        re.search(r"These are \d+ of \d+ training samples", found["clusters"])
        and "The gallery is a sample of" in found["ranked"]
    )


def test_without_its_images_a_run_still_has_its_scores_and_curves(labelled: Path, tmp_path: Path) -> None:
    moved = tmp_path / "nowhere"
    cfg = load_config(labelled / "config.yaml", ["DATASETS.NAMES", "Market1501", "DATASETS.ROOT", str(moved)])
    shutil.copytree(labelled, tmp_path / "run")
    (tmp_path / "run" / "config.yaml").write_text(cfg.dump())
    assert main(["report", str(tmp_path / "run")]) == 0
    found = parts((tmp_path / "run" / "report.html").read_text(encoding="utf-8"))
    assert "Market1501 was not found" in found["ranked"] and "DATASETS.ROOT folder" in found["map"]
    assert "This run, in percent" in found["scores"]
    assert main(["report", str(labelled), "SEED", "3", "--files-only", "-o", str(tmp_path / "files.html")]) == 0
    assert "data:image" not in (tmp_path / "files.html").read_text()


def test_a_folder_of_crops_without_labels_and_cameras(tmp_path: Path) -> None:
    crops = render_layout("market1501", tmp_path / "rendered", ids=6, cameras=2, images=3, size=(64, 32))
    train = tmp_path / "crops" / "train"
    shutil.copytree(crops / "bounding_box_train", train)
    first = next(iter(sorted(train.glob("*.jpg"))))
    first.rename(train / "<script>alert(1).jpg")
    words = [*SHORT_RUN, "DATASETS.NAMES", "ImageFolder", "DATASETS.FOLDER.PATH", str(tmp_path / "crops")]
    words += ["OUTPUT_DIR", str(tmp_path / "run"), "TEST.RANKED_LIST", "2"]
    run(load_config(str(CONFIGS / "ClusterContrast_synthetic.yml"), words))
    assert (tmp_path / "run" / "ranked_list.jpg").is_file()
    assert main(["report", str(tmp_path / "run")]) == 0
    text = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    read, found = Reader(text), parts(text)
    assert read.wrong == [] and [name for name, _ in read.found].count("script") == 2
    assert "Nothing was evaluated" in found["scores"] and "no AP" in found["ranked"]
    assert "no camera labels" in found["cameras"] and "purity" not in found["clusters"]


def test_what_cannot_be_done_is_one_sentence(labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, part in (
        (["nowhere"], "There is no folder nowhere"),
        ([str(labelled), "DATASETS.ROOTS", "x"], "did you mean DATASETS.ROOT"),
        (["--images", "-1", str(labelled)], "--images takes a number"),
        (["-o", str(labelled), str(labelled)], "is a folder"),
    ):
        assert main(["report", *words]) == 2
        said = capsys.readouterr().err.strip()
        assert part in said and len(said.splitlines()) == 1, said
