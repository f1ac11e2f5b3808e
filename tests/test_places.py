"""Nothing depends on where the checkout lies, on the current directory, or on what else is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Runs every script up to its first import of the package, which may be a late one, and prints where it would come from.
PROBE = """
import runpy, sys
from importlib.machinery import PathFinder

class Found(BaseException): ...

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "unreid":
            raise Found(PathFinder.find_spec(name).origin)

sys.meta_path.insert(0, Finder())
before = sys.path[:]
for script in sys.argv[1:]:
    sys.path[:] = [script.rpartition("/")[0], *before[1:]]
    for name, module in list(sys.modules.items()):  # every script is the first
        if (getattr(module, "__file__", None) or "").startswith(sys.path[0]):
            del sys.modules[name]
    try:
        runpy.run_path(script, run_name="probe")
        import unreid
    except Found as found:
        print(script, found, sep="\\n")
"""


def test_a_script_uses_the_checkout_it_lies_in(tmp_path: Path) -> None:
    """Also in a folder called unreid below a blank and an umlaut, started from elsewhere, beside another unreid."""
    copy = tmp_path / "ein Grün" / "unreid"
    for folder in ("tools", "benchmarks"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("results", "__pycache__"))
    for package in (copy, tmp_path / "another"):
        (package / "unreid").mkdir(parents=True)
        (package / "unreid" / "__init__.py").write_text("")
    for name in ("tools", "benchmarks"):
        (tmp_path / "another" / name).mkdir()
        (tmp_path / "another" / name / "__init__.py").write_text("")
    scripts = [file for folder in ("tools", "benchmarks") for file in copy.glob(f"{folder}/*.py")]
    texts = {file: file.read_text(encoding="utf-8") for file in scripts}
    scripts = [file for file, text in texts.items() if "from unreid" in text and 'if __name__ == "__main__"' in text]
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *map(str, scripts)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "another"), "PYTHONUTF8": "1"},
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    found = dict(zip(lines[::2], lines[1::2]))
    assert len(scripts) > 15
    assert found == {str(script): str(copy / "unreid" / "__init__.py") for script in scripts}
