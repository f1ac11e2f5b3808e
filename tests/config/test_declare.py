"""Keys of plug-ins: found before the merge wherever PLUGINS stand, and only in the configs that name the plug-in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from unreid.config import CfgNode, Key, declare, get_cfg, load_config
from unreid.config.conditions import SWITCH, TEXT, above, between, choice
from unreid.config.node import find
from unreid.utils.errors import UserError

PLUGIN = """
from unreid.config import Key, declare
from unreid.config.conditions import NAME, between, each

declare("METHOD.TRIAL.ALPHA", Key(0.5, between(0, 1), "share of the trial", formerly=("METHOD.TRIAL.SHARE",)))
declare("TRIAL.NAMES", Key([], each(NAME, empty=True), "names of the trial"))
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "trial.py"
    path.write_text(PLUGIN)
    return path


def test_plugins_of_a_file_bring_their_keys(plugin: Path, tmp_path: Path) -> None:
    (tmp_path / "base.yml").write_text(f"PLUGINS: [{plugin}]\n")
    (tmp_path / "mine.yml").write_text("_BASE_: base.yml\nMETHOD: {TRIAL: {ALPHA: 0.25}}\nTRIAL: {NAMES: [a, b]}\n")
    cfg = load_config(tmp_path / "mine.yml", ["METHOD.TRIAL.ALPHA=0.75"])
    assert cfg.METHOD.TRIAL.ALPHA == 0.75 and cfg.TRIAL.NAMES == ["a", "b"] and cfg.is_frozen()
    (tmp_path / "dumped.yml").write_text(cfg.dump())
    assert load_config(tmp_path / "dumped.yml") == cfg


