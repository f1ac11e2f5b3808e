"""The package as a user gets it: sdist and wheel, an empty environment, an empty current directory.

``make package-check`` runs this; it needs the package index, or uv's cache of what the suite itself uses.
"""

from __future__ import annotations

import email
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in (ROOT / "configs").rglob("*.yml")}
AT_THE_TOP = shutil.ignore_patterns("*.egg-info", "build", "dist", "datasets", "logs", ".*")  # and not below it
UV = (sys.executable, "-m", "uv")
TINY = [
    *("DATASETS.SYNTHETIC.TRAIN_IDS", "6", "DATASETS.SYNTHETIC.TEST_IDS", "4", "DATASETS.SYNTHETIC.DISTRACTORS", "0"),
    *("DATASETS.SYNTHETIC.CAMERAS", "2", "DATASETS.SYNTHETIC.HEIGHT", "32", "DATASETS.SYNTHETIC.WIDTH", "16"),
    *("INPUT.SIZE_TRAIN", "[64, 32]", "INPUT.SIZE_TEST", "[64, 32]", "MODEL.BACKBONE.WIDTH", "8"),
    *("CLUSTER.K1", "8", "CLUSTER.K2", "2", "DATALOADER.TRAIN_BATCH_SIZE", "16"),
    *("OPTIM.EPOCHS", "1", "DATALOADER.ITERS", "2", "WARMUP.EPOCHS", "1", "WARMUP.ITERS", "2"),
]

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Installed:
    """Both archives, and the environment that holds the wheel and what it asks for, nothing else."""

    wheel: Path
    sdist: Path
    environment: Path

    def run(self, *command: str | Path, where: Path, status: int = 0) -> str:
        """What a command of the environment says on both streams, in ``where``."""
        variables = {"PATH": f"{self.environment / 'bin'}:/usr/bin:/bin", "HOME": str(where), "COLUMNS": "200"}
        done = subprocess.run(
            [self.environment / "bin" / command[0], *command[1:]],
            cwd=where,
            env={**variables, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == status, f"{command}\n{done.stdout}"
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    place = tmp_path_factory.mktemp("package") / "a b"
    source, dist, environment = place / "unreid", place / "dist", place / "environment"

    def ignore(folder: str, names: list[str]) -> set[str]:
        return set(AT_THE_TOP(folder, names)) if Path(folder) == ROOT else {"__pycache__"}

    shutil.copytree(ROOT, source, ignore=ignore)
    _uv("build", "--quiet", "--out-dir", dist, source)  # the wheel is built from the sdist
    _uv("venv", "--quiet", "--python", sys.executable, environment)
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    _uv("pip", "install", "--quiet", "--python", environment / "bin" / "python", wheel)
    yield Installed(wheel, sdist, environment)
    shutil.rmtree(environment)  # gigabytes


def _uv(*words: str | Path) -> None:
    done = subprocess.run([*UV, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout


def _tracked() -> list[Path]:
    """Files of the package below the checkout, without what Python and editors leave there."""
    found = (path.relative_to(ROOT) for path in (ROOT / "unreid").rglob("*") if path.is_file())
    return [path for path in found if "__pycache__" not in path.parts and path.suffix != ".pyc"]


def test_the_wheel_holds_the_package_with_its_configs_and_nothing_else(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as wheel:
        names = set(wheel.namelist())
        assert {name: wheel.read(f"unreid/{name}") for name in CONFIGS} == CONFIGS
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"unreid"}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "unreid").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == modules
    others = {name for name in names if name.startswith("unreid/")} - modules - {f"unreid/{name}" for name in CONFIGS}
    assert others == {name for name in map(str, _tracked()) if not name.endswith(".py")}


def test_the_source_archive_builds_the_same_without_the_tests(installed: Installed) -> None:
    with tarfile.open(installed.sdist) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {*CONFIGS, "pyproject.toml", "setup.py", "README.md", "LICENSE", "unreid/py.typed"} <= names
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "tools"))]


