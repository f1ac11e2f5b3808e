"""Every key has a comment, a type and, unless it is free text, a rule that its default obeys."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from unreid.config import CfgNode, get_cfg, keys, load_config
from unreid.config.conditions import SWITCH, TEXT, above, between, capturing_regex, choice, decay, each, share
from unreid.config.keys import FORMER, KEYS, SECTIONS
from unreid.config.node import find, leaves

LEAVES = dict(leaves(get_cfg()))
RULES = {key: entry.rule for key, entry in KEYS.items() if entry.rule not in (SWITCH, TEXT)}
# Paths, and names that a registry or dataset looks up with a better message than a rule could give.
FREE_TEXT = {
    "PICKLE_PATH",
    "RESUME",
    "MODEL.BACKBONE.PRETRAIN_PATH",
    "MODEL.INIT_PATH",
    "CLUSTER.WARMUP.NAME",
    "CLUSTER.ICDBSCAN_CONSTRAINT_PATH",
    "CLUSTER.STR_PATH",
    "CLUSTER.CCE_PATH",
    "DATASETS.ROOT",
    "DATASETS.MARS_INFO",
    "DATASETS.FOLDER.PATH",
    "DATASETS.FOLDER.TRAIN",
    "DATASETS.FOLDER.QUERY",
    "DATASETS.FOLDER.GALLERY",
    "DATASETS.FOLDER.MANIFEST",
    "TEST.CONSTRAINT_PATH",
    "TEST.CCE_PATH",
    "TEST.STR_PATH",
}


def test_defaults_are_valid_and_loading_changes_none() -> None:
    assert load_config() == get_cfg()


def test_rules_name_existing_keys() -> None:
    assert set(RULES) <= set(LEAVES)
    assert set(LEAVES) >= FREE_TEXT


@pytest.mark.parametrize("key", LEAVES)
def test_every_key_has_a_rule_or_needs_none(key: str) -> None:
    value = LEAVES[key]
    assert type(value) in (bool, int, float, str, list)
    assert key in RULES or isinstance(value, bool) or key in FREE_TEXT


def test_every_key_says_what_it_means_and_stands_once() -> None:
    files = Path(keys.__file__).parent.glob("*.py")
    declared = [
        key for file in files for key in re.findall(r'^    "([\w.]+)": (?:Key|Section)\(', file.read_text(), re.M)
    ]
    assert sorted(declared) == sorted([*LEAVES, *SECTIONS])
    assert set(FORMER.values()) <= set(KEYS) and not set(FORMER) & set(KEYS)
    assert [name for name in SECTIONS if not isinstance(find(get_cfg(), name), CfgNode)] == []


def test_rule_borders() -> None:
    assert [share().accepts(x) for x in (0, 0.1, 1, 1.1)] == [False, True, True, False]
    assert [above(0, 9).accepts(x) for x in (0, 1e-9, 9, 9.1)] == [False, True, True, False]
    assert [between(0, 1).accepts(x) for x in (-0.1, 0, 1, 1.1)] == [False, True, True, False]
    assert [decay().accepts(x) for x in (-0.1, 0, 0.999, 1)] == [False, True, True, False]
    assert choice("a", "b").allowed == "one of 'a', 'b'"
    pair = each(above(0, 9), length=2)
    assert [pair.accepts(x) for x in ([1, 2], [1], [0, 1])] == [True, False, False]
    words = (pair.allowed, each(above(0, 9)).allowed, each(above(0, 9), empty=True).allowed)
    numbers = above(0, 9).allowed
    assert words == (
        f"2 values, each {numbers}",
        f"a list of one or more values, each {numbers}",
        f"a list of values, each {numbers}",
    )
    assert [each(above(0, 9)).accepts([]), each(above(0, 9), empty=True).accepts([])] == [False, True]
    assert [capturing_regex().accepts(x) for x in ("", r"c(\d)", r"c\d", "(")] == [True, True, False, False]


def test_sections_hold_keys() -> None:
    def sections(node: CfgNode, name: str = "") -> list[str]:
        inner = [(f"{name}.{key}", value) for key, value in node.items() if isinstance(value, CfgNode)]
        return [key for key, value in inner if not value] + [x for key, value in inner for x in sections(value, key)]

    assert sections(get_cfg()) == []


def test_a_negative_zero_is_a_plain_one(tmp_path: Path) -> None:
    """It would be printed and stored as another value, and runs with equal settings would differ."""
    (tmp_path / "a.yml").write_text("OPTIM: {WEIGHT_DECAY: -0.0}\n")
    for cfg in (load_config(None, ["OPTIM.WEIGHT_DECAY", "-0.0"]), load_config(tmp_path / "a.yml")):
        assert math.copysign(1, cfg.OPTIM.WEIGHT_DECAY) == 1 and "-0.0" not in cfg.dump()


def test_a_list_on_the_command_line_holds_numbers_and_quoted_text() -> None:
    cfg = load_config(None, ["INPUT.SIZE_TRAIN", "[64, 32]", "DATASETS.NAMES", "['7', Market1501]"])
    assert cfg.INPUT.SIZE_TRAIN == [64, 32] and cfg.DATASETS.NAMES == ["7", "Market1501"]
    assert load_config(None, ["INPUT.SIZE_TRAIN", "[+64, 0032]"]).INPUT.SIZE_TRAIN == [64, 32]  # no Python numbers
