"""The whole of ``unreid tune``: features, sweep, choice, and what is written about them."""

from __future__ import annotations

import logging
import sys
from typing import Any

import numpy as np

from unreid.config import CfgNode
from unreid.config.node import leaves
from unreid.config.shipped import locate, shipped_folder
from unreid.engine.tuning.choices import num_instances
from unreid.engine.tuning.judge import agreement, judged
from unreid.engine.tuning.options import Tuning
from unreid.engine.tuning.report import best_of_spaces, figure, table, write_config, write_csv
from unreid.engine.tuning.source import Source, from_config, from_file
from unreid.engine.tuning.sweep import Row, sweep
from unreid.evaluation.label_signs import camera_signs
from unreid.neighbors import PairGraphBuilder
from unreid.utils.errors import UserError
from unreid.utils.seed import seed_everything
from unreid.utils.writing import write_figure

logger = logging.getLogger(__name__)

SHOWN = 12


def tune(cfg: CfgNode, asked: Tuning) -> dict[str, Any]:
    """Sweeps, writes ``tune.csv``, ``tune.png`` and ``tune.yml`` and prints the choice.

    Returns:
        The chosen config keys and values.

    Raises:
        UserError: no features, or none of the choices gives clusters that mean anything.
    """
    seed_everything(cfg.SEED)
    if asked.features:
        source = from_file(asked.features, normalize=cfg.CLUSTER.FEATURE != "raw")
    else:
        source = from_config(cfg)
    count, width = source.features.shape
    cameras = 0 if source.camids is None else len(source.camids.unique())
    logger.info("%d samples, features of %d, %s", count, width, f"{cameras} cameras" if cameras else "no cameras")
    rows = sweep(
        source.features,
        source.camids,
        asked.values,
        PairGraphBuilder.from_config(cfg),
        subsets=asked.subsets,
        seed=cfg.SEED,
    )
    best = rows[0]
    if best.score <= 0:
        raise UserError(
            "No choice of the sweep gives clusters that are stable and apart from each other: the features do not tell "
            "the samples apart yet. Start from trained weights (MODEL.INIT_PATH, RESUME), or sweep other values (--k1, "
            "--eps)."
        )
    chosen = {**best.overrides(), "DATALOADER.NUM_INSTANCE": num_instances(best.sizes, cfg.DATALOADER.TRAIN_BATCH_SIZE)}
    _say(cfg, asked, source, rows, chosen)
    _write(asked, source, rows, chosen)
    return chosen


def _say(cfg: CfgNode, asked: Tuning, source: Source, rows: list[Row], chosen: dict[str, Any]) -> None:
    best, leaders = rows[0], best_of_spaces(rows)
    lines = ["\nThe best of every distance, judged without labels:\n", table(leaders, SHOWN)]
    own = _own(cfg, rows)
    if own is not None and asked.base:
        place = rows.index(own) + 1
        lines.append(f"\nThe config's own recipe is number {place} of {len(rows)}:\n\n{table([own], 1)}")
    if source.camids is not None:
        signs = camera_signs(best.labels, source.camids)
        lines.append(
            f"\n{signs.single:.0%} of the chosen clusters hold one camera; by the cameras' sizes chance would give "
            f"{signs.chance:.0%}."
        )
    if asked.compare_labels:
        lines.append(_compared(source, rows))
    lines.append("\nTo train with it:\n")
    lines.append("  " + " ".join(f"{key} {value}" for key, value in chosen.items()))
    sys.stdout.write("\n".join(lines) + "\n")


def _compared(source: Source, rows: list[Row]) -> str:
    if source.pids is None:
        return "\nThere are no labels to compare with."
    figures = judged(rows, source.pids, source.camids)
    lines = ["\nWith labels, afterwards (rank correlation of the score; at the choice, at best):\n"]
    for name in figures[0]:
        if name.endswith("f1"):
            correlation, here, top = agreement(rows, [entry[name] for entry in figures])
            lines.append(f"  {name.replace('_', ' '):<18} {correlation:+.2f}   {here:.3f}   {top:.3f}")
    return "\n".join(lines)


def _write(asked: Tuning, source: Source, rows: list[Row], chosen: dict[str, Any]) -> None:
    further = judged(rows, source.pids, source.camids) if asked.compare_labels and source.pids is not None else []
    write_csv(rows, asked.out / "tune.csv", further)
    write_config(chosen, _base(asked.base), asked.out / "tune.yml")
    write_figure(asked.out / "tune.png", figure(rows))
    logger.info("sweep: %s, %s; config: %s", *(asked.out / f"tune.{ending}" for ending in ("csv", "png", "yml")))


def _own(cfg: CfgNode, rows: list[Row]) -> Row | None:
    """The row of the config's own values, where the sweep holds them."""
    values = dict(leaves(cfg))
    return next((row for row in rows if all(_same(values[k], v) for k, v in row.overrides().items())), None)


def _same(one: Any, other: Any) -> bool:
    return bool(np.isclose(one, other)) if isinstance(other, float) else bool(one == other)


def _base(named: str) -> str:
    """What ``_BASE_`` calls the config file: a shipped one by its name, another one by its path."""
    if not named:
        return ""
    file = locate(named).resolve()
    shipped = shipped_folder().resolve()
    return str(file.relative_to(shipped)) if file.is_relative_to(shipped) else str(file)
