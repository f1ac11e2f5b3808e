"""Importing the package stays cheap: heavy and optional packages load where they are used."""

from __future__ import annotations

import ast
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import unreid

HEAVY = ("faiss", "cv2", "tensorboard", "matplotlib", "timm", "sklearn")
FLOORS = {
    "config": 1,
    "structures": 1,
    "rendering": 1,
    "utils": 1,
    "data": 2,
    "models": 2,
    "neighbors": 2,
    "constraints": 3,
    "clustering": 3,
    "memory": 3,
    "losses": 3,
    "evaluation": 3,
    "methods": 4,
    "engine": 5,
}
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


def test_imports_go_down_the_floors() -> None:
    upward = []
    for path in sorted(ROOT.rglob("*.py")):
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if room not in FLOORS:
            continue
        for target in re.findall(r"^\s*(?:from|import) unreid\.(\w+)", path.read_text(), flags=re.M):
            if target != room and FLOORS[target] > FLOORS[room]:
                upward.append(f"{path.relative_to(ROOT)} imports {target}")
    assert upward == []


def test_every_module_says_what_it_is_for() -> None:
    silent = [path for path in sorted(ROOT.rglob("*.py")) if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []
