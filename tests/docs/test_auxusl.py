"""What docs/auxusl.md names exists: keys, values, files and options."""

from __future__ import annotations

import argparse
import re

import pytest

from tests.docs.blocks import DOCS, assert_key_exists, named_keys
from unreid import constraints
from unreid.config import load_config
from unreid.engine.commands import MINE

TEXT = (DOCS / "auxusl.md").read_text()
KEYS = named_keys(TEXT)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_exists(key: str) -> None:
    assert_key_exists(key)


def test_settings_are_valid() -> None:
    pairs = re.findall(r"`([A-Z][A-Z0-9_]*(?:\.[A-Z0-9_]+)+) ([\w.]+)`", TEXT)
    assert len(pairs) >= 6
    for key, value in pairs:
        load_config(None, [key, value])


def test_configs_options_and_functions_exist() -> None:
    names = set(re.findall(r"`?(?:configs/)?(AuxUSL_\w+\.yml)", TEXT))
    assert len(names) >= 5
    for name in names:
        load_config(DOCS.parent / "configs" / name)
    parser = argparse.ArgumentParser()
    MINE.add_arguments(parser)
    known = parser.format_help()
    for option in set(re.findall(r"(?<!-)--[a-z][a-z-]+", TEXT)):
        assert option in known, option
    for name in ("mine_overlaps", "learn_travel", "SpatioTemporalFactor"):
        assert name in constraints.__all__
