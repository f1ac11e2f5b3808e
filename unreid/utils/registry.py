"""A name -> object table, filled by decorators."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from unreid.utils.errors import UserError

T = TypeVar("T")


class Registry(Generic[T]):
    """Maps the names that a user may write in a config to the classes or functions behind them.

    Lookup ignores case, ``-`` and ``_``, so ``cluster-contrast`` finds ``ClusterContrast``.

    Example:
        >>> POOLINGS = Registry("pooling")
        >>> @POOLINGS.register("avg")
        ... class AveragePooling: ...
        >>> POOLINGS.get("avg") is AveragePooling
        True
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._table: dict[str, T] = {}
        self._names: dict[str, str] = {}
        self._aliases: dict[str, tuple[str, ...]] = {}

    def register(self, name: str, *aliases: str) -> Callable[[T], T]:
        """Decorator; a second registration of a name (or alias) raises ``KeyError``."""

        def add(thing: T) -> T:
            for folded, key in {fold(key): key for key in (*aliases, name)}.items():
                if folded in self._table:
                    raise KeyError(f"{self.kind} {key!r} is registered twice")
                self._table[folded] = thing
                self._names[folded] = name
            self._aliases[fold(name)] = aliases
            return thing

        return add

    def get(self, name: str) -> T:
        """The object registered under ``name``; raises :class:`UserError` listing what there is."""
        try:
            return self._table[fold(name)]
        except KeyError:
            near = difflib.get_close_matches(fold(name), self._table, n=1)
            hint = f" Did you mean {self._names[near[0]]!r}?" if near else ""
            raise UserError(f"There is no {self.kind} named {name!r}.{hint} Available: {', '.join(self)}.") from None

    def spelt(self, name: str) -> str:
        """The name as it is registered, of any spelling or alias; :class:`UserError` as in :meth:`get`."""
        self.get(name)
        return self._names[fold(name)]

    def aliases(self, name: str) -> tuple[str, ...]:
        """What else finds the object that is registered under ``name``."""
        return self._aliases[fold(name)]

    def __contains__(self, name: str) -> bool:
        return fold(name) in self._table

    def __iter__(self) -> Iterator[str]:
        """The registered names (without aliases), sorted."""
        return iter(sorted(set(self._names.values())))


def fold(name: str) -> str:
    """What a lookup makes of a name: lower case, without ``-`` and ``_``."""
    return name.lower().replace("-", "").replace("_", "")
