"""The type of a config value: what a key accepts, decided by the type of its default."""

from __future__ import annotations

import ast
import math
import re
import warnings
from typing import Any

import yaml

from unreid.config.wording import BROKEN
from unreid.config.yaml_nodes import YamlError, compose

MAX_TEXT = 4096
"""Characters of a text, the longest path of Linux."""

_DIGITS = "[0-9]+(?:_[0-9]+)*"
_INT = re.compile(rf"[-+]?{_DIGITS}")
_FLOAT = re.compile(rf"[-+]?({_DIGITS}\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_MAX_NUMBER = 400  # characters; Python itself refuses to read numbers of more than 4300 digits
_LITERAL = re.compile(r"""[rRuU]?['"]|[\[(]""")  # how the only Python literals begin that are read as such
_HUGE = 10**300  # integers from here on are not turned into floats
_CLEAN_TEXT = f"text of at most {MAX_TEXT} characters without control characters"
_TRUE = {"true", "yes", "on"}
_FALSE = {"false", "no", "off"}
_NOTHING = {"", "~", "null"}
_EXPECTED = {bool: "True or False", int: "a whole number", float: "a number", str: "text"}
_PLURAL = {bool: "truth values", int: "whole numbers", float: "numbers", str: "texts"}


class Plain(str):
    """An unquoted scalar of a file: the key it is given to decides what it means.

    YAML 1.1 reads ``off`` as False and ``1e-4`` as text; here a key of type text keeps ``off`` and a number takes
    ``1e-4``.
    """


class Typed(str):
    """A value as typed on the command line: shell text that may spell a literal or a list."""


def expected(default: Any) -> str:
    """What a key with this default takes, in words."""
    if isinstance(default, (list, tuple)):
        return f"a list of {_PLURAL[_element_type(default)]}"
    return _EXPECTED[type(default)]


def coerce(value: Any, default: Any) -> Any:
    """``value`` as the type of ``default``.

    An int is a float too; a single value given to a list becomes its only element; None is never a value.

    Args:
        value: a Python value, or text from a file (:class:`Plain`) or from the command line (:class:`Typed`).
        default: bool, int, float, str, or a list of one of these (an empty list holds texts).

    Raises:
        ValueError: the value is of another type; the message says what is expected.
    """
    if isinstance(value, Typed):
        value = _decode(value, default)
    if isinstance(default, (list, tuple)):
        kind = _element_type(default)
        items = list(value) if isinstance(value, (list, tuple)) else [value]
        return [_scalar(item, kind, default) for item in items]
    return _scalar(value, type(default), default)


def literal(value: Any) -> Any:
    """``value`` as Python would read it, for texts whose target type is not known (old keys)."""
    if isinstance(value, (list, tuple)):
        return [literal(item) for item in value]
    if isinstance(value, Typed):
        return literal(_decode(value, []))
    if not isinstance(value, Plain):
        return value
    for kind in (bool, int, float):
        try:
            return _scalar(value, kind, kind())
        except ValueError:
            continue
    return str(value)


def _element_type(default: list[Any] | tuple[Any, ...]) -> type:
    return type(default[0]) if default else str


def _scalar(value: Any, kind: type, default: Any) -> Any:
    if isinstance(value, Plain):
        value = _parse(value, kind)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < _HUGE else math.inf
    right_type = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if not right_type or (kind is float and not math.isfinite(value)):
        raise ValueError(expected(default))
    if kind is str and (len(value) > MAX_TEXT or BROKEN.search(value)):
        raise ValueError(_CLEAN_TEXT)
    return kind(value) + 0.0 if kind is float else kind(value)  # + 0.0 makes -0.0 a plain zero


def _parse(text: str, kind: type) -> Any:
    """An unquoted scalar as ``kind``; None when it does not spell one."""
    folded = text.lower()
    if kind is str:
        return None if folded in _NOTHING else str(text)
    if kind is bool:
        return True if folded in _TRUE else False if folded in _FALSE else None
    if len(text) > _MAX_NUMBER:
        return None
    if kind is int:
        return int(text) if _INT.fullmatch(text) else None
    return float(text) if _FLOAT.fullmatch(text) else None


def _decode(text: str, default: Any) -> Any:
    """Shell text -> a Python literal, a YAML list, a comma-separated list, or an unquoted scalar."""
    if text == "None":
        return None
    value = _literal_eval(text)
    if isinstance(value, str):
        return value
    if isinstance(default, str):
        return Plain(text) if text else ""
    if isinstance(value, (list, tuple)):
        return list(value)
    stripped = text.strip()
    if isinstance(default, (list, tuple)) and stripped.startswith("["):
        return _flow_list(stripped)
    if isinstance(default, (list, tuple)) and "," in stripped:
        return [Plain(item.strip()) for item in stripped.split(",") if item.strip()]
    return Plain(stripped)


def _literal_eval(text: str) -> Any:
    """A quoted text, list or tuple as Python reads it; None for anything else, and for text that no value needs."""
    if not _LITERAL.match(text) or len(text) > 2 * MAX_TEXT:
        return None
    try:
        with warnings.catch_warnings(action="ignore"):  # an unknown escape such as "\d" is kept as it is
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _flow_list(text: str) -> Any:
    try:
        node = compose(text)
    except YamlError:
        return Plain(text)
    if not isinstance(node, yaml.SequenceNode) or not all(isinstance(item, yaml.ScalarNode) for item in node.value):
        return Plain(text)
    return [Plain(item.value) if item.style is None else item.value for item in node.value]
