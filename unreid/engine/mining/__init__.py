"""The miner: from tracklets to relation files. What does the work is imported once the command line has been read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unreid.engine.mining.options import Mining

if TYPE_CHECKING:
    from unreid.engine.mining.miner import mine

__all__ = ["Mining", "mine"]


def __getattr__(name: str) -> Any:
    if name != "mine":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from unreid.engine.mining.miner import mine

    return mine
