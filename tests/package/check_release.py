"""What a release needs beyond the tests: ``make release-check`` runs it, the suite does not."""

from __future__ import annotations

import datetime
import re
import subprocess
import sys
from pathlib import Path

import yaml

import unreid

ROOT = Path(__file__).resolve().parents[2]
HEADING = re.compile(
    r"^## \[(?P<version>[^\]]+)\](?: - (?P<date>\d{4}-\d\d-\d\d))?\n(?P<text>.*?)(?=^## |\Z)", re.M | re.S
)


def test_the_newest_section_of_the_changelog_is_this_version() -> None:
    sections = list(HEADING.finditer((ROOT / "CHANGELOG.md").read_text(encoding="utf-8")))
    unreleased = [section for section in sections if section["version"] == "Unreleased"]
    assert not any(section["text"].strip() for section in unreleased), "changes that no version has yet"
    newest = next(section for section in sections if section["version"] != "Unreleased")
    assert newest["version"] == unreid.__version__
    assert datetime.date.fromisoformat(newest["date"]) <= datetime.date.today()


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == unreid.__version__


def test_the_work_tree_is_committed() -> None:
    status = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert status.stdout == ""


def test_the_archives_and_their_description_are_accepted(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "uv", "build", "--quiet", "--out-dir", tmp_path, ROOT], check=True)
    archives = sorted(path for path in tmp_path.iterdir() if path.suffix in (".whl", ".gz"))
    assert len(archives) == 2
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *archives], check=True)
