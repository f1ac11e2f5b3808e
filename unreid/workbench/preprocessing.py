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
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, transform: TestTransform) -> Preprocessing:
        """That of a test transform."""
        resize = transform.resize
        return cls(tuple(resize.size), resize.interpolation, tuple(transform.mean), tuple(transform.std))

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], origin: str) -> Preprocessing:
        """The inverse of :meth:`to_dict`; :class:`UserError` for anything else."""
        try:
            size, mean, std = (tuple(content[name]) for name in ("size", "mean", "std"))
            whole = all(type(side) is int and 0 < side <= 8192 for side in size)
            if not whole or (len(size), len(mean), len(std)) != (2, 3, 3) or content["color"] != COLOR:
                raise ValueError
            return cls(size, str(content["interpolation"]), tuple(map(float, mean)), tuple(map(float, std)))
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

        mean, std = self.mean, self.std
        return TestTransform(Resize(self.size, self.interpolation), (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))
