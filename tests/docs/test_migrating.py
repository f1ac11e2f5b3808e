"""docs/migrating.md is complete, and what it promises is so: old keys are accepted, new ones exist."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.config.test_auxusl_keys import ALL_DEFAULTS
from tests.docs.blocks import DOCS
from unreid.config import load_config
from unreid.config.keys import FORMER
from unreid.config.node import find
from unreid.config.renamed import RENAMED, successor
from unreid.memory import DIVERSITY_MODES, UPDATE_RULES

TEXT = (DOCS / "migrating.md").read_text()
SECTIONS = dict(zip(*[iter(re.split(r"^## (.+)$", TEXT, flags=re.M)[1:])] * 2))
HERE = [row.rstrip("| ").rsplit("|", 1)[1] for row in TEXT.splitlines() if row.startswith("|") and "---" not in row]
KEY = r"[A-Z][A-Z0-9_]*(?:\.[A-Z0-9_]+)+"

FLAGS = {
    "BUC": """
        dataset batch-size fea arch data_dir logs_dir max_frames loss momentum step_size size_penalty merge_percent""",
    "CDSM": """
        dataset batch-size workers height width num-instances mem-instances eps eps-gap k1 k2 arch features dropout
        smooth hard-weight momentum temp pooling-type memorybank lr weight-decay epochs iters step-size seed print-freq
        eval-step data-dir logs-dir resume resume-ema rerank dsbn test-source embedding_features_path""",
    "ISE": """
        dataset batch-size workers height width num-instances eps eps-gap k1 k2 cluster-step arch features dropout
        momentum resume pretrained_path lr weight-decay epochs iters step-size seed print-freq eval-step save-step temp
        loss_weight data-dir logs-dir pooling-type use-hard sample-type use_support support_base_lambda topk
        temp_lp_loss lp_loss_weight rerank""",
    "3C": """
        notes arch resnet-pretrained root-dir dataset loss-with-camera pooling-type cm-mode seed warmup-with-dbscan
        warmup-version warmup-iters warmup-factor warmup-lr-factor height width cm-temperature cm-momentum batch-size
        num-instances num-workers no-cam rerank num-clusters dbscan-eps cluster-min-instances hdc-camera-version
        threshold hdc-similarity hdc-max-iter hdc-init hdc-normalize hdc-centroids hdc-outlier no-jaccard jaccard-k1
        jaccard-k2 num-epochs eval-start-epoch eval-step-epoch eval-and-ckpt eval-dist lr lr-weight-decay lr-steps
        lr-gamma iters ckpt-dir log-dir""",
}


@pytest.mark.parametrize("repository", FLAGS)
def test_every_flag_is_mapped(repository: str) -> None:
    left = " ".join(row.split("|")[1] for row in SECTIONS[repository].splitlines() if row.startswith("| `"))
    found = set(re.findall(r"`--([a-z0-9_-]+)`", left))
    assert found >= set(FLAGS[repository].split()) and not found - set(FLAGS[repository].split())


def test_every_key_of_auxuslreid_is_mapped_and_accepted() -> None:
    left = " ".join(row.split("|")[1] for row in SECTIONS["AuxUSLReID"].splitlines() if row.startswith("| `"))
    named = set(re.findall(r"`([\w.*]+)`", left))
    others = {"MEMORY.NUM_INSTANCES"}  # of earlier versions of this project
    for key in [
        *ALL_DEFAULTS,
        *RENAMED,
        *(old for old, new in FORMER.items() if find(load_config(), new) is not None and old not in others),
    ]:
        spellings = {key, key.replace("CHECKPOINT.", "CHECKPOING."), key.replace("_WEIGHT", "_WRIGHT")}
        spellings |= {key.replace("GPU_DEVICE", "GPU_Device"), f"{key.partition('.')[0]}.*"}
        assert named & spellings, f"{key} is not in the page"
    for key in named:
        assert find(load_config(), key) is not None or successor(key) is not None, key


@pytest.mark.parametrize("key", sorted({key for cell in HERE for key in re.findall(rf"`({KEY})(?: [^`]*)?`", cell)}))
def test_the_key_here_exists(key: str) -> None:
    assert find(load_config(), key) is not None


def test_settings_with_a_value_are_valid() -> None:
    pairs = re.findall(rf"`({KEY}) ([^` ]+)`", TEXT)
    assert len(pairs) >= 15
    for key, value in pairs:
        if value != "file":
            load_config(None, [key, value])


def test_configs_and_names_exist() -> None:
    for name in re.findall(r"configs/((?:AuxUSL|BUC|CDSM|ISE|CCC)_\w+\.yml)", TEXT):
        load_config(DOCS.parent / "configs" / name)
    rules: tuple[Any, ...] = ("all", "hard", "tccl", "chd", "cm", "cm_hard", "tccl_camera", "hd_camera")
    assert all(rule in UPDATE_RULES for rule in rules)
    assert all(
        mode in DIVERSITY_MODES for mode in ("cm", "cm_hard", "cm_hybrid", "v2", "v3", "v4", "v5", "CMhybird_v5")
    )
