"""YAML text -> its node tree, within bounds that no config reaches and every YAML bomb exceeds."""

from __future__ import annotations

from typing import Any

import yaml

MAX_NODES = 5000
MAX_DEPTH = 20


class YamlError(ValueError):
    """Text that is not YAML, or more of it than a config can need; ``line`` (from 1) is where, if known."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem)
        self.line = line


class _BoundedLoader(yaml.SafeLoader):
    """Composes as ``SafeLoader`` does, but neither deeper than its stack nor more than its memory allows."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.nodes = 0
        self.depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.nodes += 1
        self.depth += 1
        if self.depth > MAX_DEPTH or self.nodes > MAX_NODES:
            what = f"deeper than {MAX_DEPTH} levels" if self.depth > MAX_DEPTH else f"more than {MAX_NODES} values"
            raise YamlError(f"no config needs {what}", self.line + 1)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def compose(text: str) -> yaml.Node | None:
    """The root node of one document, or None for an empty one.

    Raises:
        YamlError: see there; its text is the problem in a few words.
    """
    try:
        loader = _BoundedLoader(text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(f"the character U+{ord(text[error.position]):04X} is not allowed", line) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise YamlError(error.problem or "something is missing", mark.line + 1 if mark else None) from None
    except YamlError:
        raise
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # such as an escape "\UFFFFFFFF"
        raise YamlError(str(error).partition("\n")[0]) from None
