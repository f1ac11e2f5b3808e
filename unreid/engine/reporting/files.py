"""What a run left in its folder, read without PyTorch."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unreid.config import CfgNode, get_cfg, load_config
from unreid.config.node import leaves
from unreid.config.printed import as_yaml
from unreid.engine.folder import BEST, CHECKPOINT, RESULTS
from unreid.utils.errors import UserError

CONFIG_FILE = "config.yaml"
SEEDS = "seed_[0-9]*"


@dataclass(frozen=True)
class RunFiles:
    """A run on disk.

    Attributes:
        folder: as the user named it.
        own: the run's own folder, that or a seed's in it.
        cfg: its config, with the overrides of whoever asks.
        settings: (key, value, default, origin) of what differs from the defaults, as YAML.
        environment: ``environment.json``; empty without it.
        results: ``results.json``; empty before there is one.
        repeats: name of a run's folder -> ``results.json``, of runs that differ in the seed alone.
        rounds: rows of ``rounds.csv``.
        metrics: rows of ``metrics.jsonl``.
        checkpoint: its newest checkpoint, or its best model, or None.
    """

    folder: Path
    own: Path
    cfg: CfgNode
    settings: list[tuple[str, str, str, str]]
    environment: dict[str, Any]
    results: dict[str, Any]
    repeats: dict[str, dict[str, Any]]
    rounds: list[dict[str, float]]
    metrics: list[dict[str, Any]]
    checkpoint: Path | None

    @property
    def state(self) -> str:
        """What became of it."""
        if not self.results:
            return "under way or cut off"
        return "finished" if self.results.get("finished") else "stopped before its end"


def read_run_files(folder: str | Path, overrides: Sequence[Any] = ()) -> RunFiles:
    """Reads a run's folder; of the folder of ``--repeat`` the first seed, with the scores of all.

    Raises:
        UserError: it is no run; the message says what is missing.
    """
    named = Path(folder)
    if not os.path.isdir(named):
        raise UserError(f"There is no folder {named}: name the OUTPUT_DIR of a run.")
    seeds = sorted((path for path in named.glob(SEEDS) if (path / CONFIG_FILE).is_file()), key=_number)
    own = named
    if not (named / CONFIG_FILE).is_file():
        if not seeds:
            raise UserError(f"{named} is no run: it has no {CONFIG_FILE}, which a training writes into its OUTPUT_DIR.")
        own = seeds[0]
    elif not seeds and _number(named) >= 0:
        seeds = sorted((path for path in named.parent.glob(SEEDS) if (path / CONFIG_FILE).is_file()), key=_number)
    stored = load_config(own / CONFIG_FILE)
    cfg = load_config(own / CONFIG_FILE, overrides) if overrides else stored
    environment = _table(own / "environment.json")
    checkpoints = [path for path in (own / CHECKPOINT, own / BEST) if path.is_file()]
    return RunFiles(
        folder=named,
        own=own,
        cfg=cfg,
        settings=_settings(stored, environment.get("origins")),
        environment=environment,
        results=_table(own / RESULTS),
        repeats={path.name: found for path in seeds if (found := _table(path / RESULTS))},
        rounds=_rounds(own / "rounds.csv"),
        metrics=_metrics(own / "metrics.jsonl"),
        checkpoint=checkpoints[0] if checkpoints else None,
    )


def _settings(cfg: CfgNode, origins: Any) -> list[tuple[str, str, str, str]]:
    defaults = get_cfg()
    defaults.add_plugins(cfg.PLUGINS)
    known = dict(leaves(defaults))
    origins = origins if isinstance(origins, dict) else {}
    return [
        (key, as_yaml(value), as_yaml(known[key]) if key in known else "", str(origins.get(key, "")))
        for key, value in leaves(cfg)
        if key not in known or known[key] != value
    ]


def _table(path: Path) -> dict[str, Any]:
    """A JSON object; empty where the file is not there."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is damaged'}.") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} cannot be read: it is no table.")
    return content


def _rounds(path: Path) -> list[dict[str, float]]:
    """Rows with the numbers that they have; a cell without a number is left out."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = [_numbers(row) for row in csv.DictReader(file)]
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, csv.Error):
        raise UserError(f"{path} cannot be read: it is damaged.") from None
    needed = {"round", "clusters", "outliers", "largest", "mean_size"}
    return [row for row in rows if needed <= row.keys()]


def _metrics(path: Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    rows = []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue  # half a line, of a run that was killed
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            rows.append(row)
    return rows


def _numbers(row: dict[str, str | None]) -> dict[str, float]:
    """The cells that hold a number."""
    found = {}
    for key, text in row.items():
        try:
            number = float(text or "nan")
        except (TypeError, ValueError):
            continue
        if math.isfinite(number):
            found[key] = number
    return found


def _number(path: Path) -> int:
    """The seed in a folder's name, -1 for another name."""
    word = path.name.removeprefix("seed_")
    return int(word) if word != path.name and word.isdecimal() else -1
