"""Keys of a section of the config as keyword arguments."""

from __future__ import annotations

from typing import Any


def settings(node: Any, *keys: str) -> dict[str, Any]:
    """``settings(cfg.MEMORY, "TEMP", "SMOOTH")`` is ``{"temp": cfg.MEMORY.TEMP, "smooth": cfg.MEMORY.SMOOTH}``."""
    return {key.lower(): getattr(node, key) for key in keys}
