"""Reads the instructions of a pickle without carrying them out, and refuses one that would grow without end.

A pickle is a small program. A file of a hundred bytes can name a list that holds itself, a tuple that holds another
one twice, fifty times over (hashing or copying it takes for ever), or a memo place number two billion (the unpickler
allocates up to there). Here the program runs on shapes instead of values: all of that shows before anything is built.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any, cast

MAX_DEPTH = 100
FREE_SIZE = 1_000_000
"""So many objects are fine in any file; a larger one may hold ``GROWTH`` times the objects that it spells out."""
GROWTH = 20
FREE_TEXT = 1 << 26
"""Characters and bytes that calls may be given; in a larger file twice its length."""

_CONTAINERS = ("builtins", "__builtin__", "collections")
_GROWS = {"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS"}
_CALLS = {"REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ", "INST"}
_MARK = object()


class GrowthError(Exception):
    """The pickle would build more than its file can justify."""


class DamagedError(Exception):
    """The bytes are no whole pickle."""


@dataclass(eq=False)
class Shape:
    """What is known of an object that the pickle would build.

    Attributes:
        made_by: "module name" of the callable it would come from; "" for plain containers.
        values: its items, in order: plain values as they are, everything else as :class:`Shape`.
        whole, depth: size of the object written out as a tree, and its levels, when it was made; final for tuples only,
            which cannot change any more (and which alone are hashed).
    """

    made_by: str = ""
    values: list[Any] = field(default_factory=list)
    whole: int = 1
    depth: int = 1


Check = Callable[[str, Shape], None]
"""``check(opcode, shape)`` sees every name (opcode "GLOBAL"), call (its arguments are ``shape.values``) and state."""


def scan(file: IO[bytes], check: Check | None = None) -> None:
    """Goes through one pickle, from where ``file`` stands to the pickle's end.

    Args:
        file: seekable; left behind the pickle's last byte.
        check: may raise whatever it likes to refuse a call.

    Raises:
        GrowthError: what the pickle builds has no bound in its length.
        DamagedError: the bytes are no pickle, or its instructions contradict each other.
    """
    start = file.tell()
    end = file.seek(0, io.SEEK_END)
    machine = _Machine(check, end - start)
    file.seek(start)
    try:
        for opcode, argument, _ in pickletools.genops(cast(IO[bytes], _Within(file, end))):
            machine.do(opcode, argument)
        _check_whole(machine.result, machine.limit)
    except (GrowthError, DamagedError):
        raise
    except (MemoryError, ValueError, IndexError, KeyError, EOFError, AttributeError, TypeError, OverflowError) as error:
        raise DamagedError(str(error) or type(error).__name__) from None


class _Within:
    """A file that is never asked for more bytes than it has: a buffer of the asked length would be made first."""

    def __init__(self, file: IO[bytes], end: int) -> None:
        self.file = file
        self.end = end
        self.tell = file.tell
        self.readline = file.readline

    def read(self, count: int) -> bytes:
        return self.file.read(min(count, self.end - self.file.tell()))


class _Machine:
    """The unpickler's stack and memo, with shapes for objects."""

    def __init__(self, check: Check | None, size: int) -> None:
        self.check = check
        self.size = size
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.steps = 0
        self.copied = 0
        self.spelled = 0
        self.result: Any = None

    @property
    def limit(self) -> int:
        return FREE_SIZE + GROWTH * self.steps

    def do(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        self.steps += 1
        name = opcode.name
        if name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self._remember(len(self.memo) if name == "MEMOIZE" else argument)
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name == "MARK":
            self.stack.append(_MARK)
        elif name == "DUP":
            self.stack.append(self.stack[-1])
        elif name in _GROWS:
            items = self._take(opcode)
            _shape(items[0]).values += items[1:]
            self.stack.append(items[0])
        elif name == "BUILD":
            state = self.stack.pop()
            if self.check is not None:
                self.check(name, Shape(_shape(self.stack[-1]).made_by, [state]))
            _shape(self.stack[-1]).values.append(state)
        elif name in _CALLS:
            self._call(name, self._take(opcode), argument)
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            parts = self._take(opcode)
            named = argument if name == "GLOBAL" else " ".join(map(str, parts))
            if self.check is not None:
                self.check("GLOBAL", Shape(named))
            self.stack.append(named)
        elif name == "PERSID":
            raise DamagedError("a storage that is named by a text")
        elif not opcode.stack_before and len(opcode.stack_after) == 1 and "EMPTY" not in name:
            self.stack.append(argument)  # a plain value
        else:
            self._build(opcode)

    def _remember(self, place: int) -> None:
        if not 0 <= place <= self.steps:
            raise GrowthError(f"it asks for memo place {place}")
        self.memo[place] = self.stack[-1]

    def _take(self, opcode: pickletools.OpcodeInfo) -> list[Any]:
        """The stack items that an instruction uses up, without marks."""
        before = opcode.stack_before
        if pickletools.markobject not in before:
            if len(before) > len(self.stack):
                raise DamagedError("the stack is empty")
            items = self.stack[len(self.stack) - len(before) :]
            del self.stack[len(self.stack) - len(before) :]
        else:
            start = len(self.stack) - 1 - self.stack[::-1].index(_MARK)
            extra = before.index(pickletools.markobject)
            if start < extra:
                raise DamagedError("the stack is empty")
            items = self.stack[start - extra : start] + self.stack[start + 1 :]
            del self.stack[start - extra :]
        if _MARK in items:
            raise DamagedError("a mark where a value is expected")
        return items

    def _build(self, opcode: pickletools.OpcodeInfo) -> None:
        items = self._take(opcode)
        if opcode.name == "STOP":
            self.result = items[0]
        elif opcode.name == "BINPERSID":
            shape = Shape("persistent", list(_shape(items[0]).values))
            if self.check is not None:
                self.check(opcode.name, shape)
            self.stack.append(shape)
        elif opcode.stack_after:
            self._push(Shape(values=items))

    def _call(self, name: str, items: list[Any], argument: Any) -> None:
        if name == "INST":
            callee, given = argument, items
        elif name == "OBJ":
            callee, given = items[0], items[1:]
        else:
            callee, given = items[0], list(_shape(items[1]).values) + items[2:]
        if not isinstance(callee, str):
            raise DamagedError("a call of something that is no function")
        # set([...]) and its like copy their argument, one level deep, and a text becomes its characters.
        texts = sum(len(item) for item in given if isinstance(item, (str, bytes, bytearray)))
        self.spelled += texts
        self.copied += sum(len(item.values) for item in given if isinstance(item, Shape))
        self.copied += texts if callee.startswith(_CONTAINERS) else 0
        if self.copied > self.limit or self.spelled > FREE_TEXT + 2 * self.size:
            raise GrowthError("it has a container that is copied many times over")
        shape = Shape(callee, given)
        if self.check is not None:
            self.check(name, shape)
        self._push(shape)

    def _push(self, shape: Shape) -> None:
        inner = [item for item in shape.values if isinstance(item, Shape)]
        shape.whole = 1 + len(shape.values) + sum(item.whole for item in inner)
        shape.depth = 1 + max((item.depth for item in inner), default=0)
        _check_size(shape.whole, shape.depth, self.limit)
        self.stack.append(shape)


def _shape(item: Any) -> Shape:
    if not isinstance(item, Shape):
        raise DamagedError("a plain value where a container is expected")
    return item


def _check_size(size: int, depth: int, limit: int) -> None:
    if size > limit:
        raise GrowthError("it has containers that hold others many times over")
    if depth > MAX_DEPTH:
        raise GrowthError(f"it has containers within containers, more than {MAX_DEPTH} deep")


def _check_whole(result: Any, limit: int) -> None:
    """Bounds the result, written out as a tree; lists and dicts may have grown after they were put into others."""
    sizes: dict[int, tuple[int, int]] = {}  # id -> (size, depth)
    path: set[int] = set()
    todo: list[tuple[Any, bool]] = [(result, False)]
    while todo:
        shape, seen = todo.pop()
        if not isinstance(shape, Shape) or id(shape) in sizes:
            continue
        inner = [item for item in shape.values if isinstance(item, Shape)]
        if not seen:
            path.add(id(shape))
            todo.append((shape, True))
            for item in inner:
                if id(item) in path:
                    raise GrowthError("it has a container that holds itself")
                todo.append((item, False))
            continue
        path.discard(id(shape))
        size = 1 + len(shape.values) + sum(sizes[id(item)][0] for item in inner)
        depth = 1 + max((sizes[id(item)][1] for item in inner), default=0)
        _check_size(size, depth, limit)
        sizes[id(shape)] = size, depth
