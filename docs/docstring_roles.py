"""Sphinx roles in docstrings as plain code: editors understand them, Markdown does not. Used by ``mkdocs.yml``."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

ROLE = re.compile(r":(?:class|func|meth|mod|attr|data|exc):`~?([\w.]+)`")


class DocstringRoles(Extension):
    """Turns ``:func:`~unreid.memory.contrast.cross_entropy``` into the last part of the name, as code."""

    def on_instance(self, *, obj: Object, **kwargs: Any) -> None:
        if obj.docstring:
            obj.docstring.value = ROLE.sub(lambda found: f"`{found[1].rpartition('.')[2]}`", obj.docstring.value)