def test_plugins_of_the_command_line_come_before_the_file(plugin: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text("METHOD: {TRIAL: {ALPHA: 0.25}}\n")
    for words in (["PLUGINS", str(plugin)], [f"PLUGINS=['{plugin}']"], ["SEED=2", "PLUGINS", [str(plugin)]]):
        assert load_config(tmp_path / "mine.yml", words).METHOD.TRIAL.ALPHA == 0.25
    tree = get_cfg()
    tree.merge_from_list(["METHOD.TRIAL.ALPHA", "0.1", "PLUGINS", str(plugin)])
    other = get_cfg()
    other.merge_from_other_cfg(tree)
    assert other == tree and tree.METHOD.TRIAL.ALPHA == 0.1
    assert tree.clone().METHOD.TRIAL.ALPHA == 0.1


def test_a_config_without_the_plugin_has_none_of_its_keys(plugin: Path) -> None:
    assert find(load_config(None, ["PLUGINS", str(plugin)]), "METHOD.TRIAL.ALPHA") == 0.5
    assert find(load_config(), "METHOD.TRIAL") is None and find(get_cfg(), "TRIAL") is None
    with pytest.raises(UserError, match=r"no config key METHOD\.TRIAL\.ALPHA"):
        load_config(None, ["METHOD.TRIAL.ALPHA", "0.5"])
    with pytest.raises(UserError, match=r"no config key METHOD\.TRIAL\.ALPHA"):
        load_config(None, ["PLUGINS", str(plugin), "METHOD.TRIAL.ALPHA", "0.5", "PLUGINS", "[]"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["METHOD.TRIAL.ALPHA", "2"], r"METHOD\.TRIAL\.ALPHA must be between 0 and 1, got 2\.0 \(command line\)"),
        (["METHOD.TRIAL.ALPHA", "x"], r"METHOD\.TRIAL\.ALPHA must be a number, got 'x'"),
        (["METHOD.TRIAL.ALPA", "0.5"], r"did you mean METHOD\.TRIAL\.ALPHA\?"),
        (["METHOD.TRIAL", "0.5"], r"METHOD\.TRIAL is a section with keys such as METHOD\.TRIAL\.ALPHA"),
        (["PLUGINS", "nowhere.py"], r"PLUGINS names .*nowhere\.py, which is no Python file"),
        (["PLUGINS", "3,"], r"neither a file .* nor a module"),
    ],
)
def test_its_keys_are_checked_like_any_other(plugin: Path, words: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        load_config(None, ["PLUGINS", str(plugin), *words])


def test_validate_knows_them_and_former_names_work(plugin: Path, caplog: pytest.LogCaptureFixture) -> None:
    cfg = load_config(None, ["PLUGINS", str(plugin), "METHOD.TRIAL.SHARE", "0.2"]).clone()
    assert cfg.METHOD.TRIAL.ALPHA == 0.2 and "now called METHOD.TRIAL.ALPHA" in caplog.text
    cfg.defrost()
    cfg.METHOD.TRIAL.ALPHA = 7.0
    with pytest.raises(UserError, match=r"METHOD\.TRIAL\.ALPHA must be between"):
        cfg.validate()


def test_a_plugin_of_two_files_and_one_key(plugin: Path, tmp_path: Path) -> None:
    twin = tmp_path / "twin.py"
    twin.write_text(PLUGIN)
    both = load_config(None, ["PLUGINS", f"{plugin},{twin}"])
    assert isinstance(both.METHOD.TRIAL, CfgNode)
    assert load_config(None, ["PLUGINS", str(twin)]).METHOD.TRIAL == both.METHOD.TRIAL


@pytest.mark.parametrize(
    ("name", "key", "sentence"),
    [
        ("method.alpha", Key(1, between(0, 1), "x"), "a key has a name such as"),
        ("METHOD..A", Key(1, between(0, 1), "x"), "a key has a name such as"),
        ("METHOD.NAME", Key("x", TEXT, "x"), "METHOD.NAME exists already"),
        ("METHOD", Key("x", TEXT, "x"), "METHOD is a section with keys such as METHOD.NAME"),
        ("METHOD.NAME.X", Key("x", TEXT, "x"), "METHOD.NAME is a key and no section"),
        ("METHOD.OTHER", Key(1, between(0, 1), "x", formerly=("SEED",)), "SEED cannot be a former name"),
    ],
)
def test_what_may_not_be_declared(name: str, key: Key, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        declare(name, key)


def test_a_declaration_is_right_in_itself() -> None:
    for default, rule, text, sentence in [
        (2.0, between(0, 1), "x", "must be between 0 and 1"),
        ("c", choice("a", "b"), "x", "must be one of"),
        (None, TEXT, "x", "not None"),
        ({}, TEXT, "x", r"not \{\}"),
        ([1, "a"], TEXT, "x", "or a list of one"),
        (float("nan"), above(0, 1), "x", "a number|must be"),
        (True, SWITCH, "two\nlines", "one line"),
        (True, SWITCH, " ", "one line"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            Key(default, rule, text)


@pytest.mark.parametrize(
    "words",
    [
        ["OPTIM.LR=1e-3", "DATASETS.ROOT=a=b", "SEED=3"],
        ["OPTIM.LR", "1e-3", "DATASETS.ROOT", "a=b", "SEED", "3"],
        ["OPTIM.LR=1e-3", "DATASETS.ROOT", "a=b", "SEED=3"],
        ["OPTIM.LR", 1e-3, "DATASETS.ROOT=a=b", "SEED", 3],
    ],
)
def test_words_with_an_equals_sign(words: list[object]) -> None:
    cfg = load_config(None, words)
    assert (cfg.OPTIM.LR, cfg.DATASETS.ROOT, cfg.SEED) == (1e-3, "a=b", 3)
    assert cfg.origin("SEED") == "command line"


def test_the_value_after_the_equals_sign_is_read_as_a_value_of_its_own() -> None:
    assert load_config(None, ["DATASETS.NAMES=[Market1501, MSMT17]"]).DATASETS.NAMES == ["Market1501", "MSMT17"]
    assert load_config(None, ["MODEL.FREEZE_AT="]).MODEL.FREEZE_AT == ""
    for words, sentence in [
        (["SEED=1", "OPTIM.LR"], "come in pairs KEY VALUE, but there are 2 words; the last one is 'OPTIM.LR'"),
        (["=3"], "no config key ''"),
        (["OPTIM.LRR=3"], "did you mean OPTIM.LR"),
        (["OPTIM.LR="], "OPTIM.LR must be a number, got ''"),
    ]:
        with pytest.raises(UserError, match=re.escape(sentence)):
            load_config(None, words)
