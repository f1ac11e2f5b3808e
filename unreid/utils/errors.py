"""The exceptions that are no defects.

The command line prints the sentence of a :class:`UserError` or :class:`DivergedError` and exits with status 2, that of
an :class:`IncompleteRunError` or a :class:`PeerLostError` with status 1, all without a traceback, and says nothing
about a :class:`PeerFailedError`; every other exception is a defect of this package and keeps its traceback.
"""


class UserError(Exception):
    """A mistake in the input: the message names the thing and the way out, in one or two sentences."""


class PeerLostError(RuntimeError):
    """Another process of the run died, froze or was cut off; the message is one sentence for the user."""


class PeerFailedError(RuntimeError):
    """Another process of the run failed first; this one cannot go on without it and has nothing to add."""


class DivergedError(RuntimeError):
    """A loss, a feature or a weight became NaN or infinite: the message names it and the way out."""


class IncompleteRunError(RuntimeError):
    """Training is done and saved, but something after it failed; its traceback is in the log."""


class InputError(UserError, ValueError):
    """An array of another shape or type than a function takes: the message says what was expected and what came."""
