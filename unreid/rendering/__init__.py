"""The procedural renderer: pedestrians over several cameras, from numbers only, the same files every time.

From the bottom up: ``knobs`` (what a world is), ``seeding`` (one random stream an object), ``palette``, ``cloth``,
``identity``, ``camera`` (what stays the same), ``canvas``, ``skeleton``, ``figure``, ``occluder`` (painting), ``scene``
(pictures of one pass), ``world`` and ``timeline`` (who passes where and when), ``plan`` and ``layouts`` (which file),
``writer`` (to disk). Nothing here imports PyTorch, so that rendering processes start at once.
"""

from __future__ import annotations

from unreid.rendering.knobs import RENDERER_VERSION, WorldKnobs

__all__ = ["RENDERER_VERSION", "WorldKnobs"]
