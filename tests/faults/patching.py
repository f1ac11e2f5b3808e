"""Puts a changed file into a process that has imported it already: cheaper than importing everything again."""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType, FunctionType

OPTIMIZED = 1  # CO_OPTIMIZED: set for functions, not for the bodies of modules and classes


class Fresh(Exception):
    """The change shows when the file is imported, so that it has to be imported again."""


def changes(path: Path, before: str, after: str) -> dict[CodeType, CodeType]:
    """The code of each function of a file, before and after a change. Raises :class:`Fresh`."""
    found: dict[CodeType, CodeType] = {}
    old, new = (compile(text, str(path), "exec", dont_inherit=True) for text in (before, after))
    _pair(old, new, found)
    return found


def living(package: Path) -> dict[str, list[FunctionType]]:
    """The functions of a package that live in this process, by file."""
    found: dict[str, list[FunctionType]] = defaultdict(list)
    for thing in gc.get_objects():
        if type(thing) is FunctionType and thing.__code__.co_filename.startswith(str(package)):
            found[thing.__code__.co_filename].append(thing)
    return found


def patch(functions: Iterable[FunctionType], found: dict[CodeType, CodeType]) -> None:
    """Functions run the changed code from now on."""
    for function in functions:
        function.__code__ = found.get(function.__code__, function.__code__)


def _pair(old: CodeType, new: CodeType, found: dict[CodeType, CodeType]) -> None:
    inner = list(zip(_nested(old), _nested(new)))
    alike = [a.co_name for a in _nested(old)] == [b.co_name for b in _nested(new)]
    if old.co_flags & OPTIMIZED:
        if old.co_freevars == new.co_freevars:  # else the function around it, which is changed, makes it anew
            found[old] = new
        if not alike:
            return
    elif not alike or _shell(old) != _shell(new):
        raise Fresh
    for a, b in inner:
        at_once = a.co_name.startswith("<") and a.co_name != "<lambda>"  # a comprehension runs where it stands
        if at_once and not old.co_flags & OPTIMIZED and any(_shell(x) != _shell(y) for x, y in _trees(a, b)):
            raise Fresh
        _pair(a, b, found)


def _nested(code: CodeType) -> list[CodeType]:
    return [const for const in code.co_consts if isinstance(const, CodeType)]


def _trees(a: CodeType, b: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    yield a, b
    for x, y in zip(_nested(a), _nested(b)):
        yield from _trees(x, y)


def _shell(code: CodeType) -> tuple[object, ...]:
    """What a piece of code does, without its lines and without the functions in it."""
    constants = tuple((type(c).__name__, repr(c)) for c in code.co_consts if not isinstance(c, CodeType))
    names = (code.co_names, code.co_varnames, code.co_cellvars, code.co_freevars)
    return (code.co_code, constants, names, code.co_exceptiontable, code.co_argcount, code.co_kwonlyargcount)
