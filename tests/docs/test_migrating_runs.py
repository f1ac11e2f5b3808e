"""Our lines in docs/migrating.md run, on data in the layouts and files in the forms of the repositories."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet as tv

from tests.docs.blocks import DOCS
from tests.models.reference_nets import random_state
from tests.models.test_checkpoint_keys import as_published
from unreid.config import load_config
from unreid.engine.cli import main
from unreid.models.base import create_backbone
from unreid.models.checkpoint_keys import export_state_dict
from unreid.models.embedding import EmbeddingModel
from unreid.rendering.layouts import render_layout

TEXT = (DOCS / "migrating.md").read_text(encoding="utf-8")
LINE = re.compile(r"^ {4,6}(?:torchrun --nproc_per_node=\d+ |python )?((?:tools/\w+\.py|unreid) .+)$", re.M)
COMMANDS = {"tools/main.py": "train", "tools/mine_constraints.py": "mine", "tools/convert_checkpoint.py": "convert"}
LAYOUTS = {
    "Market1501": "market1501",
    "DukeMTMCreID": "dukemtmcreid",
    "MARS": "mars",
    "DukeMTMCVideoReID": "dukevideo",
}
SMALL = [
    *("INPUT.SIZE_TRAIN", "[32, 16]", "INPUT.SIZE_TEST", "[32, 16]", "INPUT.PADDING", "2"),
    *("DATALOADER.NUM_WORKERS", "0", "LOG.TENSORBOARD", "False", "LOG.CLUSTER_IMAGES", "0", "OVERWRITE", "True"),
]
"""What a network must be told in any case: a size that a test has time for."""
SHORT = [
    *(
        "OPTIM.EPOCHS",
        "1",
        "DATALOADER.ITERS",
        "1",
        "DATALOADER.ITERS_CLUSTER_MULTIPLIER",
        "-1.0",
        "WARMUP.EPOCHS",
        "0",
    ),
    *("METHOD.BUC.EPOCHS_FIRST", "1", "METHOD.BUC.EPOCHS_LATER", "1", "METHOD.BUC.ROUNDS", "1", "TEST.SELECT", "last"),
    *("DATALOADER.TRAIN_SEQ_LEN", "2"),
    *("DATALOADER.TRAIN_BATCH_SIZE", "8", "DATALOADER.NUM_INSTANCE", "2", "MODEL.BN_CHUNKS", "1"),
    *("MODEL.BACKBONE.PRETRAIN", "False", "TEST.EVAL_START", "False"),
    *("CLUSTER.RHO", "0.1", "CLUSTER.NUM_CLUSTERS", "4", "CLUSTER.MIN_SIZE", "2", "CLUSTER.WARMUP.ROUNDS", "0"),
]


def lines() -> list[str]:
    """Our commands of the page, in order."""
    return LINE.findall(TEXT.replace("\\\n", " "))


def trains(line: str) -> bool:
    return line.startswith("tools/main.py") and "TEST.EVAL_ONLY" not in line


class Published:
    """The files of the page, written when a line first names them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str) -> None:
        target = self.folder / name
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            torch.save(FILES[name](), target)


def wrapped(repository: str, variant: str) -> Callable[[], Any]:
    return lambda: as_published(repository, random_state(variant))


def named(prefix: str, module: nn.Module | dict[str, Tensor]) -> dict[str, Tensor]:
    state = module if isinstance(module, dict) else module.state_dict()
    return {f"{prefix}{key}": value for key, value in state.items()}


def resnet50() -> tv.ResNet:
    net = tv.resnet50()
    del net.fc
    return net


def spcl_uda() -> Any:
    """DataParallel, and every batch norm twice."""
    numbers = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    state: dict[str, Tensor] = {}
    for key, value in resnet50().state_dict().items():
        first, _, rest = key.partition(".")
        owner, _, last = f"module.base.{numbers[first]}.{rest}".rpartition(".")
        norm = "bn" in key or "downsample.1" in key
        state |= {f"{owner}.{domain}{last}": value for domain in (("BN_S.", "BN_T.") if norm else ("",))}
    neck = nn.BatchNorm1d(2048)
    return {"state_dict": state | named("module.feat_bn.BN_S.", neck) | named("module.feat_bn.BN_T.", neck), "epoch": 9}


def openunreid() -> Any:
    """A network and its mean, which is the one that is evaluated."""
    both = {}
    for net in ("net", "mean_net"):
        both |= named(f"module.{net}.backbone.", resnet50())
        both |= named(f"module.{net}.head.feat_bn.", nn.BatchNorm1d(2048))
    return {"state_dict": both, "epoch": 50, "best_mAP": 0.7}


