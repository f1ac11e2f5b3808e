"""Where settings come from: YAML files with ``_BASE_`` and KEY VALUE pairs, each with its origin."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from unreid.config.values import Plain, Typed
from unreid.utils.errors import UserError

BASE_KEY = "_BASE_"
COMMAND_LINE = "command line"
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp", "value")}


@dataclass(frozen=True)
class Setting:
    """One key with its full dotted name, its value, and the place it was written (``file:line``)."""

    key: str
    value: Any
    origin: str


def read_pairs(pairs: Sequence[Any]) -> list[Setting]:
    """``[KEY, VALUE, KEY, VALUE, ...]`` -> settings; raises :class:`UserError` on an odd number of entries."""
    if len(pairs) % 2:
        raise UserError(
            f"Overrides come in pairs KEY VALUE, but there are {len(pairs)} words; the last one is {pairs[-1]!r}."
        )
    settings = []
    for key, value in zip(pairs[0::2], pairs[1::2]):
        if not isinstance(key, str):
            raise UserError(f"An override starts with the name of a key, not with {key!r}.")
        settings.append(Setting(key, Typed(value) if isinstance(value, str) else value, COMMAND_LINE))
    return settings


def read_file(path: str | os.PathLike[str]) -> list[Setting]:
    """All settings of a YAML file, those of its ``_BASE_`` files first (later settings win).

    ``_BASE_`` is a path or a list of paths, relative to the file that names them.

    Raises:
        UserError: a file is missing or not YAML, a key stands twice, or ``_BASE_`` goes round in a circle.
    """
    return list(_read(Path(path), chain=(), asked_by=""))


def _read(path: Path, chain: tuple[Path, ...], asked_by: str) -> Iterator[Setting]:
    real = path.resolve()
    if real in [seen.resolve() for seen in chain]:
        names = " -> ".join(str(seen) for seen in (*chain, path))
        raise UserError(f"{BASE_KEY} goes round in a circle: {names}.")
    root = _compose(path, asked_by)
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"{path} is not a config: its top level must be a list of KEY: value lines.")
    for base, origin in _bases(root, path):
        yield from _read(path.parent / Path(base).expanduser(), (*chain, path), origin)
    yield from _flatten(root, "", path, open_nodes=())


def _compose(path: Path, asked_by: str) -> yaml.Node | None:
    suffix = f" ({BASE_KEY} of {asked_by})" if asked_by else ""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"There is no config file {path}{suffix}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The config file {path}{suffix} cannot be read: {error}.") from error
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{path}{line} is not valid YAML: {error.problem}.") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {error}.") from error


def _bases(root: yaml.MappingNode, path: Path) -> Iterator[tuple[str, str]]:
    for key_node, value_node in root.value:
        if key_node.value != BASE_KEY:
            continue
        origin = _place(path, key_node)
        nodes = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
        for node in nodes:
            if not isinstance(node, yaml.ScalarNode) or not node.value:
                raise UserError(f"{BASE_KEY} must be a path or a list of paths ({origin}).")
            yield node.value, origin


def _flatten(node: yaml.MappingNode, prefix: str, path: Path, open_nodes: tuple[yaml.Node, ...]) -> Iterator[Setting]:
    if any(node is seen for seen in open_nodes):
        raise UserError(f"A YAML alias contains itself ({_place(path, node)}).")
    seen: dict[str, str] = {}
    for key_node, value_node in node.value:
        origin = _place(path, key_node)
        if not isinstance(key_node, yaml.ScalarNode):
            raise UserError(f"A key must be a name ({origin}).")
        key = f"{prefix}{key_node.value}"
        if key in seen:
            raise UserError(f"{key} stands twice: {seen[key]} and {origin}.")
        seen[key] = origin
        if key == BASE_KEY:
            continue
        if isinstance(value_node, yaml.MappingNode) and value_node.value:
            yield from _flatten(value_node, f"{key}.", path, (*open_nodes, node))
        else:
            yield Setting(key, _value(value_node, key, origin), origin)


def _value(node: yaml.Node, key: str, origin: str) -> Any:
    if isinstance(node, yaml.ScalarNode):
        if node.tag not in _PLAIN_TAGS:
            raise UserError(f"{key} carries the YAML tag {node.tag}, which configs may not use ({origin}).")
        return Plain(node.value) if node.style is None else node.value
    if isinstance(node, yaml.SequenceNode):
        if not all(isinstance(item, yaml.ScalarNode) for item in node.value):
            raise UserError(f"{key} is a list of something else than plain values ({origin}).")
        return [_value(item, key, origin) for item in node.value]
    return {}  # an empty mapping: a section without keys


def _place(path: Path, node: yaml.Node) -> str:
    return f"{path}:{node.start_mark.line + 1}"