def test_the_metadata_say_what_pyproject_says(installed: Installed) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    with zipfile.ZipFile(installed.wheel) as wheel:
        folder = next(name.partition("/")[0] for name in wheel.namelist() if ".dist-info/" in name)
        metadata = email.message_from_bytes(wheel.read(f"{folder}/METADATA"))
        assert "unreid = unreid.engine.cli:main" in wheel.read(f"{folder}/entry_points.txt").decode()
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload(decode=True).decode().strip().startswith("# unreid")  # type: ignore[union-attr]
    assert set(metadata.get_all("Provides-Extra", [])) == set(project["optional-dependencies"])
    plain = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert len(plain) == len(project["dependencies"])


def test_it_is_the_installed_package_that_runs(installed: Installed, tmp_path: Path) -> None:
    code = "import unreid; print(unreid.DBSCAN(eps=0.5), unreid.__file__, unreid.__version__, sep='\\n')"
    _, file, version = installed.run("python", "-c", code, where=tmp_path).splitlines()
    assert Path(file).is_relative_to(installed.environment)
    assert installed.run("unreid", "--version", where=tmp_path) == f"unreid {version}\n"
    assert f"-{version}-" in installed.wheel.name


def test_every_command_explains_itself(installed: Installed, tmp_path: Path) -> None:
    said = installed.run("unreid", "--help", where=tmp_path)
    commands = [line.split()[0] for line in said.splitlines() if line.startswith("    ") and line[4] != " "]
    assert {"train", "eval", "demo", "render", "mine", "convert"} <= set(commands)
    for command in commands:
        assert f"usage: unreid {command}" in installed.run("unreid", command, "--help", where=tmp_path)
    wrong = installed.run("unreid", "train", "--config-file", "CDSM_markt.yml", where=tmp_path, status=2)
    assert wrong == "unreid: There is no config file CDSM_markt.yml; did you mean CDSM_market.yml?\n"
    market = installed.run("unreid", "train", "--config-file", "CDSM_market.yml", where=tmp_path, status=2)
    assert "Market1501 was not found in" in market
    assert list(tmp_path.iterdir()) == []


def test_a_bare_name_trains_and_evaluates_in_an_empty_folder(installed: Installed, tmp_path: Path) -> None:
    config = ("--config-file", "ClusterContrast_synthetic.yml")
    installed.run("unreid", "train", *config, *TINY, "OUTPUT_DIR", "run", where=tmp_path)
    assert (tmp_path / "run" / "results.json").is_file()
    checkpoint = ("RESUME", "run/checkpoint.pth", "OUTPUT_DIR", "run")
    installed.run("unreid", "eval", *config, *TINY, *checkpoint, where=tmp_path)
    assert (tmp_path / "run" / "evaluation.json").is_file()
    said = installed.run("unreid", "convert", "--in", "run/checkpoint.pth", "--out", "new.pth", where=tmp_path)
    assert said.startswith("new.pth: ") and (tmp_path / "new.pth").is_file()


def test_the_demo_compares_with_what_needs_no_learning(installed: Installed, tmp_path: Path) -> None:
    said = installed.run("unreid", "demo", *TINY, where=tmp_path)
    for row in ("raw pixels", "striped colour histogram", "trained, last epoch (1)", "logs/demo/checkpoint.pth"):
        assert row in said
    assert "One run is one draw" not in said  # that is known of the shipped config


def test_a_rendered_world_is_mined(installed: Installed, tmp_path: Path) -> None:
    size = ("--ids", "2", "--cameras", "2", "--images", "2", "--size", "32x16")
    said = installed.run("unreid", "render", "--layout", "mars", "--out", "data", *size, where=tmp_path)
    assert said.splitlines()[-1] == "data/MARS"
    places = ("DATASETS.ROOT", "data", "PICKLE_PATH", "relations")
    installed.run("unreid", "mine", "--config-file", "AuxUSL_mars.yml", *places, where=tmp_path)
    assert (tmp_path / "relations" / "cross_camera_relation_train.npz").is_file()
