"""Every YAML file that ships loads, alone and without old spellings."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import unreid
from unreid.config import load_config

CONFIGS = Path(unreid.__file__).parent.parent / "configs"
FILES = sorted(CONFIGS.rglob("*.yml"))


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(CONFIGS)) for path in FILES])
def test_it_loads(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="unreid.config"):
        load_config(path)
    assert caplog.messages == []
