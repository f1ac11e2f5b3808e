"""Which picture goes into which file: the meeting point of worlds, layouts and the writer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from unreid.rendering.scene import Passage
from unreid.rendering.seeding import Half


@dataclass(frozen=True)
class Roll:
    """The pictures of one passage and where they go.

    Attributes:
        targets: per image the relative paths (with ``/``) it is written to; most have one.
    """

    passage: Passage
    targets: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if len(self.targets) != self.passage.images:
            raise ValueError(f"{self.passage.images} images but {len(self.targets)} places for them")


@dataclass
class Plan:
    """A whole dataset folder.

    Attributes:
        extra: further files (lists, tables), relative path -> content.
        meta: what ``world.json`` says beside seed, knobs and version.
    """

    rolls: list[Roll]
    extra: dict[str, bytes] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        paths = list(self.paths())
        if len(set(paths)) != len(paths):
            raise ValueError("two pictures of the plan have the same file name")

    @property
    def images(self) -> int:
        return sum(roll.passage.images for roll in self.rolls)

    def paths(self) -> Iterable[str]:
        """Every image file of the folder."""
        return (path for roll in self.rolls for target in roll.targets for path in target)


def pid_of(passage: Passage) -> int:
    """The identity a file name states: odd for training, even for test persons, 0 distractor, -1 junk.

    Numbers of one population do not depend on the size of the other, so more identities leave the names of the
    existing images alone.
    """
    if passage.half is Half.DISTRACTOR:
        return 0
    if passage.half is Half.JUNK:
        return -1
    return 2 * passage.number + (1 if passage.half is Half.TRAIN else 2)
