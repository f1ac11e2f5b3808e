"""One command, under ``unreid`` or as a script of its own."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from unreid.engine.exits import STATUSES, guarded


@dataclass(frozen=True)
class Command:
    """What a command is called, takes and does.

    Nothing here or in the modules of commands imports torch: ``run`` does, once nothing is wrong with what was asked.

    Attributes:
        name: word after ``unreid``.
        run: does the work; mistakes of the user are ``UserError``.
    """

    name: str
    summary: str
    example: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]

    def add_to(self, commands: Any) -> None:
        """Adds the command to the sub-parsers of ``unreid``."""
        summary = self.summary[0].lower() + self.summary[1:].rstrip(".")
        self._declare(commands.add_parser(self.name, help=summary, **self._words()))

    def main(self, argv: Sequence[str] | None = None, *, script: str | None = None) -> int:
        """The command alone.

        Args:
            argv: its arguments; those of the process by default.
            script: what it is called in messages; ``unreid`` by default.

        Returns:
            The exit status.
        """
        parser = argparse.ArgumentParser(**self._words())
        self._declare(parser)
        arguments = parser.parse_args(argv)
        return guarded(lambda: self.run(arguments), script or "unreid")

    def _declare(self, parser: argparse.ArgumentParser) -> None:
        self.add_arguments(parser)
        parser.set_defaults(run=self.run)

    def _words(self) -> dict[str, Any]:
        return {"description": self.summary, "epilog": epilog(self.example), "formatter_class": HelpFormatter}


class HelpFormatter(argparse.HelpFormatter):
    """Keeps the paragraphs of a text apart, and indented ones as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = super()._fill_text
        parts = text.split("\n\n")
        return "\n\n".join(part if part.startswith("  ") else fill(part, width, indent) for part in parts)


def epilog(example: str) -> str:
    """The end of a help text: an example, and what the exit status means."""
    return f"example:\n\n  %(prog)s {example}\n\n{STATUSES}"
