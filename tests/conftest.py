"""Options and settings shared by the whole suite."""

from __future__ import annotations

import os
from collections.abc import Generator
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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test logged goes to the main process of pytest-xdist as UTF-8: a name that is no text ended its worker."""
    report = yield
    report.sections = [
        (title, text.encode("utf-8", "backslashreplace").decode("utf-8")) for title, text in report.sections
    ]
    return report


@pytest.fixture(autouse=True)
def _one_seed() -> None:
    torch.manual_seed(0)


needs_cuda = pytest.mark.cuda  # a marker of its own, so that a machine with a GPU can be asked for these alone


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("cuda") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
