"""``CfgNode``: a yacs tree that explains every refused setting."""

from __future__ import annotations

import copy
import difflib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn

import yacs.config

from unreid.config.checks import CHECKS
from unreid.config.keys import KEYS
from unreid.config.plugins import keys_of_plugins
from unreid.config.renamed import translate
from unreid.config.sources import BASE_KEY, Setting, read_file, read_pairs
from unreid.config.values import Plain, coerce, expected
from unreid.config.wording import shown
from unreid.utils.errors import UserError

logger = logging.getLogger(__name__)

ORIGINS = "__origins__"
PLUGINS = "PLUGINS"
MAX_KEY = 100  # characters of a key that is worth comparing with the valid ones


class CfgNode(yacs.config.CfgNode):
    """A config tree with attribute access.

    Every setting that is merged must name a key of the tree, have its type, and obey its rule (``keys/``); otherwise
    :class:`UserError` names the key, its place (``file:line`` or the command line) and the way out. Plug-ins that the
    settings name are imported first, and bring their keys. Merge into the root: rules and origins go by full key.

    Example:
        >>> from unreid.config import get_cfg
        >>> cfg = get_cfg()
        >>> cfg.merge_from_list(["OPTIM.LR", "1e-4", "DATASETS.NAMES", "Market1501,MSMT17"])
        >>> cfg.OPTIM.LR, cfg.DATASETS.NAMES
        (0.0001, ['Market1501', 'MSMT17'])
    """

    def merge_from_file(self, path: str | os.PathLike[str]) -> None:
        """Merge a YAML file and, before it, the files its ``_BASE_`` names (relative to it; path or list)."""
        self.merge_settings(read_file(path))

    def merge_from_list(self, pairs: Sequence[Any]) -> None:
        """Merge ``[KEY, VALUE, ...]``; texts may spell Python or YAML literals, or ``a,b`` for a list."""
        self.merge_settings(read_pairs(pairs))

    def merge_from_other_cfg(self, other: yacs.config.CfgNode) -> None:
        """Merge every value of another tree."""
        self.merge_settings([Setting(key, value, "another config") for key, value in leaves(other)])

    def merge_settings(self, settings: Sequence[Setting]) -> None:
        """Merge settings of any origin at once, so that plug-ins which the last name are there for the first."""
        if self.is_frozen():
            _refuse_write("a merge")
        named = [setting for setting in settings if setting.key == PLUGINS]
        if named and PLUGINS in self:
            self.add_plugins(self._check(named[-1], self[PLUGINS]))  # the last ones are those that will be set
        written: dict[tuple[str, str], str] = {}  # (file, key) -> origin
        for setting in translate(settings, lambda key: find(self, key) is not None):
            first = written.setdefault((setting.file, setting.key), setting.origin)
            if setting.file and first != setting.origin:  # one of them in an old spelling
                raise UserError(f"{setting.key} stands twice: {first} and {setting.origin}.")
            self._apply(setting)

    def add_plugins(self, names: Sequence[str]) -> None:
        """Import plug-ins, files or modules, and add the keys that they declare, at their defaults."""
        for key in keys_of_plugins(names):
            if find(self, key) is None:
                self.plant(key, copy.copy(KEYS[key].default))

    def plant(self, key: str, value: Any) -> None:
        """Set a full key as it is, with the sections that are missing on the way; nothing is checked."""
        *path, name = key.split(".")
        node = self
        for part in path:
            if part not in node:
                node[part] = CfgNode()
            node = node[part]
        node[name] = value

    def validate(self) -> None:
        """Check every value against its rule, and the values that depend on each other (``checks.py``).

        Values that were set by attribute get the types of the defaults: a tuple becomes a list, 1 becomes 1.0.

        Raises:
            UserError: an attribute was set that no key has, or to a value of another type or out of range; or two
                settings contradict each other.
        """
        for key, value in list(leaves(self)):
            setting = Setting(key, value, self.origin(key))
            if key not in KEYS:
                raise UserError(_unknown_key(self, setting))
            checked = self._check(setting, KEYS[key].default)
            if type(checked) is not type(value) or checked != value:
                self.plant(key, checked)
        for check in CHECKS:
            problem = next(check(self), "")
            if problem:
                raise UserError(problem)

    def origin(self, key: str) -> str:
        """Where a full key got its value: ``file:line``, ``command line`` or ``default``."""
        return self.__dict__.get(ORIGINS, {}).get(key, "default")

    def dump(self, **kwargs: Any) -> str:
        """The tree as YAML in the order of its definition; merging it into the defaults gives the tree again."""
        return super().dump(**{"sort_keys": False, "width": 120, **kwargs})

    def _apply(self, setting: Setting) -> None:
        default = find(self, setting.key)
        if default is None:
            raise UserError(_unknown_key(self, setting))
        if isinstance(default, CfgNode):
            if setting.value in ({}, Plain("")):
                return
            inside = ", ".join(f"{setting.key}.{name}" for name in list(default)[:3])
            raise UserError(f"{setting.key} is a section with keys such as {inside}, not a value ({setting.origin}).")
        value = self._check(setting, default)
        self.plant(setting.key, value)
        self.__dict__.setdefault(ORIGINS, {})[setting.key] = setting.origin

    @staticmethod
    def _check(setting: Setting, default: Any) -> Any:
        """The setting's value as the type of ``default``, obeying its rule."""
        try:
            value = coerce(setting.value, default)
        except ValueError as error:
            raise UserError(f"{setting.key} must be {error}, got {_value(setting.value)} ({setting.origin}).") from None
        key = KEYS.get(setting.key)
        if key is None:
            return value
        if not key.rule.accepts(value):
            raise UserError(f"{setting.key} must be {key.rule.allowed}, got {_value(value)} ({setting.origin}).")
        return key.rule.read(value)

    def __deepcopy__(self, memo: dict[int, Any]) -> CfgNode:
        twin = type(self)()
        for name, value in self.items():
            twin[name] = copy.deepcopy(value, memo)
        twin.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return twin

    def __setitem__(self, name: str, value: Any) -> None:
        if self.__dict__.get(self.IMMUTABLE, False):
            _refuse_write(name)
        super().__setitem__(name, value)

    def __delitem__(self, name: str) -> None:
        if self.__dict__.get(self.IMMUTABLE, False):
            _refuse_write(name)
        super().__delitem__(name)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """As ``dict.update``, refused on a frozen tree."""
        for name, value in dict(*args, **kwargs).items():
            self[name] = value


