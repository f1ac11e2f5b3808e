"""What can be known before a run begins: asked first, and without importing torch, which takes seconds.

What needs the data or the network is asked while both are built, which also happens before anything is written.
"""

from __future__ import annotations

import importlib
import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unreid.config import CfgNode
from unreid.engine.folder import AUTO, RunFolder, check_writable
from unreid.engine.kinds import own_names
from unreid.engine.names import check_names
from unreid.utils.errors import UserError
from unreid.utils.packages import require_packages
from unreid.utils.pixels import TIMM
from unreid.utils.plugins import import_plugins
from unreid.utils.registry import fold
from unreid.utils.shipped_weights import locate_weights, shipped_names

logger = logging.getLogger(__name__)

TRACKERS = {"wandb": "wandb", "w&b": "wandb", "mlflow": "mlflow"}
"""Names in ``LOG.WRITERS`` -> the package that they need."""


def run_folder(cfg: CfgNode) -> RunFolder:
    """``OUTPUT_DIR`` of a run."""
    evaluation = cfg.TEST.EVAL_ONLY
    return RunFolder(cfg.OUTPUT_DIR, resume=cfg.RESUME, overwrite=cfg.OVERWRITE, evaluation=evaluation)


def check_start(cfg: CfgNode) -> None:
    """Whether a run of this config can begin; nothing is written.

    Raises:
        UserError: a name that nothing is registered under, a package, file or folder that is missing, a batch that the
            processes cannot share, a round that there will not be, or a folder that another run is using or has left.
    """
    check_parts(cfg)
    if cfg.TEST.EVAL_ONLY and not cfg.RESUME:
        raise UserError("TEST.EVAL_ONLY needs a checkpoint: add RESUME path/to/checkpoint.pth.")
    check_packages(cfg)
    check_weight_files(cfg)
    for path in () if cfg.TEST.EVAL_ONLY else cfg.CLUSTER.REVIEW:
        check_file(path, "CLUSTER.REVIEW")
    if not cfg.TEST.EVAL_ONLY:
        check_shares(cfg, int(os.environ.get("WORLD_SIZE", "1")))
        check_selected_round(cfg)
        check_sources(cfg)
    folder = run_folder(cfg)
    folder.check()
    if cfg.TEST.EVAL_ONLY and cfg.RESUME == AUTO and folder.newest() is None:
        raise UserError(f"TEST.EVAL_ONLY with RESUME {AUTO}: there is no checkpoint.pth in {cfg.OUTPUT_DIR}.")
    check_datasets(cfg)


def check_parts(cfg: CfgNode) -> None:
    """Imports ``PLUGINS`` and looks up the name of every part; without plug-ins torch is not needed for that."""
    import_plugins(cfg.PLUGINS)
    check_names(cfg, plugins=bool(cfg.PLUGINS))


def needed_packages(cfg: CfgNode) -> list[tuple[str, str, str]]:
    """(what asks for it, package, what to do without it) of the optional packages that a run of this config imports."""
    cluster, backbone = cfg.CLUSTER, cfg.MODEL.BACKBONE.NAME
    needed = []
    if backbone.lower().startswith(("vit", TIMM)):
        needed.append((f"MODEL.BACKBONE.NAME {backbone}", "timm", "choose another backbone"))
    if cfg.TEST.EVAL_ONLY:
        return needed
    if cfg.LOG.TENSORBOARD:
        needed.append(("LOG.TENSORBOARD", "tensorboard", "set LOG.TENSORBOARD False"))
    for name in cfg.LOG.WRITERS:
        package = TRACKERS.get(fold(name))
        if package:
            needed.append((f"LOG.WRITERS {name}", package, f"take {name} out of LOG.WRITERS"))
    if "infomap" in (fold(cluster.NAME), fold(cluster.WARMUP.NAME)):
        needed.append(("CLUSTER.NAME Infomap", "infomap", "choose another clusterer"))
    if cluster.KNN.BACKEND.lower().startswith("faiss"):
        needed.append((f"CLUSTER.KNN.BACKEND {cluster.KNN.BACKEND}", "faiss", "set CLUSTER.KNN.BACKEND torch"))
    return needed


def check_packages(cfg: CfgNode, *, load: bool = False) -> None:
    """Raises :class:`UserError` if an optional package that the config needs is not installed.

    Args:
        load: import them too: a package can be there and broken.
    """
    for asker, package, instead in needed_packages(cfg):
        require_packages(asker, package, way_out=f"install it, or {instead}")
        if load:
            try:
                importlib.import_module(package)
            except Exception as error:
                raise UserError(
                    f"{asker} needs the package {package}, which cannot be imported ({type(error).__name__}: {error}): "
                    f"mend it, or {instead}."
                ) from error


def check_weight_files(cfg: CfgNode) -> None:
    """The one file that the network starts from: ``RESUME``, else ``MODEL.INIT_PATH``, else the backbone's."""
    backbone = cfg.MODEL.BACKBONE
    if cfg.RESUME and cfg.RESUME != AUTO:
        check_weights(cfg.RESUME, "RESUME")
    elif cfg.TEST.EVAL_ONLY:
        return
    elif cfg.MODEL.INIT_PATH:
        check_weights(cfg.MODEL.INIT_PATH, "MODEL.INIT_PATH")
    elif backbone.PRETRAIN and backbone.PRETRAIN_PATH:
        check_weights(backbone.PRETRAIN_PATH, "MODEL.BACKBONE.PRETRAIN_PATH")


