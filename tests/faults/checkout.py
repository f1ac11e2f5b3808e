"""A copy of the checkout that faults are put into."""

from __future__ import annotations

import compileall
import os
import py_compile
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.fault import ROOT, Fault

UNNEEDED = ("logs", "datasets", "build", "dist", "site")  # what runs and builds leave in a checkout


class Checkout:
    """The copy and the files beside it: what tests printed, and the first failure."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkout"
        self.output = folder / "output.txt"
        self.report = folder / "failed.txt"
        self.basetemp = folder / "tests"
        shutil.copytree(ROOT, self.folder, ignore=_unneeded)
        # The time of a file does not tell two versions of one second apart.
        mode = py_compile.PycInvalidationMode.CHECKED_HASH
        for room in ("unreid", "tests", "tools", "benchmarks"):
            compileall.compile_dir(str(self.folder / room), quiet=2, invalidation_mode=mode)

    @contextmanager
    def holding(self, fault: Fault) -> Iterator[tuple[Path, str, str]]:
        """The fault is in its file meanwhile: gives the file, its text before, and its text with the fault."""
        file = self.folder / fault.path
        before = file.read_text(encoding="utf-8")
        after = fault.applied(before)
        file.write_text(after, encoding="utf-8")
        try:
            yield file, before, after
        finally:
            file.write_text(before, encoding="utf-8")

    def pytest(self, tests: Sequence[str], *plugins: object) -> int:
        """Runs tests of the copy in this process, which must be a fork that has imported nothing of the package."""
        os.chdir(self.folder)
        sink = os.open(self.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        for name in [name for name in sys.modules if name.partition(".")[0] in ("tests", "unreid")]:
            del sys.modules[name]
        sys.path[:] = [str(self.folder), *(path for path in sys.path if path and Path(path).resolve() != ROOT)]
        os.environ["PYTHONPATH"] = str(self.folder)
        options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--basetemp={self.basetemp}"]
        return int(pytest.main([*options, *tests], plugins=list(plugins)))

    def failure(self) -> str:
        """What the last tests said."""
        files = [file for file in (self.report, self.output) if file.exists()]
        return "\n".join(file.read_text(encoding="utf-8", errors="replace")[-3000:] for file in files)


def _unneeded(folder: str, names: list[str]) -> list[str]:
    top = Path(folder) == ROOT
    return [name for name in names if name == "__pycache__" or top and (name.startswith(".") or name in UNNEEDED)]


@contextmanager
def copied() -> Iterator[Checkout]:
    with tempfile.TemporaryDirectory(prefix="faults_", ignore_cleanup_errors=True) as folder:
        yield Checkout(Path(folder))
