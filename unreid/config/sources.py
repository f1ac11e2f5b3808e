"""Where settings come from: YAML files with ``_BASE_`` and overrides (KEY VALUE or KEY=VALUE), each with its origin."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from unreid.config.files import read_text
from unreid.config.shipped import locate
from unreid.config.values import Plain, Typed
from unreid.config.wording import shown
from unreid.config.yaml_nodes import MAX_DEPTH, MAX_NODES, YamlError, compose
from unreid.utils.errors import UserError

BASE_KEY = "_BASE_"
COMMAND_LINE = "command line"
MAX_FILES = 100
_TAG = "tag:yaml.org,2002:"
_PLAIN_TAGS = {_TAG + name for name in ("str", "int", "float", "bool", "null", "timestamp", "value")}
_MISSING: Any = object()
_NO_PATH = {"", "~", "null"}


@dataclass(frozen=True)
class Setting:
    """One key with its full dotted name, its value, the place it was written (``file:line``), and that file."""

    key: str
    value: Any
    origin: str
    file: str = ""


def read_pairs(words: Sequence[Any]) -> list[Setting]:
    """``[KEY, VALUE, KEY=VALUE, ...]`` -> settings: pairs and single words with ``=`` in any order.

    The first ``=`` of a word that stands where a key is due ends the key; values may hold more of them.

    Raises:
        UserError: a key without a value, or something else than text where a key is due.
    """
    settings, rest = [], iter(words)
    for key in rest:
        if not isinstance(key, str):
            raise UserError(f"An override starts with the name of a key, not with {shown(repr(key))}.")
        name, equals, value = key.partition("=")
        if not equals:
            value = next(rest, _MISSING)
        if value is _MISSING:
            raise UserError(
                f"Overrides come in pairs KEY VALUE, but there are {len(words)} words; the last one is "
                f"{shown(repr(key))}."
            )
        settings.append(Setting(name, Typed(value) if isinstance(value, str) else value, COMMAND_LINE))
    return settings


def read_file(path: str | os.PathLike[str]) -> list[Setting]:
    """All settings of a YAML file, those of its ``_BASE_`` files first (later settings win).

    ``_BASE_`` is a path or a list of paths, relative to the file that names them. Files that are not there are looked
    for among the shipped configs, see :func:`unreid.config.shipped.locate`.

    Raises:
        UserError: a file is missing or not YAML, a key stands twice, or ``_BASE_`` goes round in a circle or brings
            more than a hundred files.
    """
    if not os.fspath(path):
        raise UserError("The name of the config file is empty.")
    read: list[Path] = []
    try:
        file = locate(os.fspath(path))
    except RuntimeError as error:  # no such user
        raise UserError(f"The config file {shown(os.fspath(path))} cannot be read: {error}.") from None
    return list(_read(file, chain=(), asked_by="", read=read))


def _read(path: Path, chain: tuple[Path, ...], asked_by: str, read: list[Path]) -> Iterator[Setting]:
    """``read``: all files so far, each as often as it was read."""
    root = _compose(path, asked_by)
    real = path.resolve()
    if real in [seen.resolve() for seen in chain]:
        names = " -> ".join(shown(str(seen)) for seen in (*chain, path))
        raise UserError(f"{BASE_KEY} goes round in a circle: {names}.")
    read.append(path)
    if len(read) > MAX_FILES:
        raise UserError(f"{BASE_KEY} brings more than {MAX_FILES} files, the last one is {shown(str(path))}{asked_by}.")
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"{shown(str(path))} is not a config: its top level must be a list of KEY: value lines.")
    for base, origin in _bases(root, path):
        yield from _read(_beside(path, base, origin), (*chain, path), f" ({BASE_KEY} of {origin})", read)
    yield from _Flattening(path).settings(root)


def _compose(path: Path, asked_by: str) -> yaml.Node | None:
    text = read_text(path, asked_by)
    try:
        return compose(text)
    except YamlError as error:
        line = f":{error.line}" if error.line else ""
        raise UserError(f"{shown(str(path))}{line} is not valid YAML: {error}{asked_by}.") from None


def _beside(path: Path, base: str, origin: str) -> Path:
    try:
        return locate(base, path.parent)
    except RuntimeError as error:  # no such user
        raise UserError(f"{BASE_KEY} {shown(base)} cannot be resolved: {error} ({origin}).") from None


def _bases(root: yaml.MappingNode, path: Path) -> Iterator[tuple[str, str]]:
    for key_node, value_node in root.value:
        if key_node.value != BASE_KEY:
            continue
        origin = _place(path, key_node)
        nodes = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
        for node in nodes:
            named = isinstance(node, yaml.ScalarNode) and not (node.style is None and node.value.lower() in _NO_PATH)
            if not named or not node.value or node.tag not in _PLAIN_TAGS:
                raise UserError(f"{BASE_KEY} must be a path or a list of paths ({origin}).")
            yield node.value, origin


class _Flattening:
    """The nested mappings of one file as settings with full keys, each key at most once however it is spelt."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: dict[str, str] = {}
        self.count = 0

    def settings(
        self, node: yaml.MappingNode, prefix: str = "", outer: tuple[yaml.Node, ...] = ()
    ) -> Iterator[Setting]:
        """Every setting below ``node``; ``outer`` are the mappings around it."""
        if any(node is one for one in outer):
            raise UserError(f"A YAML alias contains itself ({_place(self.path, node)}).")
        if len(outer) > MAX_DEPTH:
            raise UserError(f"No config needs more than {MAX_DEPTH} sections inside each other ({self.place(node)}).")
        if node.tag != _TAG + "map":
            raise UserError(f"{shown(prefix[:-1]) or 'The file'} carries {_forbidden(node)} ({self.place(node)}).")
        here: dict[str, str] = {}
        for key_node, value_node in node.value:
            origin = self.place(key_node)
            key = prefix + _name(key_node, origin)
            self._once(key, origin, here)
            if key == BASE_KEY:
                continue
            if isinstance(value_node, yaml.MappingNode) and value_node.value:
                yield from self.settings(value_node, f"{key}.", (*outer, node))
            else:
                self._once(key, origin, self.seen)
                yield Setting(key, _value(value_node, shown(key), origin), origin, str(self.path))

    def place(self, node: yaml.Node) -> str:
        return _place(self.path, node)

    def _once(self, key: str, origin: str, seen: dict[str, str]) -> None:
        if key in seen:
            raise UserError(f"{shown(key)} stands twice: {seen[key]} and {origin}.")
        seen[key] = origin
        self.count += 1
        if self.count > 2 * MAX_NODES:  # few nodes become many settings where aliases repeat them
            raise UserError(f"No config needs more than {MAX_NODES} settings ({origin}).")


