"""The house: who may import whom. Imports inside functions and for type checking count as well."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import unreid

PACKAGE = Path(unreid.__file__).parent
FLOORS = (
    {"utils", "structures", "config"},
    {"data", "models", "neighbors", "rendering"},
    {"constraints"},
    {"clustering", "memory", "losses", "evaluation"},
    {"methods", "workbench", "review", "report"},
    {"engine"},
)
# Between rooms of one floor: the left one may use the right one.
BESIDE = {
    *(("config", "utils"), ("structures", "utils"), ("data", "rendering"), ("memory", "losses")),
    ("review", "workbench"),
}


def modules(package: Path) -> dict[str, Path]:
    """Module name -> file; the package is always called unreid, whatever its folder's parents are called."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = ("unreid", *path.relative_to(package).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Modules of the package that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == "unreid")
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = name.split(".")[: len(name.split(".")) - node.level + (path.name == "__init__.py")]
                base = ".".join([*above, *([node.module] if node.module else [])])
            if base.partition(".")[0] == "unreid":
                yield from (full if (full := f"{base}.{alias.name}") in known else base for alias in node.names)


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def wrong_arrows(package: Path) -> list[str]:
    """Imports from a room of a higher floor, or of the same one where that is not agreed."""
    floor = {name: level for level, names in enumerate(FLOORS) for name in names}
    known, wrong = modules(package), []
    for name, path in known.items():
        if name in ("unreid", "unreid.__main__"):
            continue  # the front doors show every room
        for target in imports(name, path, known):
            a, b = room(name), room(target)
            if not b or a == b or floor[b] < floor[a] or (floor[b] == floor[a] and (a, b) in BESIDE):
                continue  # "" is the front door itself, asked for the version
            wrong.append(f"{name} imports {target}")
    return wrong


def circles(package: Path) -> list[list[str]]:
    """Circles among modules. A package's ``__init__`` only passes names on and is left out."""
    known = modules(package)
    graph = {
        name: [target for target in imports(name, path, known) if target != name]
        for name, path in known.items()
        if path.name != "__init__.py"
    }
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(name: str, trail: list[str]) -> None:
        if name in trail:
            found.append([*trail[trail.index(name) :], name])
        elif name in graph and name not in done:
            for target in graph[name]:
                visit(target, [*trail, name])
            done.add(name)

    for name in graph:
        visit(name, [])
    return found


def test_every_room_has_a_floor() -> None:
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    rooms |= {path.stem for path in PACKAGE.glob("*.py") if path.stem not in ("__init__", "__main__")}
    assert rooms == set().union(*FLOORS)


def test_the_picture_shows_every_room() -> None:
    page = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert [name for room in FLOORS for name in room if f"+-- {name} -" not in page] == []


def test_no_arrow_points_up() -> None:
    assert wrong_arrows(PACKAGE) == []


def test_there_is_no_circle() -> None:
    assert circles(PACKAGE) == []


@pytest.mark.parametrize(
    ("line", "arrow"),
    [
        ("from unreid.engine.run import run", "unreid.engine.run"),
        ("from unreid import methods", "unreid.methods"),
        ("import unreid.clustering.dbscan", "unreid.clustering.dbscan"),
        ("from ..memory import base", "unreid.memory.base"),
        ("def f():\n    from unreid.losses import triplet", "unreid.losses.triplet"),
        ("if TYPE_CHECKING:\n    from unreid.data.loader import TrainLoader", "unreid.data.loader"),
    ],
)
def test_an_arrow_that_points_up_would_be_found(tmp_path: Path, line: str, arrow: str) -> None:
    package = tmp_path / "a unreid folder" / "unreid"
    for name in ("engine/run", "methods/base", "clustering/dbscan", "memory/base", "losses/triplet", "data/loader"):
        file = package / f"{name}.py"
        file.parent.mkdir(parents=True)
        file.touch()
        (file.parent / "__init__.py").touch()
    (package / "utils").mkdir()
    (package / "utils" / "__init__.py").touch()
    (package / "utils" / "wrong.py").write_text(line + "\n")
    assert wrong_arrows(package) == [f"unreid.utils.wrong imports {arrow}"]


def test_a_circle_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("def f():\n    from unreid.two import x\n")
    (tmp_path / "two.py").write_text("import unreid.three\n")
    (tmp_path / "three.py").write_text("from unreid import one\n")
    assert circles(tmp_path) == [["unreid.one", "unreid.two", "unreid.three", "unreid.one"]]
