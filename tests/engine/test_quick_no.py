"""What can be said without data and without a network is said before torch is imported, which takes seconds."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from unreid.config import load_config
from unreid.engine.kinds import KINDS, OWN_NAMES
from unreid.engine.names import CHECKPOINT_LAYOUTS, FORMAT, check_names
from unreid.engine.preflight import check_packages, check_selected_round, check_shares, planned_rounds
from unreid.utils.errors import UserError

ROOT = Path(__file__).parents[2]
MARKET = str(ROOT / "configs" / "ClusterContrast_market.yml")
RENDERED = str(ROOT / "configs" / "ClusterContrast_synthetic.yml")

HDBSCAN = ["--config-file", RENDERED, "CLUSTER.NAME", "sklearn/HDBSCAN", "CLUSTER.SKLEARN.ARGUMENTS"]

# (tool, words, exit status, part of what is said)
COMMANDS = [
    ("main", ["--help"], 0, "exit status: 0 done"),
    ("main", [], 2, "--config-file: configs/"),
    ("main", ["OPTIM.EPOCHS", "3"], 2, "--config-file: configs/"),
    ("main", ["OPTIM.EPOCHS", "3", "--config-file", RENDERED], 2, "come before"),
    ("main", ["--config-file", "nowhere.yml"], 2, "nowhere.yml"),
    ("main", ["--config-file", "empty.pth"], 2, "sets no key"),
    ("main", ["--config-file", RENDERED, "OPTIM.LRR", "1"], 2, "did you mean OPTIM.LR"),
    ("main", ["--config-file", RENDERED, "OPTIM.LR"], 2, "pairs KEY VALUE"),
    ("main", ["--config-file", RENDERED, "OPTIM.LR", "fast"], 2, "OPTIM.LR must be a number"),
    ("main", ["--config-file", RENDERED, "OPTIM.LR", "-1"], 2, "between 0 and 1000"),
    ("main", ["--config-file", RENDERED, "DATALOADER.TRAIN_BATCH_SIZE", "30"], 2, "multiple of DATALOADER.NUM_INST"),
    ("main", ["--config-file", RENDERED, "--repeat", "0"], 2, "--repeat takes"),
    ("main", ["--config-file", RENDERED, "OPTIM.EPOCHS", "3", "--repeat", "2"], 2, "come before"),
    ("main", ["--config-file", RENDERED, "METHOD.NAME", "ClusterContrst"], 2, "Did you mean 'ClusterContrast'"),
    ("main", ["--config-file", RENDERED, "METHOD.EXTRAS", "suport_samples"], 2, "Did you mean 'support_samples'"),
    ("main", ["--config-file", RENDERED, "CLUSTER.NAME", "DBSCN"], 2, "Did you mean 'DBSCAN'"),
    ("main", ["--config-file", RENDERED, "CLUSTER.WARMUP.NAME", "x"], 2, "no clusterer named 'x'"),
    ("main", ["--config-file", RENDERED, "MEMORY.NAME", "x"], 2, "no memory named 'x'"),
    ("main", ["--config-file", RENDERED, "MEMORY.UPDATE", "x"], 2, "no memory update rule named 'x'"),
    ("main", ["--config-file", RENDERED, "MODEL.BACKBONE.NAME", "resnet51"], 2, "Did you mean 'resnet50'"),
    ("main", ["--config-file", RENDERED, "MODEL.POOLING.NAME", "x"], 2, "no pooling named 'x'"),
    ("main", ["--config-file", RENDERED, "DATALOADER.SAMPLER.NAME", "x"], 2, "no sampler named 'x'"),
    ("main", ["--config-file", RENDERED, "OPTIM.OPT", "adan"], 2, "Did you mean 'adam'"),
    ("main", ["--config-file", RENDERED, "OPTIM.SCHED", "cosin"], 2, "Did you mean 'cosine'"),
    ("main", ["--config-file", RENDERED, "INPUT.TRANSFORM", "strng"], 2, "Did you mean 'strong'"),
    ("main", ["--config-file", RENDERED, "HOOKS", "RankedLst"], 2, "Did you mean 'RankedList'"),
    ("main", ["--config-file", RENDERED, "DATASETS.NAMES", "Market1502"], 2, "Did you mean 'Market1501'"),
    ("main", ["--config-file", RENDERED, "DATASETS.TESTS", "Duk"], 2, "no dataset named 'Duk'"),
    ("main", ["--config-file", MARKET, "DATASETS.ROOT", "nowhere"], 2, "Market1501 was not found in"),
    ("main", ["--config-file", RENDERED, "DATASETS.TESTS", "ImageFolder", "DATASETS.FOLDER.PATH", "x"], 2, "folder x"),
    ("main", ["--config-file", RENDERED, "RESUME", "nowhere.pth"], 2, "RESUME: nowhere.pth"),
    ("main", ["--config-file", RENDERED, "RESUME", "."], 2, "RESUME: . cannot be read: it is no file"),
    ("main", ["--config-file", RENDERED, "RESUME", "empty.pth"], 2, "it is empty"),
    ("main", ["--config-file", RENDERED, "MODEL.INIT_PATH", "nowhere.pth"], 2, "MODEL.INIT_PATH: nowhere.pth"),
    ("main", ["--config-file", MARKET, "MODEL.BACKBONE.PRETRAIN_PATH", "no.pth"], 2, "PRETRAIN_PATH: no.pth"),
    ("main", ["--config-file", RENDERED, "OUTPUT_DIR", "empty.pth"], 2, "empty.pth is no folder"),
    ("main", ["--config-file", RENDERED, "OUTPUT_DIR", "empty.pth/below"], 2, "empty.pth is no folder"),
    ("main", ["--config-file", RENDERED, "OUTPUT_DIR", "done"], 2, "OVERWRITE True"),
    ("main", ["--config-file", RENDERED, "OUTPUT_DIR", "odd"], 2, "odd/metrics.jsonl is a folder"),
    ("main", ["--config-file", RENDERED, "TEST.SELECT", "round:99"], 2, "TEST.SELECT round:99"),
    ("main", ["--config-file", RENDERED, "--eval-only"], 2, "TEST.EVAL_ONLY needs a checkpoint"),
    ("main", ["--eval-only", "--config-file", RENDERED, "RESUME", "auto"], 2, "there is no checkpoint.pth"),
    ("main", ["--config-file", RENDERED, "PLUGINS", "nowhere.py"], 2, "nowhere.py"),
    ("main", ["--repeat", "2", "--config-file", RENDERED, "OUTPUT_DIR", "seeds"], 2, "seed_2 holds a finished run"),
    ("unreid", ["--help"], 0, "exit status: 0 done"),
    ("unreid", ["train"], 2, "--config-file: configs/"),
    ("unreid", ["eval", "--config-file", RENDERED], 2, "needs a checkpoint"),
    ("unreid", ["trian"], 2, "invalid choice"),
    ("unreid", ["--version"], 0, "unreid "),
    ("unreid", ["train", "--help"], 0, "unreid train --config-file ClusterContrast_market.yml"),
    ("unreid", ["eval", "--help"], 0, "unreid eval --config-file"),
    ("unreid", ["train", "--config-file", "CDSM_markt.yml"], 2, "did you mean CDSM_market.yml?"),
    ("unreid", ["train", "--config-file", "CDSM_market.yml", "DATASETS.ROOT", "x"], 2, "Market1501 was not found in"),
    ("unreid", ["demo", "--help"], 0, "unreid demo "),
    ("unreid", ["demo", "OPTIM.LRR", "1"], 2, "did you mean OPTIM.LR"),
    ("unreid", ["demo", "--config-file", "ISE_synthetc"], 2, "did you mean ISE_synthetic.yml?"),
    ("unreid", ["render", "--help"], 0, "unreid render --layout market1501"),
    ("unreid", ["render", "--layout", "x", "--out", "out"], 2, "no layout 'x'"),
    ("unreid", ["report", "--help"], 0, "unreid report logs/"),
    ("unreid", ["report", "nowhere"], 2, "There is no folder nowhere"),
    ("unreid", ["report", "done"], 2, "is no run: it has no config.yaml"),
    ("unreid", ["report", "done", "-o", "."], 2, "is no run"),
    ("unreid", ["mine", "--help"], 0, "unreid mine --config-file"),
    ("unreid", ["mine", "--config-file", "nowhere.yml"], 2, "nowhere.yml"),
    ("unreid", ["tune", "--help"], 0, "unreid tune --config-file"),
    ("unreid", ["tune"], 2, "Say what to cluster"),
    ("unreid", ["tune", "--features", "nowhere.npz"], 2, "--features: nowhere.npz cannot be read"),
    ("unreid", ["tune", "--features", "empty.pth", "--k1", "0"], 2, "expected values from 1 to 10000"),
    ("unreid", ["tune", "--features", "empty.pth", "--eps", "1"], 2, "expected values from 1e-06 to"),
    ("unreid", ["tune", "--features", "empty.pth", "--k1", "5", "--k2", "9"], 2, "Every --k2 exceeds every --k1"),
    ("unreid", ["tune", "--features", "empty.pth", "--subsets", "0"], 2, "--subsets takes a number from 1 to 100"),
    ("unreid", ["tune", "--config-file", "BUC_synthetic.yml"], 2, "which METHOD.NAME BUC has no use for"),
    ("unreid", ["tune", "--config-file", RENDERED, "CLUSTER.NAME", "HDC"], 2, "which CLUSTER.NAME HDC has no use for"),
    ("unreid", ["tune", "--config-file", MARKET, "DATASETS.ROOT", "x"], 2, "Market1501 was not found in"),
    ("unreid", ["tune", "--features", "empty.pth", "--out", "empty.pth"], 2, "empty.pth is no folder"),
    ("unreid", ["convert", "--help"], 0, "unreid convert --in"),
    ("unreid", ["convert", "--in", "nowhere.pth", "--out", "o.pth"], 2, "nowhere.pth cannot be read"),
    ("unreid", ["convert", "--in", "some.pth", "--out", "some.pth"], 2, "some.pth exists: choose another name"),
    ("unreid", ["extract", "--help"], 0, "unreid extract logs/market crops/"),
    ("unreid", ["extract", "nowhere.pth", "odd", "-o", "f.npz"], 2, "There is no model nowhere.pth"),
    ("unreid", ["extract", "resnet51", "odd", "-o", "f.npz"], 2, "Did you mean 'resnet50'"),
    ("unreid", ["extract", "odd", "odd", "-o", "f.npz"], 2, "odd is no run"),
    ("unreid", ["extract", "resnet50", "nowhere", "-o", "f.npz"], 2, "no folder and no image nowhere"),
    ("unreid", ["extract", "resnet50", "odd", "-o", "f.csv"], 2, "ends in .parquet"),
    ("unreid", ["extract", "resnet50", "odd", "-o", "f.npz", "--camera-regex", "c("], 2, "not a regular expression"),
    ("unreid", ["extract", "resnet50", "odd", "-o", "f.npz", "--batch-size", "0"], 2, "--batch-size must be between"),
    ("unreid", ["cluster", "--help"], 0, "unreid cluster features.parquet"),
    ("unreid", ["cluster", "no.npz", "-o", "i.csv"], 2, "no feature table no.npz"),
    ("unreid", ["cluster", "odd", "-o", "i.csv"], 2, "say with --model"),
    ("unreid", ["cluster", "no.npz", "-o", "i.txt"], 2, "ends in .csv"),
    ("unreid", ["cluster", "no.npz", "-o", "i.csv", "--camera-regex", "c(.)"], 2, "which needs no --camera-regex"),
    ("unreid", ["cluster", "no.npz", "-o", "i.csv", "--config-file", MARKET], 2, "which needs no --config-file"),
    ("unreid", ["cluster", "no.npz", "-o", "i.csv", "--eps", "wide"], 2, "--eps is a positive number"),
    ("unreid", ["assign", "--help"], 0, "unreid assign new/"),
    ("unreid", ["assign", "no.npz", "--features", "f.npz", "--identities", "i.csv", "-o", "o.csv"], 2, "f.npz"),
    ("unreid", ["index", "--help"], 0, "unreid index features.parquet"),
    ("unreid", ["index", "no.npz", "-o", "odd"], 2, "odd exists and is no index"),
    ("unreid", ["search", "--help"], 0, "unreid search gallery.index"),
    ("unreid", ["search", "nowhere.index", "odd"], 2, "no index nowhere.index"),
    ("unreid", ["search", "no.npz", "odd", "-k", "0"], 2, "-k must be between"),
    ("unreid", ["export", "--help"], 0, "unreid export logs/market"),
    ("unreid", ["export", "resnet50", "-o", "model.tflite"], 2, "ends in none of .onnx"),
    ("unreid", ["export", "resnet50", "-o", "m.onnx", "--device", "cuda"], 2, "unrecognized arguments: --device"),
    ("unreid", ["export", "nowhere.pth", "-o", "model.torchscript"], 2, "There is no model nowhere.pth"),
    ("unreid", ["review", "--help"], 0, "unreid review logs/ClusterContrast_market --open"),
    ("unreid", ["review", "nowhere"], 2, "RUN: nowhere cannot be read"),
    ("unreid", ["review", "odd"], 2, "odd is not the folder of a finished run: it lacks config.yaml"),
    ("unreid", ["review", "some.pth", "--port", "70000"], 2, "--port takes a number from 0 to 65535"),
    ("unreid", ["review", "some.pth", "--set", "SEED", "1"], 2, "only the folder of a run has a config"),
    ("unreid", ["review", "some.pth", "--features", "no.npz"], 2, "--features: no.npz cannot be read"),
    ("unreid", ["review", "some.pth", "--store", "empty.pth/r.sqlite"], 2, "empty.pth is no folder"),
    ("unreid", ["list"], 0, "hook"),
    ("unreid", ["list", "hoks"], 2, "Did you mean 'hooks'"),
    ("unreid", ["list", "hooks", "--plugins", "nowhere.py"], 2, "nowhere.py"),
    ("demo", ["--help"], 0, "exit status"),
    ("demo", ["OPTIM.LRR", "1"], 2, "did you mean OPTIM.LR"),
    ("render_dataset", ["--help"], 0, "market1501"),
    ("render_dataset", ["--layout", "x", "--out", "out"], 2, "no layout 'x'"),
    ("render_dataset", ["--layout", "market1501", "--out", "empty.pth"], 2, "empty.pth is no folder"),
    ("mine_constraints", ["--help"], 0, "--sts-from"),
    ("mine_constraints", ["--config-file", "nowhere.yml"], 2, "nowhere.yml"),
    ("mine_constraints", ["--config-file", RENDERED, "--level", "x"], 2, "invalid choice"),
    ("mine_constraints", ["--bin", "0", "--config-file", RENDERED], 2, "--bin"),
    ("mine_constraints", ["--sts-from", "no.npz", "--config-file", RENDERED], 2, "no.npz cannot be read"),
    ("mine_constraints", ["--config-file", RENDERED, "PICKLE_PATH", "empty.pth"], 2, "empty.pth is no folder"),
    ("mine_constraints", ["--config-file", MARKET, "DATASETS.ROOT", "nowhere"], 2, "was not found"),
    ("mine_constraints", ["--convert", "x.pickle", "--config-file", RENDERED], 2, "is none of"),
    ("convert_checkpoint", ["--help"], 0, "--trust"),
    ("convert_checkpoint", ["--in", "nowhere.pth", "--out", "o.pth"], 2, "nowhere.pth cannot be read"),
    ("convert_checkpoint", ["--in", "some.pth", "--out", "."], 2, "name a file in it"),
    ("convert_checkpoint", ["--in", "some.pth", "--out", "o.pth", "--to", "x"], 2, "invalid choice"),
]

# The same of names that scikit-learn is asked about, which imports SciPy.
ASKING_SCIKIT_LEARN = [
    ("main", ["--config-file", RENDERED, "CLUSTER.NAME", "sklearn/HDBSCN"], 2, "Did you mean sklearn/HDBSCAN"),
    ("main", ["--config-file", RENDERED, "CLUSTER.WARMUP.NAME", "sklearn/"], 2, "no clusterer ''"),
    ("main", [*HDBSCAN, "[min_size=3]"], 2, "HDBSCAN takes no min_size; did you mean"),
    ("main", [*HDBSCAN, "[min_cluster_size]"], 2, "texts such as min_cluster_size=5"),
]

PROBE = """
import contextlib, io, json, runpy, sys, time
commands = json.load(sys.stdin)
answers = []
for tool, words in commands:
    out, started = io.StringIO(), time.process_time()
    sys.argv = [tool, *words]
    status = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            if tool == "unreid":
                from unreid.engine.cli import main
                status = main(words)
            else:
                runpy.run_path(f"{sys.path[0]}/tools/{tool}.py", run_name="__main__")
        except SystemExit as stop:
            status = stop.code
    heavy = [name for name in ("torch", "torchvision", "cv2", "scipy", "faiss", "matplotlib") if name in sys.modules]
    answers.append([status, out.getvalue(), heavy, time.process_time() - started])
