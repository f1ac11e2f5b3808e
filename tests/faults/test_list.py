"""The list of faults stays in step with the code; ``make faults`` puts them in."""

from __future__ import annotations

from tests.faults.fault import ROOT, Fault
from tests.faults.faults import FAULTS


def wrong(fault: Fault) -> str:
    """Why a fault cannot be put in, or ""."""
    try:
        changed = fault.applied((ROOT / fault.path).read_text(encoding="utf-8"))
        compile(changed, fault.path, "exec")
    except (OSError, ValueError, SyntaxError) as error:
        return f"{fault}: {error}"
    missing = [target for target in fault.targets if not (ROOT / target).exists()]
    return f"{fault}: no tests {missing}" if missing or fault.old == fault.new else ""


def test_every_fault_has_one_place_a_change_that_compiles_and_tests() -> None:
    assert [reason for reason in map(wrong, FAULTS) if reason] == []


def test_there_are_many_and_none_twice() -> None:
    assert len(set(FAULTS)) == len(FAULTS) > 100
