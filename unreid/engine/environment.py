"""What a run needs to be repeated: resolved config, command, versions, device, commit."""

from __future__ import annotations

import json
import logging
import os
import platform
import shlex
import subprocess
import sys
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import unreid
from unreid.utils.io import atomic_write_text

if TYPE_CHECKING:
    from unreid.config.node import CfgNode

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.yaml"
ENVIRONMENT_FILE = "environment.json"
_PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "scikit-learn",
    "faiss-gpu",
    "faiss-cpu",
    "opencv-python-headless",
    "opencv-python",
    "timm",
)


def collect_environment() -> dict[str, Any]:
    """Command line, date, versions, devices and git state, as plain values. Versions are read without importing."""
    return {
        "command": shlex.join(sys.argv),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "unreid": unreid.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "device": _device_name(),
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "cpu_count": os.cpu_count(),
        "world_size": int(os.environ.get("WORLD_SIZE", "1")),
        **_git_state(),
    }


def recorded(cfg: CfgNode) -> CfgNode:
    """``cfg`` as a run records it: the leave to remove an earlier run was given once and does not outlive the run."""
    twin = cfg.clone()
    twin.defrost()
    twin.OVERWRITE = False
    twin.freeze()
    return twin


def write_run_header(output_dir: str | os.PathLike[str], cfg: CfgNode, prefix: str = "") -> None:
    """Write ``config.yaml`` (loads back as the same config) and ``environment.json`` into the run's folder.

    Args:
        prefix: goes before both names, e.g. "eval_" so that an evaluation keeps the header of the training.
    """
    from unreid.config.node import leaves  # hooks alone need no config system

    folder = Path(output_dir)
    environment = collect_environment()
    environment["origins"] = {key: origin for key, _ in leaves(cfg) if (origin := cfg.origin(key)) != "default"}
    atomic_write_text(folder / f"{prefix}{CONFIG_FILE}", recorded(cfg).dump())
    atomic_write_text(folder / f"{prefix}{ENVIRONMENT_FILE}", json.dumps(environment, indent=2) + "\n")
    logger.info("%s", environment["command"])
    logger.info(
        "unreid %s, torch %s, %s, commit %s%s",
        environment["unreid"],
        environment["packages"].get("torch"),
        environment["device"],
        environment["git_commit"],
        " with local changes" if environment["git_dirty"] else "",
    )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _device_name() -> str:
    if torch.cuda.is_available():
        names = {torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())}
        return f"{torch.cuda.device_count()} x {', '.join(sorted(names))}"
    return f"CPU: {_cpu_name()}"


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _git_state() -> dict[str, Any]:
    """Commit of the package's own checkout; None for an installed package or without git."""
    root = Path(unreid.__file__).resolve().parent.parent
    commit = _git(root, "rev-parse", "HEAD") if (root / ".git").exists() else None
    dirty = bool(_git(root, "status", "--porcelain", "--untracked-files=no")) if commit else None
    return {"git_commit": commit, "git_dirty": dirty}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