print(json.dumps(answers))
"""


@pytest.mark.parametrize(
    "commands, allowed, limit", [(COMMANDS, [], 1), (ASKING_SCIKIT_LEARN, ["scipy"], 3)], ids=["most", "scikit-learn"]
)
def test_every_such_answer_comes_without_torch_and_writes_nothing(
    tmp_path: Path, commands: list, allowed: list[str], limit: float
) -> None:
    (tmp_path / "empty.pth").touch()
    (tmp_path / "some.pth").write_bytes(b"bytes")
    (tmp_path / "odd" / "metrics.jsonl").mkdir(parents=True)
    for folder in ("done", "seeds/seed_2"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "results.json").write_text('{"finished": true}')
    before = sorted(tmp_path.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{PROBE}"],
        input=json.dumps([[tool, words] for tool, words, _, _ in commands]),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr
    for (tool, words, status, part), (found, said, heavy, seconds) in zip(commands, json.loads(done.stdout)):
        command = f"{tool} {' '.join(words)}: {said}"
        assert found == status, command
        assert part in said, command
        assert heavy == allowed, command
        assert "Traceback" not in said, command
        assert status == 0 or len(said.strip().splitlines()) == 1 or said.startswith("usage:"), command
        assert seconds < limit, f"{seconds:.2f} s of CPU time for {command}"
    assert sorted(tmp_path.rglob("*")) == before


def test_the_list_of_names_is_the_registries() -> None:
    """In a process of its own: other tests register parts."""
    script = "import json; from unreid.engine.kinds import registered; print(json.dumps(registered()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert json.loads(OWN_NAMES.read_text()) == json.loads(done.stdout), "run make docs"
    assert [kind for kind, entry in KINDS.items() if entry.load().kind != kind] == []


def test_every_registry_of_the_package_has_a_kind() -> None:
    source = "".join(path.read_text() for path in (ROOT / "unreid").rglob("*.py") if path.name != "registry.py")
    found = set(re.findall(r'Registry\("([A-Za-z -]+)"\)', source)) - {"kind of part"}
    assert found == set(KINDS)


def test_the_layouts_of_checkpoints_are_those_that_can_be_converted() -> None:
    from unreid.models import checkpoint_keys, convert

    assert (*checkpoint_keys.LAYOUTS, *checkpoint_keys.ALIASES) == CHECKPOINT_LAYOUTS
    assert FORMAT == convert.FORMAT


def test_the_levels_of_mining_are_those_of_the_miner() -> None:
    from unreid.constraints import mining
    from unreid.engine.commands import mine
    from unreid.engine.mining import options

    assert options.LEVELS == mining.LEVELS
    from unreid.constraints import loading

    kinds = {loading.CANNOT_LINK, loading.OVERLAP, loading.SAME_CAMERA, loading.SPATIO_TEMPORAL}
    assert set(mine.KINDS.values()) == kinds


@pytest.mark.parametrize("update", ["cm_hybird_v5", "v2"])
def test_update_rules_are_looked_up_where_the_memory_does(update: str) -> None:
    check_names(load_config(None, ["MEMORY.NAME", "diversity_memory", "MEMORY.UPDATE", update]))
    with pytest.raises(UserError, match="no memory update rule"):
        check_names(load_config(None, ["MEMORY.UPDATE", "v3"]))


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["OPTIM.EPOCHS", "5", "TEST.SELECT", "round:4"], ""),
        (["OPTIM.EPOCHS", "5", "TEST.SELECT", "round:5"], "there are 5 rounds"),
        (["OPTIM.EPOCHS", "5", "WARMUP.EPOCHS", "2", "TEST.SELECT", "round:2"], ""),
        (["OPTIM.EPOCHS", "5", "WARMUP.EPOCHS", "2", "TEST.SELECT", "round:3"], "there are 3 rounds"),
        (["OPTIM.EPOCHS", "6", "CLUSTER.EVERY", "2", "TEST.SELECT", "round:1"], ""),
        (["OPTIM.EPOCHS", "6", "CLUSTER.EVERY", "2", "TEST.SELECT", "round:2"], "choose one such as round:3"),
        (["METHOD.NAME", "BUC", "METHOD.BUC.ROUNDS", "4", "TEST.SELECT", "round:4"], "there are 4 rounds"),
        (["METHOD.NAME", "buc", "TEST.SELECT", "round:18"], ""),
        (["METHOD.NAME", "buc", "TEST.SELECT", "round:19"], "there are 19 rounds"),
        (["METHOD.NAME", "OfAPlugin", "TEST.SELECT", "round:190"], ""),
    ],
)
def test_a_round_that_is_selected_is_one_that_ends(overrides: list[str], problem: str) -> None:
    cfg = load_config(None, overrides)
    if not problem:
        check_selected_round(cfg)
        return
    with pytest.raises(UserError, match=problem):
        check_selected_round(cfg)


def test_rounds_of_buc_are_counted_as_it_counts_them() -> None:
    from unreid.clustering.bottom_up import num_rounds

    for percent in (0.05, 0.1, 0.2, 0.3, 0.04, 0.6, 0.9):
        cfg = load_config(None, ["METHOD.NAME", "BUC", "METHOD.BUC.MERGE_PERCENT", percent])
        assert planned_rounds(cfg) == num_rounds(percent), percent


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["DATALOADER.TRAIN_BATCH_SIZE", "20", "DATALOADER.NUM_INSTANCE", "4"], "DATALOADER.TRAIN_BATCH_SIZE 20"),
        (["WARMUP.EPOCHS", "1", "WARMUP.BATCH_SIZE", "10"], "WARMUP.BATCH_SIZE 10"),
        (["MODEL.BN_CHUNKS", "4"], "MODEL.BN_CHUNKS 4"),
    ],
)
def test_what_the_processes_share_can_be_divided(overrides: list[str], key: str) -> None:
    cfg = load_config(None, overrides)
    check_shares(cfg, 1)
    with pytest.raises(UserError, match=f"{key} is not a multiple of the 8 processes"):
        check_shares(cfg, 8)


def test_a_package_that_is_missing_or_broken_is_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "infomap.py").write_text("raise ImportError('made for another numpy')")
    monkeypatch.delitem(sys.modules, "infomap", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    cfg = load_config(None, ["CLUSTER.NAME", "Infomap", "LOG.TENSORBOARD", "False"])
    check_packages(cfg)
    with pytest.raises(UserError, match="CLUSTER.NAME Infomap needs .* made for another numpy.*another clusterer"):
        check_packages(cfg, load=True)
    for package, overrides in {
        "tensorboard": [],
        "timm": ["MODEL.BACKBONE.NAME", "vit_small"],
        "faiss": ["CLUSTER.KNN.BACKEND", "faiss_ivf"],
    }.items():
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            with pytest.raises(UserError, match=f"the package {package}, which is not installed"):
                check_packages(load_config(None, overrides))
