"""What the package says names nothing that only a checkout has."""

from __future__ import annotations

import ast
from pathlib import Path

import unreid

PACKAGE = Path(unreid.__file__).parent


def spoken(path: Path) -> list[str]:
    """Every text of a module that is no docstring."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in alone)
    return [node.value for node in texts if isinstance(node.value, str)]


def test_no_message_sends_to_a_script_that_the_wheel_lacks() -> None:
    words = ("tools/", "benchmarks/", "tests/", "docs/", "examples/")
    found = [
        f"{path.name}: {text}"
        for path in PACKAGE.rglob("*.py")
        for text in spoken(path)
        if any(text.startswith(word) or f" {word}" in text for word in words)
    ]
    assert found == []
