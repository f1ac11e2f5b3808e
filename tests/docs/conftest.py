"""Runs of the pages' examples: the small world of the engine's tests."""

from __future__ import annotations

from tests.methods.conftest import tiny_config, world

__all__ = ["tiny_config", "world"]
