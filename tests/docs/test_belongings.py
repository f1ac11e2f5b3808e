"""What stands beside the code: citation, issue forms, workflow."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from unreid.engine.kinds import own_names

ROOT = Path(__file__).resolve().parents[2]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def test_every_method_has_its_paper() -> None:
    cited = {name for paper in CITATION["references"] for name in re.findall(r"METHOD\.NAME (\w+)", paper["notes"])}
    assert cited == set(own_names("method"))


@pytest.mark.parametrize("paper", CITATION["references"], ids=lambda paper: paper["title"][:20])
def test_a_reference_is_complete(paper: dict) -> None:
    assert {"type", "title", "authors", "year"} <= set(paper)
    assert paper["type"] in ("conference-paper", "article")
    assert ("conference" if paper["type"] == "conference-paper" else "journal") in paper
    assert all("name" in author or {"given-names", "family-names"} <= set(author) for author in paper["authors"])


@pytest.mark.parametrize(
    "form", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda form: form.stem
)
def test_an_issue_form_has_what_the_host_asks_for(form: Path) -> None:
    content = yaml.safe_load(form.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(content)
    fields = [field["id"] for field in content["body"]]
    assert len(set(fields)) == len(fields)
    assert all("label" in field["attributes"] for field in content["body"])


def test_the_workflow_runs_targets_of_the_makefile_on_the_supported_pythons() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8"))
    steps = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    targets = {word for step in steps for word in re.findall(r"^make ([\w-]+)", step)}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {"test", "site", "release-check"} <= targets and all(
        re.search(rf"^{target}:", makefile, re.M) for target in targets
    )
    pythons = workflow["jobs"]["suite"]["strategy"]["matrix"]["python"]
    assert f'requires-python = ">={pythons[0]}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
