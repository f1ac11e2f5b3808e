"""Importing the package stays cheap: heavy and optional packages load where they are used."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import unreid

HEAVY = ("faiss", "cv2", "tensorboard", "matplotlib", "timm", "sklearn")
ROOT = Path(unreid.__file__).parent
MODULES = sorted(module.name for module in pkgutil.walk_packages([str(ROOT)], "unreid."))

PROBE = """
import importlib, sys
for name in {names!r}:
    importlib.import_module(name)
import torch
print([name for name in {heavy!r} if name in sys.modules], torch.cuda.is_initialized())
"""


@pytest.mark.parametrize("names", [["unreid"], MODULES], ids=["unreid", "every module"])
def test_no_heavy_package_is_imported(names: list[str]) -> None:
    code = PROBE.format(names=names, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[] False"


def test_every_module_says_what_it_is_for() -> None:
    silent = [path for path in sorted(ROOT.rglob("*.py")) if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []
