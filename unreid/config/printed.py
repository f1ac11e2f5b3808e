"""A resolved config as YAML to read: every key with its meaning, and where it was set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from unreid.config.keys import KEYS, SECTIONS
from unreid.config.node import CfgNode

INDENT = "  "


def commented(cfg: CfgNode) -> str:
    """The whole tree as YAML that loads to the same tree, one key a line: ``NAME: value  # meaning (file:line)``."""
    return "".join(f"{line}\n" for line in _lines(cfg, cfg, ""))


def _lines(root: CfgNode, node: CfgNode, prefix: str) -> Iterator[str]:
    indent = INDENT * prefix.count(".")
    for name, value in node.items():
        key = f"{prefix}{name}"
        if isinstance(value, CfgNode):
            yield _with_comment(f"{indent}{name}:", SECTIONS.get(key, ""))
            yield from _lines(root, value, f"{key}.")
            continue
        origin = root.origin(key)
        text = KEYS[key].text if key in KEYS else ""
        yield _with_comment(f"{indent}{name}: {as_yaml(value)}", text if origin == "default" else f"{text} ({origin})")


def _with_comment(line: str, comment: str) -> str:
    return f"{line}  # {comment.strip()}" if comment else line


def as_yaml(value: Any) -> str:
    """One value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