def torchreid(network: str = "osnet_x1_0") -> Any:
    model = EmbeddingModel(create_backbone(network), embed_dim=512, bn_bias=True, neck_relu=True)
    state = export_state_dict(model.state_dict(), "torchreid")
    state = state.get("state_dict", state)
    return {"state_dict": named("module.", state) | {"module.classifier.weight": torch.ones(9, 512)}, "rank1": 0.9}


def fastreid() -> Any:
    state = named("backbone.", resnet50()) | named("heads.bottleneck.0.", nn.BatchNorm1d(2048))
    state |= {"heads.weight": torch.ones(9, 2048), "pixel_mean": torch.full((1, 3, 1, 1), 120.0)}
    return {"model": state | {"pixel_std": torch.full((1, 3, 1, 1), 58.0)}, "iteration": 100}


FILES: dict[str, Callable[[], Any]] = {
    "auxusl_mars.pth": wrapped("AuxUSL", "resnet50_auxusl_clip4"),
    "buc_market.pth": wrapped("BUC", "resnet50_buc_image"),
    "cdsm_market.pth.tar": wrapped("CDSM", "resnet50_cdsm_gem"),
    "ise_market.pth.tar": wrapped("ISE", "resnet50_ise_avg"),
    "ccc_market.pth": wrapped("3C", "resnet50_3c_gem"),
    "cc_market.pth.tar": wrapped("ClusterContrast", "resnet50_cdsm_gem"),
    "spcl_market.pth.tar": wrapped("ISE", "resnet50_ise_avg"),
    "spcl_uda.pth.tar": spcl_uda,
    "openunreid.pth": openunreid,
    "osnet_x1_0_msmt17.pth": torchreid,
    "market_bot_R50.pth": fastreid,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``data/`` and ``theirs/`` as the page has them."""
    folder = tmp_path_factory.mktemp("migrating")
    for layout in LAYOUTS.values():
        render_layout(layout, folder / "data", ids=4, cameras=2, images=3, size=(32, 16), workers=1)
    return folder


def test_every_repository_has_its_lines() -> None:
    sections = dict(zip(*[iter(re.split(r"^## (.+)$", TEXT, flags=re.M)[1:])] * 2))
    assert len(sections) == 9
    for title, text in sections.items():
        ours = LINE.findall(text)
        assert any(trains(line) for line in ours), f"{title}: nothing trains"
        assert any("theirs/" in line for line in ours), f"{title}: no checkpoint of theirs is used"
        comments = re.findall(r"^    # .+\n(?=    \S)", text, re.M)
        assert len(comments) >= len(ours) - 1 and "What differs" in text, title


def test_every_file_of_the_page_is_made() -> None:
    assert set(re.findall(r"theirs/([\w.]+)", TEXT)) == set(FILES)


def is_slow(line: str) -> bool:
    """A ResNet-50 is written, read and run: ISE's stands for the others where there is no time."""
    large = "theirs/" in line and "ise_market" not in line and not line.startswith("unreid extract")
    return large or line.startswith("tools/convert") or "resnet50" in line


@pytest.mark.parametrize(
    "line", [pytest.param(line, id=line[:70], marks=pytest.mark.slow if is_slow(line) else ()) for line in lines()]
)
def test_the_line_runs(line: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    publish = Published(place / "theirs")
    for name in re.findall(r"theirs/([\w.]+)", line):
        publish(name)
    program, *words = shlex.split(line, comments=True)
    command = words.pop(0) if program == "unreid" else COMMANDS[program]
    if command in ("train", "mine"):
        words += SMALL
    if trains(line):
        words += [*SHORT, *small_start(words)]
    if command in ("extract", "export"):
        words += ["--set", "INPUT.SIZE_TEST", "[32, 16]", "--overwrite"]
    assert main([command, *words]) == 0
    if "TEST.EVAL_ONLY" in words:
        output = load_config(Path(words[1]).name, words[2:]).OUTPUT_DIR
        assert (place / output / "evaluation.json").is_file()


def small_start(words: list[str]) -> list[str]:
    """A small network, where the line names none, and labels for one that has learnt nothing on 24 images."""
    cfg = load_config(Path(words[1]).name)
    few = ["CLUSTER.K1", "6", "CLUSTER.K2", "2", "CLUSTER.MIN_SAMPLES", "2"]
    if "MODEL.BACKBONE.NAME" not in words and "MODEL.INIT_NETWORK" not in words:
        few += ["MODEL.BACKBONE.NAME", "resnet_tiny"]  # whose ResNet-50 would be written to disk with its optimiser
    if cfg.METHOD.NAME == "AuxUSL":
        few += ["CLUSTER.FEATURE", "l2"]  # raw features of random weights are all at Jaccard distance 0
    return few
