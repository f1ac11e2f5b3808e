"""How every command ends: its exit status, and the one sentence that says why."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable

from unreid.utils.errors import DivergedError, IncompleteRunError, PeerFailedError, PeerLostError, UserError
from unreid.utils.logging import discard_stdout, open_standard_streams
from unreid.utils.processors import wait_without_spinning
from unreid.utils.signals import EXIT_INTERRUPTED, Interrupted, hurry_at_exit, say, stop_name, stop_signals

logger = logging.getLogger(__name__)

EXIT_FAILURE = 1
EXIT_USER_ERROR = 2
GRACE = 10.0  # seconds; torchrun ends the other processes of a machine as soon as one has failed

STATUSES = (
    "exit status: 0 done; 1 a failure, the last checkpoint stays; 2 a mistake in config, files or data, a file that "
    "cannot be written, or a diverged loss; 130 stopped by a signal, go on with RESUME"
)


def guarded(command: Callable[[], None], name: str = "unreid") -> int:
    """Runs a command; a user's mistake becomes one sentence on standard error and exit status 2, a signal 130.

    Of several processes only the first to fail speaks; all of them end with a status other than 0.
    """
    open_standard_streams()
    wait_without_spinning()
    try:
        with stop_signals():
            return _guarded(command, name)
    except KeyboardInterrupt as error:
        hurry_at_exit()
        if _first_to_fail():
            say(f"{name}: {error or 'interrupted'}")
        return EXIT_INTERRUPTED


def _guarded(command: Callable[[], None], name: str) -> int:
    try:
        command()
        sys.stdout.flush()
    except PeerFailedError as error:
        if _let_the_first_speak():
            say(f"{name}: {error.__cause__ or error}")
        return EXIT_FAILURE
    except PeerLostError as error:
        say(f"{name}: {error}")
        return EXIT_FAILURE
    except BrokenPipeError:  # ``| head`` has read enough
        discard_stdout()
        return EXIT_FAILURE
    except (UserError, DivergedError) as error:
        if not (_first_to_fail() or _let_the_first_speak()):
            return EXIT_FAILURE
        say(f"{name}: {error}")
        return EXIT_USER_ERROR
    except Exception as error:
        if stop_name():  # a signal to all processes of the run: workers may have ended before it could
            logger.debug("after the signal", exc_info=True)
            raise Interrupted(f"stopped by {stop_name()}; the run's log says how far it was") from error
        if not (_first_to_fail() or _let_the_first_speak()):
            return EXIT_FAILURE
        refusal = _stdout_refuses() if isinstance(error, OSError) and error.filename is None else ""
        if refusal:
            discard_stdout()
            say(f"{name}: standard output cannot be written: {refusal}")
            return EXIT_FAILURE
        if not isinstance(error, IncompleteRunError):
            raise
        say(f"{name}: {error}")
        return EXIT_FAILURE
    return 0


def _stdout_refuses() -> str:
    """Why standard output cannot be written (its disk is full), "" if it can; found out with an empty line."""
    try:
        sys.stdout.write("\n")
        sys.stdout.flush()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _have_met() -> bool:
    """Whether the processes of the run have met; without torch they cannot have."""
    job = sys.modules.get("unreid.utils.job")
    return job is not None and job.have_met()


def _first_to_fail() -> bool:
    """Whether this process is the first of the run that fails; before they meet, the first of every machine is."""
    if not _have_met():
        return int(os.environ.get("LOCAL_RANK", "0")) == 0
    return sys.modules["unreid.utils.job"].first_to_fail()


def _let_the_first_speak() -> bool:
    """Waits, where the processes have not met, for torchrun to end this one because the first has failed too.

    Returns:
        True if nobody did: then this process is the only one that knows what is wrong.
    """
    if _have_met():
        return False
    time.sleep(GRACE)
    return True
