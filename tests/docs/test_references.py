"""What docstrings and comments point at exists: names in roles and in code, files, pages."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import re
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import unreid

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(unreid.__file__).parent
SOURCES = sorted(path for room in ("unreid", "tests", "tools", "benchmarks") for path in (ROOT / room).rglob("*.py"))
ROLE = re.compile(r":(?:meth|class|func|attr|mod|data|exc):`~?\.?([\w.]+)`")
FILE = re.compile(r"(?<![\w/.<{*-])((?:[\w-]+/)*[\w-]+\.(?:md|py|yml))\b")
DOTTED = re.compile(r"``(unreid(?:\.\w+)+|[A-Z][a-z]\w*\.[a-z_]\w*)")
# Files that a run writes or a user would have, as examples in docstrings and messages.
NOT_OURS = re.compile(r"(?:methods/mine|mine|root|tune)\.\w+")


def documented(path: Path) -> Iterator[tuple[str, list[str]]]:
    """(docstring, names of the classes around it) of everything in a file."""

    def walk(node: ast.AST, around: list[str]) -> Iterator[tuple[str, list[str]]]:
        inside = [*around, node.name] if isinstance(node, ast.ClassDef) else around
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or "", inside
        for child in ast.iter_child_nodes(node):
            yield from walk(child, inside)

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), [])


def modules() -> dict[str, ModuleType]:
    names = [path.relative_to(ROOT).with_suffix("").parts for path in SOURCES if path.is_relative_to(PACKAGE)]
    return {
        name: importlib.import_module(name) for name in (".".join(parts).removesuffix(".__init__") for parts in names)
    }


def found(name: str, scopes: list[Any]) -> bool:
    """Whether ``a.b`` is an attribute of one of the scopes, or an annotated one (of a dataclass, of an instance)."""
    for scope in scopes:
        *parents, last = name.split(".")
        try:
            owner = reduce(getattr, parents, scope)
        except AttributeError:
            continue
        if hasattr(owner, last) or last in getattr(owner, "__annotations__", {}) or _sets(owner, last):
            return True
    return False


def _sets(owner: Any, name: str) -> bool:
    """Whether a class of the package sets ``self.name`` somewhere."""
    ours = [kind for kind in getattr(owner, "__mro__", ()) if kind.__module__.startswith("unreid.")]
    return any(f"self.{name}" in inspect.getsource(kind) for kind in ours)


def test_roles_and_dotted_names_resolve() -> None:
    package = modules()
    missing = []
    for name, module in package.items():
        assert module.__file__
        for text, classes in documented(Path(module.__file__)):
            scopes = [getattr(module, kind) for kind in classes if hasattr(module, kind)]
            for reference in [*ROLE.findall(text), *DOTTED.findall(text)]:
                # A name of another room may stand alone where it is plain whose it is.
                if not (found(reference, [*scopes, module, builtins, *package.values()]) or _external(reference)):
                    missing.append(f"{name}: {reference}")
    assert missing == []


def _external(name: str) -> bool:
    """``tests.x``, ``torch.y``: whatever an import finds."""
    parent, _, last = name.rpartition(".")
    try:
        return bool(parent) and hasattr(importlib.import_module(parent), last) or bool(importlib.import_module(name))
    except (ImportError, ValueError):
        return False


def comments(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    yield from (doc for doc, _ in documented(path))
    yield from re.findall(r"(?:^|\s)#( .*)$", text, flags=re.M)


@pytest.mark.parametrize("room", ["unreid", "tests", "tools", "benchmarks", "configs", ".ci"])
def test_files_and_pages_exist(room: str) -> None:
    """A reader can open whatever a docstring or a comment cites."""
    missing = []
    for path in sorted((ROOT / room).rglob("*")):
        if path.suffix not in (".py", ".yml") or not path.is_file():
            continue
        if path.suffix == ".py":
            texts = comments(path)
        else:
            texts = iter(re.findall(r"#.*", path.read_text(encoding="utf-8")))
        for text in texts:
            for reference in FILE.findall(text):
                places = (
                    ROOT,
                    PACKAGE,
                    path.parent,
                    ROOT / "docs",
                    ROOT / "benchmarks",
                    ROOT / "configs",
                    ROOT / "tests",
                )
                if not NOT_OURS.fullmatch(reference) and not any((place / reference).exists() for place in places):
                    missing.append(f"{path.relative_to(ROOT)}: {reference}")
    assert missing == []
