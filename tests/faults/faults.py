"""All faults."""

from __future__ import annotations

from tests.faults import (
    data_faults,
    engine_faults,
    hook_faults,
    model_faults,
    part_faults,
    room_faults,
    tool_faults,
    wiring_faults,
)
from tests.faults.fault import Fault

FAULTS: list[Fault] = [
    *engine_faults.FAULTS,
    *hook_faults.FAULTS,
    *data_faults.FAULTS,
    *wiring_faults.FAULTS,
    *room_faults.FAULTS,
    *part_faults.FAULTS,
    *model_faults.FAULTS,
    *tool_faults.FAULTS,
]