def _name(node: yaml.Node, origin: str) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise UserError(f"A key must be a name ({origin}).")
    if node.tag == _TAG + "merge":
        raise UserError(f"YAML's merge key << is not read ({origin}): name other files in {BASE_KEY}.")
    if node.tag not in _PLAIN_TAGS:
        raise UserError(f"A key carries {_forbidden(node)} ({origin}).")
    return str(node.value)


def _value(node: yaml.Node, key: str, origin: str) -> Any:
    if isinstance(node, yaml.ScalarNode):
        if node.tag not in _PLAIN_TAGS:
            raise UserError(f"{key} carries {_forbidden(node)} ({origin}).")
        return Plain(node.value) if node.style is None else node.value
    if isinstance(node, yaml.SequenceNode):
        if node.tag != _TAG + "seq":
            raise UserError(f"{key} carries {_forbidden(node)} ({origin}).")
        if not all(isinstance(item, yaml.ScalarNode) for item in node.value):
            raise UserError(f"{key} is a list of something else than plain values ({origin}).")
        return [_value(item, key, origin) for item in node.value]
    return {}  # an empty mapping: a section without keys


def _forbidden(node: yaml.Node) -> str:
    return f"the YAML tag {shown(node.tag)}, which configs may not use"


def _place(path: Path, node: yaml.Node) -> str:
    return f"{shown(str(path))}:{node.start_mark.line + 1}"
