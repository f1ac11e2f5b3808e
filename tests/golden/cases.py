"""Reads the manifests of a golden directory and matches every case with the check that knows its component."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Check = Callable[["Case"], None]
CHECKS: dict[tuple[str, str], Check] = {}


@dataclass(frozen=True)
class Case:
    """One recorded file: ``folder`` is the manifest's name (common, cdsm ...), ``entry`` its row in the manifest."""

    folder: str
    name: str
    path: Path
    entry: dict[str, Any]
    manifest: dict[str, Any] = field(repr=False)

    @property
    def component(self) -> str:
        return self.entry["component"]

    @property
    def params(self) -> dict[str, Any]:
        return self.entry.get("params", {})

    def arrays(self) -> dict[str, np.ndarray]:
        with np.load(self.path, allow_pickle=False) as data:
            return {key: data[key] for key in data.files}


def checks(folder: str, *components: str) -> Callable[[Check], Check]:
    """Registers a function as the check of some components of a manifest."""

    def add(check: Check) -> Check:
        for component in components:
            assert (folder, component) not in CHECKS, f"two checks for {folder}/{component}"
            CHECKS[folder, component] = check
        return check

    return add


def discover(root: Path) -> Iterator[Case]:
    """Every file that a manifest ``<folder>/<folder>.json`` below ``root`` lists, in order of name."""
    for manifest_path in sorted(root.glob("*/*.json")):
        folder = manifest_path.parent.name
        if manifest_path.stem != folder:
            continue
        manifest = json.loads(manifest_path.read_text())
        files = manifest["files"]
        rows = files.items() if isinstance(files, dict) else ((row["file"], row) for row in files)
        for name, entry in sorted(rows, key=lambda row: row[0]):
            yield Case(folder, name, manifest_path.parent / name, entry, manifest)
        if "dataset_cases" in manifest:
            entry = {"component": "dataset_cases", **manifest["dataset_cases"]}
            yield Case(folder, "dataset_cases", manifest_path, entry, manifest)
