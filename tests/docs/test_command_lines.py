"""Every command line in the documentation is one: its words parse, its config and its keys exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from unreid.config import load_config
from unreid.engine.cli import command_line

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("pickles/*.md")])
BLOCK = re.compile(r"^```(?:sh|bash|text)?\n(.*?)^```|^((?: {4}[^\n]*\n)+)", re.M | re.S)
SCRIPTS = {  # of a checkout, and the commands they are
    "tools/main.py": "train",
    "tools/demo.py": "demo",
    "tools/mine_constraints.py": "mine",
    "tools/render_dataset.py": "render",
    "tools/convert_checkpoint.py": "convert",
}
SETTING = re.compile(r"[A-Z][A-Z0-9_]*=\S*")


def command_lines(text: str) -> Iterator[list[str]]:
    """Words of the lines in code blocks that call this project, from the program on."""
    for block in BLOCK.finditer(text):
        for line in (block[1] or block[2] or "").replace("\\\n", " ").splitlines():
            words = _words(line)
            while words and SETTING.fullmatch(words[0]):
                del words[0]  # variables of the environment
            if words[:1] == ["torchrun"]:
                words = _without_torchrun(words)
            if words[:1] and Path(words[0]).name in ("unreid", "make", "python", "python3"):
                yield words


def _words(line: str) -> list[str]:
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # a quote in prose
        return []
    return [] if {"...", "…"} & set(words) or "[KEY" in line else words


def _without_torchrun(words: list[str]) -> list[str]:
    for place, word in enumerate(words):
        if word in SCRIPTS or word == "-m":
            return ["python", *words[place:]]
    return []


def checked(words: list[str]) -> bool:
    """Whether the line is one of ours; raises if it is and cannot run."""
    program = Path(words[0]).name
    if program == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        for target in words[1:]:
            assert SETTING.match(target) or target.startswith("-") or re.search(rf"^{target}:", makefile, re.M)
        return True
    if program.startswith("python"):
        if words[1:3] == ["-m", "unreid"]:
            words = ["unreid", *words[3:]]
        elif words[1:] and words[1] in SCRIPTS:
            words = ["unreid", SCRIPTS[words[1]], *[word for word in words[2:] if word != "--eval-only"]]
        else:
            return False
    if not words[1:] or words[1].startswith("-"):
        return False
    parser, choices = command_line()
    assert words[1] in choices, f"there is no command {words[1]}"
    arguments = parser.parse_args(words[1:])
    file = getattr(arguments, "config_file", None)
    plugins = any(word.startswith("PLUGINS") for word in words)  # files of the page: the tests of the page run those
    if file and not plugins and (ROOT / "configs" / Path(file).name).is_file():
        load_config(Path(file).name, list(getattr(arguments, "overrides", [])))
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_command_lines_can_run(page: Path) -> None:
    for words in command_lines(page.read_text(encoding="utf-8")):
        try:
            checked(words)
        except (SystemExit, Exception) as error:
            pytest.fail(f"{page.name}: {shlex.join(words)}: {error}")


def test_lines_are_found_and_wrong_ones_noticed() -> None:
    found = [words for page in PAGES for words in command_lines(page.read_text(encoding="utf-8")) if checked(words)]
    assert len(found) > 40
    for wrong in ("make nothing", "unreid trian", "python tools/main.py --config CDSM_market.yml --x 1"):
        with pytest.raises((SystemExit, AssertionError)):
            checked(shlex.split(wrong))
    with pytest.raises(Exception, match="EPOCS"):
        checked(shlex.split("unreid train --config-file CDSM_market.yml OPTIM.EPOCS 3"))
