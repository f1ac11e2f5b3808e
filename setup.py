"""Puts ``configs/`` of the checkout into the package as ``unreid/configs``; everything else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """As setuptools builds a package, and the configs in it. Editable installs use those of the checkout."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for source in sorted(Path("configs").rglob("*.yml")):
            target = Path(self.build_lib, "unreid", source)
            target.parent.mkdir(parents=True, exist_ok=True)
            self.copy_file(str(source), str(target), preserve_mode=False)


setup(cmdclass={"build_py": BuildWithConfigs})
