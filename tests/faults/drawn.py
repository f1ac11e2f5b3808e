"""Faults that nobody thought of: changes of single places, drawn from all that a few rules allow.

Those of the list were written by people who knew what can go wrong, and are mended once found. These say what to expect
of the rest. A kind of change is drawn first, then one of its places in the whole package, so that rare kinds come up.
"""

from __future__ import annotations

import ast
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from tests.faults.fault import ROOT, Fault

COMPARISONS = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.In: "not in",
    ast.NotIn: "in",
    ast.Is: "is not",
    ast.IsNot: "is",
}
OPERATIONS = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "/", ast.Mod: "//"}
STEPS = ("abs", "clamp", "clip", "contiguous", "copy", "detach", "float", "mean", "sqrt", "square", "strip", "t", "T")
WRAPPERS = ("normalize", "sorted", "reversed", "unique", "abs", "max", "min", "set", "list", "round")
ROOMS = {"structures": "test_structures.py", "rendering": "data"}
"""Where tests of a room are that are not in a folder of its name."""

Source = Callable[[ast.AST], str]
Change = tuple[str, ast.AST, str]  # kind, what goes, what stands there instead


def drawn(count: int, seed: int) -> list[Fault]:
    """``count`` different faults, the same for the same code and seed."""
    kinds: dict[str, list[tuple[_Text, ast.AST, str]]] = defaultdict(list)
    for text in map(_Text, sorted((ROOT / "unreid").rglob("*.py"))):
        for kind, node, new in _changes(text):
            kinds[kind].append((text, node, new))
    draw = random.Random(seed)
    found: dict[Fault, None] = {}
    while len(found) < count:
        fault = _fault(*draw.choice(kinds[draw.choice(sorted(kinds))]))
        if fault:
            found[fault] = None
    return list(found)


