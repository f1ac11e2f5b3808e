"""A fault that is put into living functions does what it does when its file is imported with it."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from types import ModuleType

import pytest

from tests.faults import patching
from tests.faults.fault import Fault
from tests.faults.forks import fork, wait
from tests.faults.record import Record, interval
from tests.faults.trial import Outcome

TEXT = '''
LIMIT = 3

def below(value, limit=LIMIT):
    """Whether a value is small."""
    return value < limit

class Counter:
    step = 1

    def __init__(self):
        self.add = lambda value: value + self.step

    @property
    def twice(self):
        return [2 * value for value in (1, 2, 3)]
'''


def imported(path: Path, text: str) -> ModuleType:
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("value < limit", "value <= limit"),
        ("value + self.step", "value"),  # the lambda no longer needs what is around it
        ("2 * value for", "3 * value for"),
        ("(1, 2, 3)", "(1, 2)"),
        ('    """Whether a value is small."""\n', ""),
    ],
)
def test_a_patched_module_does_what_a_changed_one_does(tmp_path: Path, old: str, new: str) -> None:
    file, after = tmp_path / "patched.py", TEXT.replace(old, new)
    module = imported(file, TEXT)
    known = module.below, module.Counter  # as other modules know them
    patching.patch(patching.living(tmp_path)[str(file)], patching.changes(file, TEXT, after))
    changed = imported(tmp_path / "changed.py", after)
    for value in (2, 3, 4):
        assert known[0](value) == changed.below(value)
        assert known[1]().add(value) == changed.Counter().add(value)
    assert known[1]().twice == changed.Counter().twice


@pytest.mark.parametrize(
    ("old", "new"), [("LIMIT = 3", "LIMIT = 4"), ("limit=LIMIT", "limit=4"), ("step = 1", "step = 2")]
)
def test_what_is_done_while_a_file_is_imported_needs_an_import(tmp_path: Path, old: str, new: str) -> None:
    with pytest.raises(patching.Fresh):
        patching.changes(tmp_path / "a.py", TEXT, TEXT.replace(old, new))


def test_a_fork_that_hangs_is_stopped_and_an_exit_status_comes_back() -> None:
    assert wait(fork(lambda: 3), 60) == 3
    assert wait(fork(lambda: time.sleep(600) or 0), 0.2) is None


def test_a_record_remembers_the_first_answer_and_goes_on_with_what_was_not_tried(tmp_path: Path) -> None:
    one, other = Fault("a/b.py", "1", "2", "test_x.py"), Fault("b/c.py", "1", "2", "test_x.py")
    record = Record(tmp_path / "known.json")
    record.add(one, Outcome(False, "", 1.0))
    again = Record(tmp_path / "known.json")
    assert again.untried([one, other]) == [other] and again.next([one, other]) == [other, one] and again.missed(one)
    again.add(one, Outcome(True, "test_x.py::test", 1.0))
    assert not again.missed(one) and "| `a` | 1 | 1 | 1 | 0 |" in again.table([one, other])


def test_the_interval_is_wilsons() -> None:
    assert interval(5, 100) == pytest.approx((0.0215, 0.1118), abs=1e-4)
    assert interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