def leaves(node: yacs.config.CfgNode, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every (full key, value) of a tree, in the order of its definition."""
    for name, value in node.items():
        if isinstance(value, yacs.config.CfgNode):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def find(node: yacs.config.CfgNode, key: str) -> Any:
    """The value or section under a full key, or None when there is none."""
    found: Any = node
    for part in key.split("."):
        if not isinstance(found, yacs.config.CfgNode) or part not in found:
            return None
        found = found[part]
    return found


def nearest_key(keys: Iterable[str], key: str) -> str | None:
    """Of the valid keys the one most like a wrong one: its sibling, near as a whole, or the same name elsewhere."""
    section, _, name = key.lower().rpartition(".")

    def likeness(candidate: str) -> float:
        other_section, _, other_name = candidate.lower().rpartition(".")
        names = difflib.SequenceMatcher(None, name, other_name).ratio()
        if other_section == section:  # siblings first: TEMPERATURE is TEMP of the same section
            related = names >= 0.6 or name.startswith(other_name) or (len(name) > 1 and other_name.startswith(name))
            related |= len(name) == len(other_name) > 1 and sum(a != b for a, b in zip(name, other_name)) == 1
            return 1.5 + names if related else names
        return names + difflib.SequenceMatcher(None, key.lower(), candidate.lower()).ratio()

    best = max(keys, key=likeness, default=None)
    return best if best is not None and likeness(best) > 1.1 else None


def _unknown_key(node: CfgNode, setting: Setting) -> str:
    key = setting.key
    said = f"There is no config key {shown(key) or repr(key)} ({setting.origin});"
    parts = key.split(".")
    for end in range(1, min(len(parts), MAX_KEY)):
        prefix = ".".join(parts[:end])
        value = find(node, prefix)
        if value is not None and not isinstance(value, CfgNode):
            return f"{prefix} takes {expected(value)}, not a section ({setting.origin})."
    if key == BASE_KEY:
        return f"{said} only files name their bases."
    if key.startswith("-"):
        return f"{said} options come before the overrides."
    others = (other for other, _ in leaves(node) if other != key)  # a wrong attribute is in the tree itself
    near = nearest_key(others, key) if len(key) <= MAX_KEY else None
    return f"{said} did you mean {near}?" if near else f"{said} `unreid config` prints all keys."


def _value(value: Any) -> str:
    """A value of any type as it may stand in a sentence."""
    if isinstance(value, (list, tuple)):
        more = f", ... ({len(value)} values)" if len(value) > 4 else ""
        return "[" + ", ".join(_value(item) for item in value[:4]) + more + "]"
    if isinstance(value, Plain):
        return shown(str(value)) if value else "nothing"
    if isinstance(value, int) and abs(value) >= 10**100:
        return "a number of more than 100 digits"
    return shown(repr(value))


def _refuse_write(name: str) -> NoReturn:
    raise AttributeError(f"the config is frozen: {name} cannot change it; clone() and defrost() give a copy to edit")
