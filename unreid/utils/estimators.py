"""Clusterers of scikit-learn by name, and their arguments as texts; importing this needs neither it nor torch."""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Iterable, Sequence
from typing import Any

from unreid.utils.errors import UserError

PREFIX = "sklearn/"
"""Begins the names of clusterers that scikit-learn looks up."""


def estimator(name: str) -> Any:
    """The class ``name`` of ``sklearn.cluster``, without prefix.

    Raises:
        UserError: there is none that clusters; the sentence lists those there are.
    """
    import sklearn.cluster

    classes = {entry: getattr(sklearn.cluster, entry) for entry in sklearn.cluster.__all__}
    names = [entry for entry, kind in classes.items() if inspect.isclass(kind) and hasattr(kind, "fit_predict")]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"Did you mean {PREFIX}{near[0]}? " if near else ""
        raise UserError(f"scikit-learn has no clusterer {name!r}. {hint}There are: {', '.join(names)}.")
    return classes[name]


def accepted_arguments(kind: Any, given: Iterable[str]) -> set[str]:
    """What the class takes.

    Raises:
        UserError: it does not take one of ``given``.
    """
    accepted = inspect.signature(kind).parameters
    for key in given:
        if key not in accepted:
            near = difflib.get_close_matches(key, accepted, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(accepted)}."
            raise UserError(f"CLUSTER.SKLEARN.ARGUMENTS: {kind.__name__} takes no {key}; {hint}")
    return set(accepted)


def parse_arguments(texts: Sequence[str]) -> dict[str, Any]:
    """``["min_cluster_size=5", "linkage=average"]`` as keyword arguments; values are literals or plain text.

    Raises:
        UserError: a text without ``=`` or with an empty name.
    """
    arguments: dict[str, Any] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name.strip().isidentifier():
            raise UserError(f"CLUSTER.SKLEARN.ARGUMENTS takes texts such as min_cluster_size=5, not {text!r}.")
        try:
            arguments[name.strip()] = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            arguments[name.strip()] = value.strip()
    return arguments
