"""Merging, layering, freezing and dumping, and every sentence a user may get to read."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unreid.config import CfgNode, get_cfg, load_config
from unreid.config.node import find, leaves, nearest_key
from unreid.utils.errors import UserError

KEYS = [key for key, _ in leaves(get_cfg())]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_file_then_command_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yml", "OPTIM:\n  LR: 1e-4\n  EPOCHS: 7\nDATASETS:\n  NAMES: [Market1501, MSMT17]\n")
    cfg = load_config(path, ["OPTIM.EPOCHS", "9", "MODEL.DEVICE", "cpu"])
    assert (cfg.OPTIM.LR, cfg.OPTIM.EPOCHS, cfg.MODEL.DEVICE) == (1e-4, 9, "cpu")
    assert cfg.DATASETS.NAMES == ["Market1501", "MSMT17"]
    assert cfg.origin("OPTIM.LR") == f"{path}:2"
    assert cfg.origin("OPTIM.EPOCHS") == "command line"
    assert cfg.origin("SEED") == "default"


def test_dotted_keys_and_empty_sections_in_a_file(tmp_path: Path) -> None:
    cfg = load_config(write(tmp_path / "a.yml", "OPTIM.LR: 1\nMODEL:\nTEST: {}\n"))
    assert cfg.OPTIM.LR == 1.0 and isinstance(cfg.OPTIM.LR, float)


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert load_config(write(tmp_path / "a.yml", "# nothing\n")) == load_config()


def test_base_files_are_relative_and_later_ones_win(tmp_path: Path) -> None:
    write(tmp_path / "base" / "root.yml", "SEED: 5\nOPTIM: {EPOCHS: 5, LR: 0.5}\nCLUSTER: {K1: 20}\n")
    write(tmp_path / "base" / "method.yml", "_BASE_: root.yml\nOPTIM: {EPOCHS: 6}\n")
    write(tmp_path / "data" / "market.yml", "_BASE_: ../base/root.yml\nDATASETS: {NAMES: Market1501}\nSEED: 8\n")
    path = write(tmp_path / "run.yml", "_BASE_: [base/method.yml, data/market.yml]\nCLUSTER: {K1: 15}\n")
    cfg = load_config(path)
    assert (cfg.SEED, cfg.OPTIM.LR, cfg.CLUSTER.K1, cfg.DATASETS.NAMES) == (8, 0.5, 15, ["Market1501"])
    assert cfg.OPTIM.EPOCHS == 5  # the second base brings root.yml again


def test_base_cycle_names_the_chain(tmp_path: Path) -> None:
    write(tmp_path / "a.yml", "_BASE_: sub/b.yml\n")
    write(tmp_path / "sub" / "b.yml", "_BASE_: ../c.yml\n")
    write(tmp_path / "c.yml", "_BASE_: a.yml\n")
    with pytest.raises(UserError, match=r"circle: .*a\.yml -> .*b\.yml -> .*c\.yml -> .*a\.yml"):
        load_config(tmp_path / "a.yml")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("CLUSTER:\n  EPSS: 0.5\n", r"no config key CLUSTER\.EPSS \(.*x\.yml:2\); did you mean CLUSTER\.EPS\?"),
        ("SOLVER:\n  LR: 1\n", r"SOLVER\.LR \(.*x\.yml:2\); did you mean OPTIM\.LR\?"),
        ("CLUSTR: {}\n", r"no config key CLUSTR \(.*x\.yml:1\)"),
        ("SEED:\n  X: 1\n", r"SEED takes a whole number, not a section \(.*x\.yml:2\)"),
        ("CLUSTER: 3\n", r"CLUSTER is a section with keys such as CLUSTER\.NAME.*x\.yml:1"),
        ("OPTIM:\n  LR: fast\n", r"OPTIM\.LR must be a number, got fast \(.*x\.yml:2\)"),
        ("OPTIM:\n  LR: '0.1'\n", r"OPTIM\.LR must be a number, got '0\.1'"),
        ("OPTIM:\n  LR:\n", r"OPTIM\.LR must be a number, got nothing"),
        ("RESUME: null\n", r"RESUME must be text, got null"),
        ("OPTIM:\n  EPOCHS: 1.5\n", r"OPTIM\.EPOCHS must be a whole number, got 1\.5"),
        ("OPTIM:\n  EPOCHS: true\n", r"OPTIM\.EPOCHS must be a whole number, got true"),
        ("OPTIM:\n  LR: .nan\n", r"OPTIM\.LR must be a number"),
        ("INPUT:\n  DO_FLIP: 1\n", r"INPUT\.DO_FLIP must be True or False, got 1"),
        ("INPUT:\n  SIZE_TRAIN: [256]\n", r"INPUT\.SIZE_TRAIN must be 2 values, each between 1 and 4096, got \[256\]"),
        ("INPUT:\n  SIZE_TRAIN: [a, b]\n", r"INPUT\.SIZE_TRAIN must be a list of whole numbers, got \[a, b\]"),
        ("INPUT:\n  SIZE_TRAIN: [[1], 2]\n", r"list of something else than plain values"),
        ("CLUSTER:\n  EPS: -1\n", r"CLUSTER\.EPS must be above 0 and at most 1000, got -1\.0 \(.*x\.yml:2\)"),
        ("OPTIM:\n  WARMUP_METHOD: lin\n", r"OPTIM\.WARMUP_METHOD must be one of 'linear', 'constant', got 'lin'"),
        ("DATASETS:\n  FOLDER: {CAMERA_REGEX: 'c(\\d'}\n", r"valid regular expression"),
        ("SEED: 1\nSEED: 2\n", r"SEED stands twice: .*x\.yml:1 and .*x\.yml:2"),
        ("SEED: !!python/name:os.system\n", r"YAML tag"),
        ("SEED: [1\n", r"x\.yml:2 is not valid YAML"),
        ("SEED: 1\n\tX: 2\n", r"x\.yml:2 is not valid YAML"),
        ("- 1\n", r"is not a config"),
        ("? [a]\n: 1\n", r"A key must be a name"),
        ("OPTIM: &a {X: *a}\n", r"alias contains itself"),
        ("_BASE_: gone.yml\n", r"no config file .*gone\.yml \(_BASE_ of .*x\.yml:1\)"),
        ("_BASE_: {a: 1}\n", r"_BASE_ must be a path or a list of paths"),
        ("OPTIM: {_BASE_: a.yml}\n", r"no config key OPTIM\._BASE_"),
    ],
)
def test_what_a_file_may_not_say(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        load_config(write(tmp_path / "x.yml", text))


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        (["SEED"], r"pairs KEY VALUE, but there are 1 words"),
        ([1, 2], r"starts with the name of a key"),
        (["cluster.eps", "1"], r"cluster\.eps \(command line\); did you mean CLUSTER\.EPS\?"),
        (["EPS", "0.5"], r"did you mean CLUSTER\.EPS\?"),
        (["qqqqq", "1"], r"no config key qqqqq \(command line\); `unreid config` prints all keys"),
        (["OPTIM.LR", "1e999"], r"OPTIM\.LR must be a number"),
        (["RESUME", "None"], r"RESUME must be text"),
        (["OPTIM.LR", None], r"OPTIM\.LR must be a number, got None"),
        (["DATASETS.NAMES", "[]"], r"DATASETS\.NAMES must be a list of one or more values"),
        (["DATASETS.NAMES", "[a: 1]"], None),
        (["MODEL.SYNC_BN", "True", "MODEL.BN_CHUNKS", "4"], r"exclude each other"),
        (["DATALOADER.NUM_INSTANCE", "7"], r"TRAIN_BATCH_SIZE \(256\) must be a multiple of .*NUM_INSTANCE \(7\)"),
        (["MODEL.BN_CHUNKS", "3"], r"multiple of MODEL\.BN_CHUNKS \(3\)"),
        (["OPTIM.SUB_BATCH", "100"], r"multiple of OPTIM\.SUB_BATCH \(100\)"),
        (["CLUSTER.EPS", "1.2"], r"must be below 1 with CLUSTER\.METRIC jaccard"),
        (["CLUSTER.K2", "31"], r"CLUSTER\.K2 \(31\) must not exceed CLUSTER\.K1 \(30\)"),
        (["OPTIM.STEPS", "10,20"], r"one period"),
        (["OPTIM.STEPS", "20,10", "OPTIM.SCHED", "multistep"], r"must grow"),
        (["OPTIM.OPT", "sgd", "OPTIM.MOMENTUM", "0"], r"NESTEROV needs"),
    ],
)
def test_what_the_command_line_may_not_say(pairs: list[object], sentence: str | None) -> None:
    if sentence is None:
        load_config(None, pairs)
        return
    with pytest.raises(UserError, match=sentence):
        load_config(None, pairs)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("OPTIM.LR", "1", 1.0),
        ("OPTIM.LR", "1e-4", 1e-4),
        ("OPTIM.LR", ".5", 0.5),
        ("SEED", "010", 10),
        ("OPTIM.AMP", "off", "off"),
        ("OPTIM.AMP", "'bf16'", "bf16"),
        ("MODEL.SYNC_BN", "true", True),
        ("INPUT.DO_FLIP", "False", False),
        ("INPUT.SIZE_TRAIN", "(128, 64)", [128, 64]),
        ("INPUT.SIZE_TRAIN", "[128,64]", [128, 64]),
        ("INPUT.SIZE_TRAIN", "128,64", [128, 64]),
        ("INPUT.PIXEL_MEAN", "[0, 0, 1]", [0.0, 0.0, 1.0]),
        ("OPTIM.STEPS", "30", [30]),
        ("DATASETS.NAMES", "Market1501", ["Market1501"]),
        ("DATASETS.NAMES", "['Market1501', MSMT17]", ["Market1501", "MSMT17"]),
        ("DATASETS.NAMES", "('Market1501',)", ["Market1501"]),
        ("DATASETS.TESTS", "[]", []),
        ("DATASETS.ROOT", "/a b/c#d: e", "/a b/c#d: e"),
        ("OUTPUT_DIR", "2024", "2024"),
        ("RESUME", "", ""),
    ],
)
def test_values_on_the_command_line(key: str, text: str, value: object) -> None:
    got = find(load_config(None, [key, text]), key)
    assert got == value and type(got) is type(value)


def test_yaml_words_for_truth_stay_text_where_text_is_due(tmp_path: Path) -> None:
    cfg = load_config(write(tmp_path / "a.yml", "OPTIM: {AMP: off}\nMODEL: {SYNC_BN: on}\nOUTPUT_DIR: 2024-01-01\n"))
    assert (cfg.OPTIM.AMP, cfg.MODEL.SYNC_BN, cfg.OUTPUT_DIR) == ("off", True, "2024-01-01")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config file .*nothing\.yml; the shipped ones are in"):
        load_config(tmp_path / "nothing.yml")
    with pytest.raises(UserError, match="cannot be read"):
        load_config(tmp_path)
    (tmp_path / "binary.yml").write_bytes(b"\x80\x02}q\x00")
    with pytest.raises(UserError, match="cannot be read"):
        load_config(tmp_path / "binary.yml")


def test_frozen_trees_refuse_every_write() -> None:
    cfg = load_config()
    for write_it in (
        lambda: setattr(cfg.OPTIM, "LR", 1.0),
        lambda: cfg.OPTIM.__setitem__("LR", 1.0),
        lambda: cfg.OPTIM.update(LR=1.0),
        lambda: cfg.OPTIM.__delitem__("LR"),
        lambda: cfg.merge_from_list(["OPTIM.LR", "1"]),
    ):
        with pytest.raises(AttributeError):
            write_it()
    assert cfg == load_config()


def test_copies_and_pickles_are_equal_and_independent() -> None:
    cfg = load_config(None, ["SEED", "3"])
    for twin in (cfg.clone(), pickle.loads(pickle.dumps(cfg))):
        assert twin == cfg and twin.is_frozen() and isinstance(twin.OPTIM, CfgNode)
        assert twin.origin("SEED") == "command line"
    twin = cfg.clone()
    twin.defrost()
    twin.OPTIM.STEPS.append(99)
    twin.SEED = 4
    assert cfg.OPTIM.STEPS == get_cfg().OPTIM.STEPS and cfg.SEED == 3
    assert get_cfg().SEED == 1


def test_validate_sees_attributes_set_by_hand() -> None:
    cfg = get_cfg()
    cfg.CLUSTER.EPS = 0.0
    with pytest.raises(UserError, match=r"CLUSTER\.EPS must be above 0 and at most 1000, got 0\.0 \(default\)"):
        cfg.validate()


def test_other_configs_merge_with_the_same_checks() -> None:
    cfg = get_cfg()
    cfg.merge_from_other_cfg(CfgNode({"OPTIM": {"LR": 1}}))
    assert cfg.OPTIM.LR == 1.0
    with pytest.raises(UserError, match="another config"):
        cfg.merge_from_other_cfg(CfgNode({"OPTIM": {"LRR": 1}}))


@given(st.data())
def test_a_dump_loads_back(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    text = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=8)
    cfg = get_cfg()
    cfg.DATASETS.ROOT = data.draw(text)
    cfg.RESUME = data.draw(st.sampled_from(["off", "null", "1e-4", "", "a: b", "'x'", "None"]))
    cfg.OPTIM.LR = data.draw(st.floats(0, 1e3))
    cfg.DATASETS.TESTS = data.draw(st.lists(st.sampled_from(["MARS", "no", "7"]), max_size=3))
    path = tmp_path_factory.mktemp("dump") / "config.yaml"
    path.write_text(cfg.dump(), encoding="utf-8")
    again = get_cfg()
    again.merge_from_file(path)
    assert again == cfg
    assert [key for key, _ in leaves(again)] == KEYS


@given(st.sampled_from(KEYS), st.data())
def test_one_wrong_letter_is_recognised(key: str, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(key) - 1).filter(lambda index: key[index] != "."))
    wrong = key[:position] + data.draw(st.sampled_from("QZ")) + key[position + 1 :]
    near = nearest_key((known for known, _ in leaves(get_cfg())), wrong)
    assert near is not None
    assert sum(a != b for a, b in zip(near, wrong)) + abs(len(near) - len(wrong)) <= 2 or near == key