class _Text:
    """The text of a file by the positions that ``ast`` gives: lines, and bytes in them."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.bytes = file.read_bytes()
        self.starts = [0, *(match.end() for match in re.finditer(rb"\n", self.bytes))]

    def place(self, node: ast.AST) -> tuple[int, int]:
        start = self.starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        return start, self.starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]

    def of(self, node: ast.AST) -> str:
        start, end = self.place(node)
        return self.bytes[start:end].decode()


def _changes(text: _Text) -> Iterator[Change]:
    for function in ast.walk(ast.parse(text.bytes)):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for statement in function.body:
                yield from _within(statement, text.of)


def _within(node: ast.AST, source: Source) -> Iterator[Change]:
    if isinstance(node, ast.JoinedStr | ast.FunctionDef | ast.AsyncFunctionDef | ast.AnnAssign | ast.arguments):
        return  # no places of their own, met elsewhere, or annotations
    if isinstance(node, ast.Call) and source(node.func).startswith("logger."):
        return  # what a run says on its way is not held by tests
    yield from _of(node, source)
    for child in ast.iter_child_nodes(node):
        yield from _within(child, source)


def _of(node: ast.AST, source: Source) -> Iterator[Change]:
    match node:
        case ast.Compare(left=left, ops=[operation], comparators=[right]):
            yield "comparison", node, f"{source(left)} {COMPARISONS[type(operation)]} {source(right)}"
        case ast.BinOp(left=left, op=operation, right=right) if type(operation) in OPERATIONS:
            if not isinstance(left, ast.JoinedStr) and not isinstance(getattr(left, "value", None), str):
                yield "operation", node, f"{source(left)} {OPERATIONS[type(operation)]} {source(right)}"
        case ast.BoolOp(op=operation, values=[left, right]):
            word = "or" if isinstance(operation, ast.And) else "and"
            yield "and, or", node, f"({source(left)} {word} {source(right)})"
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert(), operand=operand):
            yield "dropped not, sign", node, f"{source(operand)}"
        case ast.Constant(value=bool(value)):
            yield "flag", node, str(not value)
        case ast.Constant(value=int(value)):
            yield "off by one", node, str(value + 1)
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            yield "turned condition", test, f"(not ({source(test)}))"
        case ast.Raise():
            yield "swallowed error", node, "pass"
        case ast.Expr(value=ast.Call(func=called)) if not source(called).startswith("logger."):
            yield "dropped statement", node, "pass"
        case ast.AugAssign():
            yield "dropped statement", node, "pass"
        case ast.Return(value=ast.AST()):
            yield "nothing returned", node, "return None"
    if isinstance(node, ast.Call):
        yield from _of_call(node, source)


def _of_call(node: ast.Call, source: Source) -> Iterator[Change]:
    name = source(node.func).rpartition(".")[2]
    if len(node.args) >= 2 and not any(isinstance(argument, ast.Starred) for argument in node.args[:2]):
        first, second = source(node.args[0]), source(node.args[1])
        whole, head = source(node), source(node.func)
        inner = whole[len(head) :].replace(first, "\0", 1)
        if first != second and inner.count(second) == 1:
            yield "swapped arguments", node, head + inner.replace(second, first, 1).replace("\0", second, 1)
    if node.keywords and node.keywords[-1].arg and name not in ("dict", "replace"):
        rest = [source(argument) for argument in node.args]
        rest += [f"{k.arg}={source(k.value)}" if k.arg else f"**{source(k.value)}" for k in node.keywords[:-1]]
        yield "dropped option", node, f"{source(node.func)}({', '.join(rest)})"
    if isinstance(node.func, ast.Attribute) and name in STEPS:
        yield "dropped step", node, source(node.func.value)
    if name in WRAPPERS and len(node.args) >= 1:
        yield "dropped sort, norm", node, source(node.args[0])


def _fault(whole: _Text, node: ast.AST, new: str) -> Fault | None:
    """The change with as much text around it as makes its place the only one; ``None`` where it does not compile."""
    text = whole.bytes.decode()
    start, end = (len(whole.bytes[:place].decode()) for place in whole.place(node))
    left, right = start, end
    while text.count(text[left:right]) != 1:
        right = text.find("\n", right + 1) if left == 0 or text[left - 1] == "\n" and right < len(text) else right
        left = text.rfind("\n", 0, max(left - 1, 0)) + 1
    old = text[left:right]
    name = whole.file.relative_to(ROOT / "unreid").as_posix()
    fault = Fault(name, old, text[left:start] + new + text[end:right], *tests_of(name))
    try:
        changed = fault.applied(text)
        same = ast.dump(ast.parse(changed)) == ast.dump(ast.parse(text))
        compile(changed, name, "exec")
    except (SyntaxError, ValueError):
        return None
    return None if same else fault


def tests_of(file: str) -> tuple[str, str]:
    """The tests that import a file of the package or what it defines, or start its command, else those of its room that
    name it; and further ones: all of its room (for the engine: those that start a command), and the golden ones.
    """
    module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    parent, _, name = module.rpartition(".")
    room = file.partition("/")[0]
    folder = ROOMS.get(room, room)
    tree = ast.parse((ROOT / "unreid" / file).read_text(encoding="utf-8"))
    defined = [node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    names = [one for one in defined if not one.startswith("_") and len(one) > 4]
    imported = rf"unreid\.{re.escape(module)}\b|from unreid\.{re.escape(parent)} import [^\n]*\b{name}\b"
    if names:
        imported += rf"|from unreid[\w.]* import (?:\([^)]*|[^\n]*)\b(?:{'|'.join(names)})\b"
    if parent == "engine.commands":
        imported += rf"|\[\"{name}\""
    found = _holding(imported, "") or _holding(rf"\b(?:{'|'.join([*names, name])})\b", folder)
    whole = folder if (ROOT / "tests" / folder).exists() else "test_library.py"
    further = " ".join(_holding(r"\bmain\(\[", "")) if room == "engine" else whole
    return " ".join(found) or whole, f"{further} golden"


def _holding(pattern: str, folder: str) -> list[str]:
    """Files of tests below a folder whose text holds a pattern."""
    return [path for path, text in _test_files() if path.startswith(folder) and re.search(pattern, text)]


@cache
def _test_files() -> list[tuple[str, str]]:
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [(path.relative_to(ROOT / "tests").as_posix(), path.read_text(encoding="utf-8")) for path in files]
