"""What docs/methods.md names exists: keys, values, files; and its flags of 3C are all there."""

from __future__ import annotations

import re

import pytest

from tests.docs.blocks import DOCS, assert_key_exists, named_keys
from unreid.clustering import CLUSTERERS
from unreid.config import load_config
from unreid.data.samplers import SAMPLERS
from unreid.memory import DIVERSITY_MODES, UPDATE_RULES
from unreid.methods import METHODS

TEXT = (DOCS / "methods.md").read_text()
KEYS = named_keys(TEXT)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_exists(key: str) -> None:
    assert_key_exists(key)


def test_settings_in_one_piece_are_valid() -> None:
    """`KEY VALUE` in code can be pasted; METHOD.CCC.CIE and the like stand alone."""
    pairs = re.findall(r"`([A-Z][A-Z0-9_]*(?:\.[A-Z0-9_]+)+) ([^`]+)`", TEXT)
    assert len(pairs) >= 10
    for key, value in pairs:
        load_config(None, [key, value])


def test_methods_rules_and_samplers_exist() -> None:
    for name in re.findall(r"`METHOD\.NAME (\w+)`", TEXT):
        assert name in METHODS
    for name in ("all", "hard", "tccl", "chd", "camera", "hard_camera", "cm", "cm_hard", "tccl_camera", "hd_camera"):
        assert name in UPDATE_RULES
    for name in ("v5", "v4", "v3", "v2", "cm", "cm_hard", "cm_hybrid"):
        assert name in DIVERSITY_MODES
    assert "no_camera" in SAMPLERS
    assert all(name in CLUSTERERS for name in ("HDC", "DBSCAN", "KMeans", "AgreementDBSCAN"))


def test_configs_and_pages_exist() -> None:
    for pattern in re.findall(r"`configs/([^`]+)`", TEXT):
        for glob in expanded(pattern):
            assert list((DOCS.parent / "configs").glob(glob)), glob
    for page in re.findall(r"\]\((\w+\.md)", TEXT):
        assert (DOCS / page).is_file(), page


def expanded(pattern: str) -> list[str]:
    """``a_{b,c}_*`` -> ``a_b_*``, ``a_c_*``."""
    found = re.search(r"\{([^}]*)\}", pattern)
    if found is None:
        return [pattern]
    return [pattern[: found.start()] + option + pattern[found.end() :] for option in found[1].split(",")]
