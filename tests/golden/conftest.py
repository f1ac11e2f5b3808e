"""``pytest tests/golden --golden-dir DIR`` runs other case sets of the same format."""

from __future__ import annotations

from pathlib import Path

import pytest

from .cases import discover

DATA = Path(__file__).parent / "data"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "golden_case" in metafunc.fixturenames:
        root = Path(metafunc.config.getoption("--golden-dir") or DATA)
        found = list(discover(root))
        if not found:
            raise pytest.UsageError(f"no manifest <name>/<name>.json with cases below {root}")
        metafunc.parametrize("golden_case", found, ids=[f"{case.folder}/{case.name}" for case in found])
