"""Code blocks, commands and config keys of a documentation page."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from unreid.config import load_config

DOCS = Path(__file__).parents[2] / "docs"


def python_blocks(page: str) -> list[str]:
    """The ```python blocks of ``docs/<page>``, in order."""
    return re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)


def commands(page: str, program: str) -> list[list[str]]:
    """Arguments of the indented command lines of ``docs/<page>`` that start with ``program``."""
    text = (DOCS / page).read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.startswith(f"    {program} ")]
    return [shlex.split(line.removeprefix(program)) for line in lines]


def named_keys(text: str) -> list[str]:
    """Config keys in code, with or without a value behind them."""
    return sorted(set(re.findall(r"`([A-Z][A-Z0-9_]*(?:\.[A-Z0-9_]+)+)(?: [^`]*)?`", text)))


def assert_key_exists(key: str) -> None:
    node: Any = load_config()
    for part in key.split("."):
        assert hasattr(node, part), key
        node = getattr(node, part)
