"""What never changes about a person: clothes, hair, skin, build, belongings."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import numpy as np

from unreid.rendering import cloth
from unreid.rendering.knobs import WorldKnobs
from unreid.rendering.palette import CLOTH, HAIR, SHOE_CHOICES, SKIN, Colour, jittered, pick
from unreid.rendering.seeding import Half, Purpose, stream

# How the members of a look-alike group share out their three colours over (upper, lower, accent).
_ARRANGEMENTS = ((0, 1, 2), (1, 0, 2), (0, 2, 1), (2, 1, 0), (1, 2, 0), (2, 0, 1))


class Lower(IntEnum):
    """Garment below the waist; a coat also covers the thighs with the upper cloth."""

    TROUSERS = 0
    SHORTS = 1
    SKIRT = 2
    COAT = 3


class Bag(IntEnum):
    """What the person carries."""

    NONE = 0
    BACKPACK = 1
    SHOULDER = 2
    HAND = 3


@dataclass(frozen=True)
class Person:
    """Appearance of one identity. Sizes are relative to an average person; ``cloth``: see :func:`~.cloth.weave`."""

    upper: Colour
    lower: Colour
    accent: Colour
    cloth: np.ndarray
    long_sleeves: bool
    lower_kind: Lower
    leg_stripe: bool
    skin: Colour
    hair: Colour
    long_hair: bool
    hat: Colour | None
    shoes: Colour
    bag: Bag
    bag_colour: Colour
    height: float
    width: float
    leg_ratio: float


@lru_cache(maxsize=4)  # the passages of an identity are rendered one after the other
def make_person(knobs: WorldKnobs, half: Half, number: int) -> Person:
    """Person ``number`` of a population: a pure function of the world seed, the group size and its own number.

    Consecutive numbers form look-alike groups of ``knobs.twin``: they share three clothing colours. In half of the
    groups everyone wears them in the same arrangement, so that only pattern, build and accessories tell them apart;
    in the others upper, lower and accent colour change places.
    """
    group = stream(knobs.seed, Purpose.LOOKALIKE_GROUP, half, number // knobs.twin)
    own = stream(knobs.seed, Purpose.IDENTITY, half, number)
    member = number % knobs.twin
    shared = CLOTH[group.permutation(len(CLOTH))[:3]]
    same_arrangement = group.random() < 0.5
    arrangement = _ARRANGEMENTS[0 if same_arrangement else member % len(_ARRANGEMENTS)]
    pattern = int(group.permutation(len(cloth.PATTERNS))[member % len(cloth.PATTERNS)])
    upper, lower, accent = (jittered(shared[i], own) for i in arrangement)

    long_sleeves = bool(own.random() < 0.5)
    has_jacket, jacket = own.random() < 0.35, pick(CLOTH, own)
    has_hat, hat = own.random() < 0.2, pick(CLOTH, own)
    return Person(
        upper=upper,
        lower=lower,
        accent=accent,
        long_sleeves=long_sleeves,
        lower_kind=Lower(own.choice(4, p=[0.5, 0.2, 0.15, 0.15])),
        leg_stripe=bool(own.random() < 0.2),
        skin=pick(SKIN, own, sigma=5.0),
        hair=pick(HAIR, own),
        long_hair=bool(own.random() < 0.4),
        hat=hat if has_hat else None,
        shoes=jittered(CLOTH[own.choice(SHOE_CHOICES)], own),
        bag=Bag(own.choice(4, p=[0.4, 0.3, 0.15, 0.15])),
        bag_colour=pick(CLOTH, own),
        height=float(own.uniform(0.90, 1.06)),
        width=float(own.uniform(0.84, 1.20)),
        leg_ratio=float(own.uniform(0.44, 0.52)),
        cloth=cloth.weave(own, pattern, upper, accent, jacket if long_sleeves and has_jacket else None),
    )
