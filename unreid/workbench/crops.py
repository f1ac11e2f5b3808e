"""Which images are meant, and what is known about their cameras."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unreid.data.datasets.files import image_tree
from unreid.data.datasets.manifest import read_manifest
from unreid.data.formats import why_not_an_image
from unreid.utils.errors import UserError
from unreid.workbench.feature_table import NO_CAMERA

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Crops:
    """Images below a folder, sorted by path.

    Attributes:
        root: absolute folder.
        paths: below it, with ``/``.
        cameras: of each; :data:`~unreid.workbench.feature_table.NO_CAMERA` where unknown.
    """

    root: str
    paths: list[str]
    cameras: list[str]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def files(self) -> list[str]:
        """Absolute paths."""
        return [os.path.join(self.root, path) for path in self.paths]

    def told_apart(self, read: Sequence[int]) -> tuple[list[str], list[str], list[str]]:
        """Paths and cameras of the images that could be read, and the paths of all others."""
        known = set(read)
        unreadable = [path for row, path in enumerate(self.paths) if row not in known]
        return [self.paths[row] for row in read], [self.cameras[row] for row in read], unreadable

    @property
    def fingerprint(self) -> str:
        """The same for the same list of names and cameras below the same folder."""
        text = "\0".join((self.root, *self.paths, *self.cameras))
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def list_crops(images: str | Path, *, camera_regex: str = "", manifest: str | Path = "") -> Crops:
    """The images of a folder, or one image.

    Args:
        images: a folder, searched with all below it, or an image.
        camera_regex: its first group, searched in the path below the folder, is the camera.
        manifest: CSV file with columns ``path`` and ``camera`` instead; the paths are below ``images``, or below the
            folder of the one image.

    Raises:
        UserError: there is no such folder or image, no image in it, or a wrong expression or manifest.
    """
    check_images(images)
    pattern = compiled(camera_regex)
    alone = "" if os.path.isdir(images) else os.path.basename(images)
    root = Path(os.path.abspath(os.path.dirname(images) if alone else images))
    if manifest:
        listed = sorted((crop.path, crop.camera) for crop in read_manifest(Path(manifest), root, {}))
        chosen = [pair for pair in listed if alone in ("", pair[0])]
        if not chosen:
            raise UserError(f"--manifest {manifest} has no line for {images}.")
        return Crops(str(root), [path for path, _ in chosen], [camera for _, camera in chosen])
    paths = [alone] if alone else image_tree(root, "images")
    if not paths:
        raise UserError(f"There is no image below {images}.")
    cameras = [_camera(pattern, path) for path in paths]
    without = [path for path, camera in zip(paths, cameras) if camera == NO_CAMERA]
    if pattern is not None and without:
        shown = f"{len(without)} of {len(paths)} images match no camera (first: {without[0]})"
        if len(without) == len(paths):
            raise UserError(f"--camera-regex {camera_regex!r}: {shown}; it is searched in the path below {root}.")
        logger.warning("%s", shown)
    return Crops(str(root), paths, cameras)


def check_images(images: str | Path) -> None:
    """Raises :class:`UserError` unless there is such a folder or image; the folder is not searched."""
    if os.path.isdir(images):
        return
    reason = why_not_an_image(images)
    if reason is not None:
        raise UserError(f"There is no folder and no image {images}: it {reason}.")


def compiled(camera_regex: str) -> re.Pattern[str] | None:
    """The expression, or None for ""; :class:`UserError` if it is none or has no group."""
    if not camera_regex:
        return None
    try:
        pattern = re.compile(camera_regex)
    except (re.error, OverflowError, RecursionError) as error:
        raise UserError(f"--camera-regex: {camera_regex!r} is not a regular expression ({error}).") from None
    if not pattern.groups:
        raise UserError(
            f"--camera-regex: {camera_regex!r} has no group; put what it should read into parentheses, as in 'c(\\d+)'."
        )
    return pattern


def _camera(pattern: re.Pattern[str] | None, path: str) -> str:
    match = pattern.search(path) if pattern is not None else None
    found = (match[1] if match else None) or NO_CAMERA
    return os.fsencode(found).decode("utf-8", "backslashreplace")  # a name of a folder need not be text, a camera is