def check_weights(named: str, key: str) -> None:
    """As :func:`check_file`, where the bare name of a network that comes with the package will do as well."""
    path = locate_weights(named)
    if not path.suffix and str(path) == path.name and not os.path.exists(path):
        raise UserError(
            f"{key}: there is neither a file {named} nor a network of that name in the package; its networks are "
            f"{', '.join(shipped_names())}."
        )
    check_file(str(path), key)


def check_file(path: str, key: str) -> None:
    """Raises :class:`UserError` unless ``path`` is a file that can be opened and is not empty."""
    try:
        if not Path(path).exists():
            raise UserError(f"{key}: {path} cannot be read: there is no such file.")
        if not Path(path).is_file():
            raise UserError(f"{key}: {path} cannot be read: it is no file.")
        with open(path, "rb") as file:
            if not file.read(1):
                raise UserError(f"{key}: {path} cannot be read: it is empty.")
    except (OSError, ValueError) as error:
        raise UserError(f"{key}: {path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None


def check_shares(cfg: CfgNode, processes: int) -> None:
    """Raises :class:`UserError` unless a batch and its BN chunks can be divided among the processes."""
    batches = [("DATALOADER.TRAIN_BATCH_SIZE", cfg.DATALOADER.TRAIN_BATCH_SIZE)]
    if cfg.WARMUP.EPOCHS:
        batches.append(("WARMUP.BATCH_SIZE", cfg.WARMUP.BATCH_SIZE))
    if cfg.MODEL.BN_CHUNKS > 1:
        batches.append(("MODEL.BN_CHUNKS", cfg.MODEL.BN_CHUNKS))
    for key, value in batches:
        if value % processes:
            raise UserError(f"{key} {value} is not a multiple of the {processes} processes.")


def check_sources(cfg: CfgNode) -> None:
    """Raises :class:`UserError` if what learns from a labelled source has none, or a method of ours cannot use one."""
    sources, name = cfg.DATASETS.SOURCES, cfg.METHOD.NAME
    adapting = fold(name) == "spcluda"
    if cfg.MODEL.DOMAIN_BN and not sources:
        raise UserError("MODEL.DOMAIN_BN needs a labelled source: set DATASETS.SOURCES, or switch it off.")
    if adapting and not sources:
        raise UserError(f"METHOD.NAME {name} needs a labelled source: set DATASETS.SOURCES.")
    if sources and not adapting and name in own_names("method"):
        raise UserError(
            f"{name} learns without any label and has no use for DATASETS.SOURCES: leave it empty, or set METHOD.NAME "
            "SpCL_UDA."
        )


def check_selected_round(cfg: CfgNode) -> None:
    """Raises :class:`UserError` if ``TEST.SELECT round:N`` names a round that never ends."""
    if not cfg.TEST.SELECT.startswith("round:") or cfg.METHOD.NAME not in own_names("method"):
        return  # how many rounds a plug-in's method has is its own business
    chosen = int(cfg.TEST.SELECT.removeprefix("round:"))
    rounds = planned_rounds(cfg)
    if chosen >= rounds:
        raise UserError(f"TEST.SELECT round:{chosen}: there are {rounds} rounds, counted from 0.")
    every = cfg.CLUSTER.EVERY
    if (chosen + 1) % every:
        raise UserError(
            f"TEST.SELECT round:{chosen}: with CLUSTER.EVERY {every} labels live on after that round; choose one such "
            f"as round:{every * (chosen // every + 1) - 1}."
        )


def planned_rounds(cfg: CfgNode) -> int:
    """Rounds of labelling and training after the warm-up."""
    if fold(cfg.METHOD.NAME) == "buc":
        return cfg.METHOD.BUC.ROUNDS or max(1, math.floor(1 / cfg.METHOD.BUC.MERGE_PERCENT + 1e-9) - 1)
    return max(cfg.OPTIM.EPOCHS - cfg.WARMUP.EPOCHS, 0)


def check_datasets(cfg: CfgNode) -> None:
    """Looks for the folder of every dataset; a rendered one is only asked where it would go.

    Raises:
        UserError: an unknown dataset, or its folder or a part of it is missing.
    """
    from unreid.data.datasets import DATASETS, Synthetic, SyntheticVideo, build_dataset

    names = [] if cfg.TEST.EVAL_ONLY else [*cfg.DATASETS.NAMES, *cfg.DATASETS.SOURCES]
    for name in dict.fromkeys([*names, *(cfg.DATASETS.TESTS or cfg.DATASETS.NAMES)]):
        if issubclass(DATASETS.get(name), (Synthetic, SyntheticVideo)):
            root = Path(cfg.DATASETS.ROOT)
            if not any(root.glob("synthetic-*/")):  # it may have been rendered by somebody else
                check_writable(root, "DATASETS.ROOT")
        else:
            with _unheard():
                build_dataset(name, cfg)


@contextmanager
def _unheard() -> Iterator[None]:
    """Without the log: what is said when a dataset is found will be said when it is read."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
