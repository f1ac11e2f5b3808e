"""Runs tests with a fault in the code: in forks of a process that has imported them, or imported anew."""

from __future__ import annotations

import gc
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from tests.faults import patching
from tests.faults.checkout import Checkout
from tests.faults.fault import Fault
from tests.faults.forks import fork, stop, wait

SECONDS = 600  # a fault that makes a test hang is noticed, too
FURTHER = 150  # that further tests are given; where they are not done by then, they have not noticed it


@dataclass(frozen=True)
class Outcome:
    """What tests said to a fault.

    Attributes:
        noticed: a test failed, or hung.
        by: which one; "" where none did.
        seconds: that it took.
    """

    noticed: bool
    by: str
    seconds: float


class Unsound(Exception):
    """The tests fail without any fault; the text says how."""


def outcomes(checkout: Checkout, faults: Sequence[Fault]) -> Iterator[tuple[Fault, Outcome]]:
    """Imports the tests of all faults once, and puts one fault after the other in.

    Where nothing notices one, its further tests run, then its own once more with everything imported anew: only then
    can a fault show in what is done while modules are imported.

    Raises:
        Unsound: tests cannot be imported, or one that noticed a fault fails without it, too. Raised at the end.
    """
    targets = list(dict.fromkeys(target for fault in faults for target in (*fault.targets, *fault.further_targets)))
    read, write = os.pipe()
    laboratory = fork(lambda: checkout.pytest(targets, _Laboratory(checkout, faults, write)))
    os.close(write)
    unsure, unsound, number = [], [], -1
    with os.fdopen(read, encoding="utf-8") as answers:
        try:
            for line in answers:
                answer = json.loads(line)
                number, sure, sound = (answer.pop(name) for name in ("fault", "sure", "sound"))
                if not sound:
                    unsound.append(f"{answer['by']} fails without any fault, too")
                elif sure:
                    yield faults[number], Outcome(**answer)
                else:
                    unsure.append((faults[number], Outcome(**answer)))
                    print(f"perhaps not noticed: {faults[number]}", flush=True)
        finally:
            stop(laboratory)
    for fault, outcome in unsure:
        outcome = _anew(checkout, fault, outcome)
        if "::" in outcome.by and _fresh(checkout, [outcome.by], SECONDS) != 0:
            unsound.append(f"{outcome.by} fails without any fault, too")
        else:
            yield fault, outcome
    if number + 1 < len(faults):
        unsound.append(checkout.failure())
    if unsound:
        raise Unsound("\n".join(unsound))


def _anew(checkout: Checkout, fault: Fault, outcome: Outcome) -> Outcome:
    started = time.perf_counter()
    with checkout.holding(fault):
        status = _fresh(checkout, fault.targets, SECONDS)
    return Outcome(status != 0, _who(checkout, status), outcome.seconds + time.perf_counter() - started)


def _fresh(checkout: Checkout, targets: Sequence[str], seconds: float) -> int | None:
    """Exit status of tests that are imported anew."""
    checkout.report.unlink(missing_ok=True)
    return wait(fork(lambda: checkout.pytest(targets, _Reporting(checkout.report))), seconds)


def _who(checkout: Checkout, status: int | None) -> str:
    """Which test failed, or why there is no such test."""
    if status == 0:
        return ""
    if checkout.report.exists():
        return checkout.report.read_text(encoding="utf-8").partition("\n")[0]
    return "takes too long" if status is None else f"ended with {status}"


class _Reporting:
    """A pytest plugin that writes the name of the first test that fails, and how."""

    def __init__(self, report: Path) -> None:
        self.report = report

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """That an example fails is all there is to know: Hypothesis need not look for a smaller one."""
        profile = settings.get_profile(settings.get_current_profile_name())
        settings.register_profile("fault", profile, phases=(Phase.explicit, Phase.generate))
        settings.load_profile("fault")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not hasattr(report, "wasxfail") and not self.report.exists():
            self.report.write_text(f"{report.nodeid}\n{report.longreprtext}", encoding="utf-8")


class _Laboratory(_Reporting):
    """After the import of the tests it runs those of one fault after the other, each in a fork."""

    def __init__(self, checkout: Checkout, faults: Sequence[Fault], answers: int) -> None:
        super().__init__(checkout.report)
        self.checkout = checkout
        self.faults = faults
        self.answers = answers
        self.sound: dict[str, bool] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            return True
        living = patching.living(self.checkout.folder / "unreid")
        gc.freeze()  # a fork that collects would copy what it shares
        for number, fault in enumerate(self.faults):
            outcome, sure = self._tried(session, fault, living)
            answer = {"fault": number, "sure": sure, "sound": self._sound(session, outcome.by), **asdict(outcome)}
            os.write(self.answers, f"{json.dumps(answer)}\n".encode())
        return True

    def _tried(self, session: pytest.Session, fault: Fault, living: dict) -> tuple[Outcome, bool]:
        """What the tests said, and whether all that the fault changes was changed."""
        started = time.perf_counter()
        self.report.unlink(missing_ok=True)
        with self.checkout.holding(fault) as (file, before, after):
            try:
                changes = patching.changes(file, before, after)
            except patching.Fresh:
                return Outcome(False, "", 0.0), False

            def work(items: Sequence[pytest.Item]) -> int:
                patching.patch(living.get(str(file), []), changes)
                return _run(session, items)

            own = [item for item in session.items if _belongs(item.nodeid, fault.targets)]
            status = wait(fork(lambda: work(own)), SECONDS)
            if status == 0 and fault.further:
                asked = {item.nodeid for item in own}
                rest = [item for item in session.items if _belongs(item.nodeid, fault.further_targets)]
                rest = [item for item in rest if item.nodeid not in asked]
                status = wait(fork(lambda: work(rest)), FURTHER) or 0
        return Outcome(status != 0, _who(self.checkout, status), time.perf_counter() - started), status != 0

    def _sound(self, session: pytest.Session, test: str) -> bool:
        """Whether the test that noticed a fault passes without it."""
        if test not in self.sound:
            items = [item for item in session.items if item.nodeid == test]
            self.sound[test] = wait(fork(lambda: _run(session, items)), SECONDS) == 0
        return self.sound[test]


def _belongs(test: str, targets: Iterable[str]) -> bool:
    return any(test.startswith((f"{target}::", f"{target}/")) for target in targets)


def _run(session: pytest.Session, items: Sequence[pytest.Item]) -> int:
    """Runs tests up to the first failure; returns 1 where one failed."""
    for item, after in zip(items, [*items[1:], None]):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        if session.testsfailed:
            return 1
    return 0
