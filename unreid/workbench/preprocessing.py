"""What happens to an image before a network sees it, as plain values that every file of the workbench records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unreid.utils.errors import UserError

if TYPE_CHECKING:
    from unreid.data.transforms import TestTransform

COLOR = "RGB"


@dataclass(frozen=True)
class Preprocessing:
    """Decode to RGB, resize with Pillow, scale to [0, 1], subtract the mean, divide by the deviation, channels first.

    Attributes:
        size: height and width in pixels.
        interpolation: "bicubic" or "bilinear".
        mean, std: of RGB in [0, 1].
    """

    size: tuple[int, int]
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def of(cls, transform: TestTransform) -> Preprocessing:
        """That of a test transform."""
        return cls(transform.resize.size, transform.resize.interpolation, transform.mean, transform.std)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], origin: str) -> Preprocessing:
        """The inverse of :meth:`to_dict`; :class:`UserError` for anything else."""
        try:
            height, width = content["size"]
            whole = all(type(side) is int and 0 < side <= 8192 for side in (height, width))
            if not whole or content["color"] != COLOR or content["interpolation"] not in ("bicubic", "bilinear"):
                raise ValueError
            mean, std = ((float(r), float(g), float(b)) for r, g, b in (content["mean"], content["std"]))
            return cls((height, width), content["interpolation"], mean, std)
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{origin} records a preprocessing that this release does not know: {content}.") from None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "size": list(self.size),
            "interpolation": self.interpolation,
            "mean": list(self.mean),
            "std": list(self.std),
            "color": COLOR,
        }

    def transform(self) -> TestTransform:
        """The transform that does it."""
        from unreid.data.reading import Resize
        from unreid.data.transforms import TestTransform

        return TestTransform(Resize(self.size, self.interpolation), self.mean, self.std)
