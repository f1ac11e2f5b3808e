"""Which frames of a tracklet are read: one pure function for training, clustering and testing."""

from __future__ import annotations

import numpy as np

FRAME_MODES = ("window", "subset", "even", "all")


def frame_indices(
    n: int,
    mode: str,
    length: int = 0,
    generator: np.random.Generator | None = None,
    *,
    last_window: bool = True,
) -> np.ndarray:
    """Positions of the frames to read out of a tracklet of ``n`` frames.

    Args:
        n: frames of the tracklet, at least 1. An image is a tracklet of one frame.
        mode: ``"window"``: ``length`` consecutive frames from a random begin, repeated cyclically when the tracklet is
            shorter (AuxUSL). ``"subset"``: ``length`` frames drawn without replacement, with replacement when the
            tracklet is shorter, in time order (BUC's code). ``"even"``: at most ``length`` evenly spaced frames.
            ``"all"``: every frame, ``length`` is ignored.
        length: frames wanted; 0 means all of them in every mode.
        generator: source of the draws of "window" and "subset"; not touched when there is no choice (n = 1, or a
            window that fits in one way only).
        last_window: a random window may end on the last frame. False reproduces the published AuxUSL code, which
            draws the begin from 0..max(0, n - length - 1).

    Returns:
        int64 (length,) for "window" and "subset", (min(n, length),) for "even", (n,) for "all".

    Raises:
        ValueError: ``n`` < 1, an unknown mode, or a draw without a generator.
    """
    if n < 1:
        raise ValueError(f"a tracklet has at least one frame, not {n}")
    if mode not in FRAME_MODES:
        raise ValueError(f"unknown frame mode {mode!r}; known: {', '.join(FRAME_MODES)}")
    if mode == "all" or length <= 0:
        return np.arange(n)
    if mode == "even":
        return np.arange(n) if n <= length else ((2 * np.arange(length) + 1) * n) // (2 * length)
    if n == 1:
        return np.zeros(length, dtype=np.int64)
    if mode == "window":
        return frame_window(n, length, _window_begin(n, length, generator, last_window))
    drawn = _required(generator).choice(n, size=length, replace=n < length)
    return np.sort(drawn).astype(np.int64)


def frame_window(n: int, length: int, begin: int) -> np.ndarray:
    """int64 (length,): consecutive frames from ``begin``, cyclically through the frames from there to the end."""
    return begin + np.arange(length) % (n - begin)


def largest_begin(n: int, length: int, *, last_window: bool = True) -> int:
    """The last frame a random window may begin at, see ``last_window`` of :func:`frame_indices`."""
    return max(0, n - length - (0 if last_window else 1))


def _window_begin(n: int, length: int, generator: np.random.Generator | None, last_window: bool) -> int:
    last = largest_begin(n, length, last_window=last_window)
    return int(_required(generator).integers(last + 1)) if last else 0


def _required(generator: np.random.Generator | None) -> np.random.Generator:
    if generator is None:
        raise ValueError("random frames need a generator")
    return generator
