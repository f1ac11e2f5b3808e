"""Options and settings shared by the whole suite."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# Processes that a test starts import this checkout, whatever the current directory is and whatever is installed.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(Path(__file__).parents[1]), os.getenv("PYTHONPATH"))))

settings.register_profile("unreid", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("unreid")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden-dir", default=None, help="directory of golden cases (default: tests/golden/data)")


@pytest.fixture(autouse=True)
def _one_seed() -> None:
    torch.manual_seed(0)


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
