"""Values and files that no run can use: each is refused with one sentence, quickly, with the key and the place."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unreid.config import get_cfg, load_config
from unreid.config.conditions import SWITCH, TEXT
from unreid.config.keys import KEYS
from unreid.config.node import find, leaves, nearest_key
from unreid.utils.errors import UserError

DEFAULTS = dict(leaves(get_cfg()))
RULES = {key: entry.rule for key, entry in KEYS.items() if entry.rule not in (SWITCH, TEXT)}


def of_type(*kinds: type) -> list[str]:
    return [
        key
        for key, value in DEFAULTS.items()
        if type(value) in kinds or (isinstance(value, list) and value and type(value[0]) in kinds)
    ]


def refusal(path: Path | str | None, *pairs: Any) -> str:
    with pytest.raises(UserError) as caught:
        load_config(path, pairs)
    text = str(caught.value)
    assert text.isprintable() and len(text) < 1500 and text.endswith((".", "?"))
    return text


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("key", of_type(int, float))
def test_every_number_has_two_bounds(key: str) -> None:
    default = DEFAULTS[key]
    size = len(default) if isinstance(default, list) else 0
    for value in (10**12, 10**19, 10**400, -(10**19)):
        assert refusal(None, key, [value] * size if size else value).startswith(f"{key} must be ")
        assert "command line" in refusal(None, key, ",".join([str(value)] * size) if size else str(value))
    hexadecimal = [] if size else ["0x10"]  # a list may be spelt as Python spells it
    for word in ("nan", ".inf", "1e308", "1e999", "True", "１２", "²", "1__0", "1:30", "9" * 5000, "", *hexadecimal):
        assert key in refusal(None, key, f"[{','.join([word] * size)}]" if size else word)


@pytest.mark.parametrize("key", of_type(int))
@pytest.mark.parametrize("value", [True, 1.0, "1", None])
def test_whole_numbers_are_nothing_else(key: str, value: Any) -> None:
    cfg = get_cfg()
    cfg_value = [value] * len(DEFAULTS[key]) if isinstance(DEFAULTS[key], list) else value
    *path, name = key.split(".")
    node = cfg
    for part in path:
        node = node[part]
    dict.__setitem__(node, name, cfg_value)
    with pytest.raises(UserError, match="whole number"):
        cfg.validate()


@pytest.mark.parametrize("key", of_type(str))
@pytest.mark.parametrize("text", ["a\0b", "a\nb", "\x1b[2J", "a\u2028b", "\ud800", "a" * 5000, "a" * 1_000_000])
def test_texts_hold_no_control_characters(key: str, text: str) -> None:
    assert refusal(None, key, text).startswith(f"{key} must be ")


def test_texts_of_all_languages_are_welcome(tmp_path: Path) -> None:
    for text in ("数据/행인", "a b", "\u202fà", "🙂\u200d🙂", "a~/x", "%s {} ${HOME}", "'", '"', "# x"):
        assert text.strip("'\"") == load_config(None, ["DATASETS.ROOT", text]).DATASETS.ROOT or text in "'\""


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        (["INPUT.PIXEL_STD", "[]"], r"3 values, each between 0\.001 and 1000, got \[\]"),
        (["INPUT.PIXEL_STD", "[0.2,0.2]"], r"3 values"),
        (["INPUT.SIZE_TRAIN", "[1,2,3]"], r"2 values"),
        (["INPUT.SIZE_TRAIN", "[100000,100000]"], r"each between 1 and 4096"),
        (["INPUT.SIZE_TRAIN", "[[1],2]"], r"a list of whole numbers"),
        (["OPTIM.STEPS", [1] * 5000], r"got \[1, 1, 1, 1, \.\.\. \(5000 values\)\]"),
        (["DATASETS.NAMES", "[" * 60000], r"DATASETS\.NAMES"),
        (["OPTIM.LR", "[" * 60000], r"OPTIM\.LR must be a number, got '\[\[\[.*\(60002 characters\)"),
        (["OPTIM.LR", "-" * 60000 + "1"], r"OPTIM\.LR must be a number"),
        (["OPTIM.EPOCHS", "10**10**10"], r"OPTIM\.EPOCHS must be a whole number, got '10\*\*10\*\*10'"),
        (["OPTIM.EPOCHS", 10**400], r"got a number of more than 100 digits"),
        (["DATASETS.FOLDER.CAMERA_REGEX", "(a{99999999999})"], r"regular expression"),
        (["DATASETS.FOLDER.CAMERA_REGEX", "(" * 2000 + ")" * 2000], r"regular expression"),
        (["TEST.SELECT", "round:" + "9" * 30], r"TEST\.SELECT"),
        (["TEST.SELECT", "round:１"], r"TEST\.SELECT"),
        (["MODEL.DEVICE", "cuda:" + "9" * 30], r"MODEL\.DEVICE"),
        (["", "1"], r"no config key '' \("),
        (["OPTIM..LR", "1"], r"no config key OPTIM\.\.LR .* did you mean OPTIM\.LR\?"),
        (["A" * 10**6, "1"], r"no config key AAA.*\(1000000 characters\)"),
        (["OPTIM.L\0R", "1"], r"no config key OPTIM\.L\\x00R"),
        (["--eval-only", "1"], r"options come before the overrides"),
        (["_BASE_", "a.yml"], r"only files name their bases"),
        (["SEED", "1", "a" * 10**6], r"pairs KEY VALUE, but there are 3 words"),
    ],
)
def test_the_command_line(pairs: list[Any], sentence: str) -> None:
    started = time.process_time()
    assert re.search(sentence, refusal(None, *pairs))
    assert time.process_time() - started < 1


ALIASES = "".join(f"a{i}: &a{i} {{" + ", ".join(f"k{j}: *a{i - 1}" for j in range(9)) + "}\n" for i in range(1, 9))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a0: &a0 {x: 1}\n" + ALIASES, r"No config needs more than 5000 settings"),
        ("OPTIM: {" * 30_000, r"c\.yml:1 is not valid YAML: no config needs deeper than 20 levels"),
        ("[" * 100_000, r"no config needs deeper than 20 levels"),
        ("SEED: [" + "1, " * 50_000 + "]", r"no config needs more than 5000 values"),
        (b"#" * 300_000, r"more than 256 KiB"),
        ("SEED: 1\n---\nSEED: 2\n", r"c\.yml:2 is not valid YAML"),
        ("SEED: \0", r"c\.yml:1 is not valid YAML: the character U\+0000 is not allowed"),
        ("a: 1\nb: 'x\x07'", r"c\.yml:2 .*U\+0007"),
        ("\xe4: 1".encode("latin-1"), r"cannot be read: it is not UTF-8 text \(byte 0\)"),
        (b"\xff\xfeS", r"not UTF-16 text"),
        ('SEED: "\\UFFFFFFFF"', r"is not valid YAML|SEED must be"),
        ('OUTPUT_DIR: "a\\0b"', r"OUTPUT_DIR must be text .*\(.*c\.yml:1\)"),
        (
            "SEED: 99999999999999999999",
            r"SEED must be between 0 and 4294967295, got 9{20} \(.*c\.yml:1\)",
        ),
        ("OPTIM: {LR: 1e308}", r"OPTIM\.LR must be between 0 and 1000, got 1e\+308"),
        ("<<: {SEED: 1}", r"merge key << is not read"),
        ("x: &x {LR: 1}\nOPTIM: {<<: *x}", r"merge key << is not read|no config key x"),
        ("OPTIM: !!python/object:os.x {LR: 1}", r"YAML tag"),
        ("OPTIM: !!set {LR}", r"YAML tag"),
        ("DATASETS: {NAMES: !!python/tuple [a]}", r"YAML tag"),
        ("!!python/name:x SEED: 1", r"YAML tag"),
        ("1: 2", r"no config key 1 "),
        ("null: 2", r"no config key null "),
        ("'': 2", r"no config key '' "),
        ("_BASE_:", r"_BASE_ must be a path"),
        ("_BASE_: null", r"_BASE_ must be a path"),
        ("_BASE_: [[a]]", r"_BASE_ must be a path"),
        ("_BASE_: .", r"cannot be read: it is a folder \(_BASE_ of .*c\.yml:1\)|it is a folder"),
        ("_BASE_: /dev/zero", r"/dev/zero \(_BASE_ of .*c\.yml:1\) cannot be read: it is a pipe or device"),
        ("_BASE_: /dev/stdin", r"cannot be read: it is a pipe or device|no config file"),
        ("_BASE_: ~nobodyatall/x", r"_BASE_ ~nobodyatall/x cannot be resolved"),
        ('_BASE_: "a\\0b"', r"cannot be read: embedded null"),
        ("_BASE_: " + "a" * 5000, r"File name too long"),
        ("_BASE_: [c.yml]", r"circle"),
    ],
)
def test_a_file(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    started = time.process_time()
    message = refusal(write(tmp_path / "c.yml", text))
    assert re.search(sentence, message), message
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    "text",
    [
        "OPTIM.LR: 1\nOPTIM: {LR: 2}",
        "OPTIM: {LR: 1}\n'OPTIM.LR': 2",
        "{OPTIM.LR: 1, OPTIM: {LR: 2}}",
        "MODEL.BACKBONE: {WIDTH: 4}\nMODEL: {BACKBONE: {WIDTH: 8}}",
        "MODEL.BACKBONE.WIDTH: 4\nMODEL: {BACKBONE.WIDTH: 8}",
        "OPTIM: {LR: 1}\nOPTIM: {EPOCHS: 2}",
        "DATASETS:\n  ROOT: a\n  DIR: b",  # an old spelling of the same key
        "CHECKPOINT.PERIOD: 2\nCHECKPOING: {SAVE_STEP: [-3]}",
    ],
)
def test_a_key_stands_once_however_it_is_spelt(tmp_path: Path, text: str) -> None:
    message = refusal(write(tmp_path / "c.yml", text))
    assert "stands twice: " in message and message.count("c.yml:") == 2


def test_a_file_and_its_base_may_both_set_a_key(tmp_path: Path) -> None:
    write(tmp_path / "b.yml", "OPTIM.LR: 1\n")
    cfg = load_config(write(tmp_path / "c.yml", "_BASE_: [b.yml, b.yml]\nOPTIM: {LR: 2}\n"), ["OPTIM.LR", "3"])
    assert cfg.OPTIM.LR == 3


@pytest.mark.parametrize("data", ["SEED: 3".encode("utf-16"), b"\xef\xbb\xbfSEED: 3\r\n", b"---\nSEED: 3\n...\n"])
def test_encodings_that_are_text(tmp_path: Path, data: bytes) -> None:
    assert load_config(write(tmp_path / "c.yml", data)).SEED == 3


def test_bases_that_multiply(tmp_path: Path) -> None:
    for level in range(12):
        write(tmp_path / f"{level}.yml", f"_BASE_: [{level + 1}.yml, {level + 1}.yml]\n")
    write(tmp_path / "12.yml", "SEED: 1\n")
    assert "more than 100 files" in refusal(tmp_path / "0.yml")


def test_files_that_are_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yml")
    (tmp_path / "loop.yml").symlink_to("loop.yml")
    assert "it is a folder" in refusal(tmp_path)
    assert "pipe or device" in refusal(tmp_path / "pipe.yml")
    assert "cannot be read" in refusal(tmp_path / "loop.yml")
    assert "pipe or device" in refusal("/dev/zero")
    assert "null" in refusal("a\0b")
    assert "empty" in refusal("")
    assert "no config file" in refusal("a\nb.yml")
    with (tmp_path / "large.yml").open("wb") as file:
        file.truncate(2**30)
    assert "more than 256 KiB" in refusal(tmp_path / "large.yml")


def test_attributes_that_are_no_keys_or_of_another_type() -> None:
    cfg = get_cfg()
    cfg.OPTIM.LRR = 1.0
    with pytest.raises(UserError, match=r"no config key OPTIM\.LRR .*did you mean OPTIM\.LR\?"):
        cfg.validate()
    for value in ("fast", True, math.nan, [1.0]):
        cfg = get_cfg()
        dict.__setitem__(cfg.OPTIM, "LR", value)
        with pytest.raises(UserError, match=r"OPTIM\.LR must be a number"):
            cfg.validate()
    cfg = get_cfg()
    cfg.INPUT.SIZE_TRAIN = (64, 32)
    cfg.validate()
    assert cfg.INPUT.SIZE_TRAIN == [64, 32]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("TEST.CCE_LAMDA", "TEST.CCE_LAMBDA"),
        ("CLUSTER.CCE_LAMDA", "CLUSTER.CCE_LAMBDA"),
        ("TEST.RERANK.K", "TEST.RERANK.K1"),
        ("METHOD.BUC.TEMPERATURE", "METHOD.BUC.TEMP"),
        ("WARMUP.EPOCH", "WARMUP.EPOCHS"),
        ("OPTIM.EPOCH", "OPTIM.EPOCHS"),
        ("optim.lr", "OPTIM.LR"),
        ("METHOD.BUC.LR", "METHOD.BUC.LR_STEP"),
        ("CLUSTER.LR", "OPTIM.LR"),
    ],
)
def test_a_misspelt_key_is_compared_with_its_siblings_first(wrong: str, right: str) -> None:
    near = nearest_key((known for known, _ in leaves(get_cfg())), wrong)
    assert near == right or (wrong == "METHOD.BUC.LR" and near is not None and near.startswith("METHOD.BUC.LR"))


def values(key: str) -> st.SearchStrategy[Any]:
    """Any value of the key's type; what its rule refuses is filtered out by the test."""
    default = DEFAULTS[key]
    kind = (
        type(default[0])
        if isinstance(default, list) and default
        else str
        if isinstance(default, list)
        else type(default)
    )
    one: st.SearchStrategy[Any] = {
        bool: st.booleans(),
        int: st.integers(-5, 5000),
        float: st.floats(allow_nan=False, allow_infinity=False),
        str: st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=12)
        | st.sampled_from(["1", "1e-4", "off", "null", "~", "1:30", "2024-01-01", "0x1", "a: b", "'", "<<", " "]),
    }[kind]
    return st.lists(one, max_size=4) if isinstance(default, list) else one


@given(st.sampled_from(list(DEFAULTS)), st.data())
def test_whatever_is_accepted_survives_its_dump(
    tmp_path_factory: pytest.TempPathFactory, key: str, data: st.DataObject
) -> None:
    cfg = get_cfg()
    try:
        cfg.merge_from_list([key, data.draw(values(key))])
    except UserError:
        return
    path = tmp_path_factory.mktemp("dump") / "config.yaml"
    path.write_text(cfg.dump(), encoding="utf-8")
    again = get_cfg()
    again.merge_from_file(path)
    assert again == cfg
    assert type(find(again, key)) is type(DEFAULTS[key])


def test_the_config_needs_no_torch_and_is_quick() -> None:
    script = (
        "import sys, time; from unreid.config import load_config; start = time.process_time();"
        "load_config(sys.argv[1]);"
        "assert time.process_time() - start < 0.2; assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    file = Path(__file__).parents[2] / "configs" / "ClusterContrast_market.yml"
    subprocess.run([sys.executable, "-c", script, str(file)], check=True, cwd=Path(__file__).parents[2])


def test_rules_say_their_range() -> None:
    for key in of_type(int, float):
        assert any(word in RULES[key].allowed for word in ("between", "above", "at least", "one of")), key
