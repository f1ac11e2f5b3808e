"""Transfer from one config: adaptation with a labelled source, fine-tuning from a file, no label of the target."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.engine.stored import load_run
from tests.models.test_osnet import onnx_file, torchreid_state
from unreid.config import CfgNode
from unreid.data.datasets import Synthetic, SyntheticSource
from unreid.engine.preflight import check_start
from unreid.engine.run import run
from unreid.models.base import create_backbone
from unreid.utils.errors import UserError

MakeConfig = Callable[..., CfgNode]
UDA = "SpCL_UDA_synthetic.yml"
SHORT = ("WARMUP.EPOCHS", "0", "OPTIM.EPOCHS", "2", "DATALOADER.ITERS", "2")


def weights(cfg: CfgNode) -> dict[str, torch.Tensor]:
    return load_run(Path(cfg.OUTPUT_DIR) / "checkpoint.pth")["model"]


def shuffle_training_identities(monkeypatch: pytest.MonkeyPatch, kind: type[Synthetic]) -> None:
    parse = kind._parse

    def shuffled(self: Any, split: str) -> Any:
        tracklets, pids = parse(self, split)
        if split == "train" and type(self) is kind:
            pids = np.random.default_rng(0).permutation(pids).tolist()
        return tracklets, pids

    monkeypatch.setattr(kind, "_parse", shuffled)


def test_labels_of_the_target_are_never_used_and_those_of_the_source_are(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = small_config(*SHORT, file=UDA, output="plain")
    results = run(plain)
    assert results["finished"] and 0 < results["last"]["Synthetic"]["mAP"] <= 100
    first = weights(plain)
    assert any(".source." in key for key in first)
    for kind, same in ((Synthetic, True), (SyntheticSource, False)):
        with monkeypatch.context() as patch:
            shuffle_training_identities(patch, kind)
            other = small_config(*SHORT, file=UDA, output=kind.name)
            run(other)
        second = weights(other)
        assert all(torch.equal(first[key], second[key]) for key in first) == same, kind.name


def test_an_adapted_network_is_an_ordinary_one(small_config: MakeConfig) -> None:
    """Its checkpoint is resumed bit for bit, scored without a source, and a start for fine-tuning."""
    whole = small_config(*SHORT, file=UDA, output="whole")
    last = run(whole)["last"]["Synthetic"]
    checkpoint = str(Path(whole.OUTPUT_DIR) / "checkpoint.pth")
    scored = run(
        small_config("TEST.EVAL_ONLY", "True", "RESUME", checkpoint, "WARMUP.EPOCHS", "0", file="SpCL_synthetic.yml")
    )
    assert scored["Synthetic"] == pytest.approx(last)
    tuned = small_config(
        *("MODEL.INIT_PATH", checkpoint, "MODEL.RECALIBRATE_BN", "0", "TEST.EVAL_START", "True", "OPTIM.EPOCHS", "1"),
        *("MODEL.INIT_NETWORK", "True", "MODEL.POOLING.STRIPES", "1", "MODEL.BACKBONE.WIDTH", "8"),
        file="transfer_synthetic.yml",
        output="tuned",
    )
    results = run(tuned)
    assert results["initial"]["Synthetic"] == pytest.approx(last), "the network is the file's, whatever MODEL says"
    assert results["last"]["epoch"] == 1
    longer = small_config(*SHORT, "OPTIM.EPOCHS", "3", "RESUME", checkpoint, file=UDA, output="longer")
    assert run(longer)["last"]["epoch"] == 3


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("DATASETS.SOURCES", "Synthetic"), "twice: Synthetic"),
        (("DATASETS.SOURCES", "[]"), r"needs a labelled source"),
        (("METHOD.NAME", "SpCL"), r"SpCL learns without any label.*SpCL_UDA"),
        (("DATASETS.SOURCES", "Marked1501"), "Marked1501"),
        (("MODEL.SYNC_BN", "True", "MODEL.BN_CHUNKS", "1"), "SYNC_BN and MODEL.DOMAIN_BN exclude"),
    ],
)
def test_contradictions_are_one_sentence(small_config: MakeConfig, overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        cfg = small_config(*SHORT, *overrides, file=UDA)
        check_start(cfg)
        run(cfg)


@pytest.mark.parametrize("ending", ["pth", "onnx"])
def test_a_public_person_network_is_tuned_without_labels(small_config: MakeConfig, tmp_path: Path, ending: str) -> None:
    """The checkpoint and its export, whose norms are folded away, start from one network, train and resume."""
    file = tmp_path / f"osnet_x0_25_msmt17.{ending}"
    state = torchreid_state("osnet_x0_25")
    if ending == "pth":
        torch.save({"state_dict": state, "epoch": 60}, file)
    else:
        onnx_file(file, state, create_backbone("osnet_x0_25"))
    network = (
        *("MODEL.BACKBONE.NAME", "osnet_x0_25", "MODEL.BACKBONE.LAST_STRIDE", "0", "MODEL.BACKBONE.PRETRAIN", "False"),
        *("MODEL.EMBED_DIM", "512", "MODEL.BN_BIAS", "True"),
    )
    same = ("MODEL.RECALIBRATE_BN", "0", "MODEL.POOLING.NAME", "avg", "MODEL.POOLING.STRIPES", "1")
    settings = (*network, *same, *SHORT, "MODEL.INIT_PATH", str(file), "TEST.EVAL_START", "True")
    cfg = small_config(*settings, file="transfer_synthetic.yml", output=f"from_{ending}")
    results = run(cfg)
    scored = run(small_config(*network, *same, "RESUME", str(file), "TEST.EVAL_ONLY", "True", output="scored"))
    assert results["initial"]["Synthetic"] == pytest.approx(scored["Synthetic"], abs=1e-2)
    assert results["last"]["epoch"] == 2
    checkpoint = str(Path(cfg.OUTPUT_DIR) / "checkpoint.pth")
    longer = small_config(
        *settings, "OPTIM.EPOCHS", "3", "RESUME", checkpoint, file="transfer_synthetic.yml", output=f"longer_{ending}"
    )
    assert run(longer)["last"]["epoch"] == 3
