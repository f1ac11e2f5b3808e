"""A small slice of every part of the harness; ``make torture`` runs the whole."""

import pytest

from tests.torture.parts import PARTS, Part


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_slice(part: Part, tmp_path):
    tally = part.run(part.slice, 1, tmp_path)
    assert tally.tried >= part.slice
    assert not tally.failures, "\n".join(tally.failures[:20])
