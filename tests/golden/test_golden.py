"""Every recorded case of the reference implementations, checked within the manifest's tolerance."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from .cases import CHECKS, Case

for module in sorted(Path(__file__).parent.glob("check_*.py")):
    importlib.import_module(f"{__package__}.{module.stem}")


def test_case_agrees_with_the_reference(golden_case: Case) -> None:
    check = CHECKS.get((golden_case.folder, golden_case.component))
    if check is None:
        pytest.fail(f"no check knows component {golden_case.component!r} of {golden_case.folder}")
    check(golden_case)
