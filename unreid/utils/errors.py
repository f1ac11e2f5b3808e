"""The exceptions that are no defects.

The command line prints the sentence of a :class:`UserError` and exits with status 2, without a traceback, and says
nothing about a :class:`PeerFailedError`; every other exception is a defect of this package and keeps its traceback.
"""


class UserError(Exception):
    """A mistake in the input: the message names the thing and the way out, in one or two sentences."""


class PeerFailedError(RuntimeError):
    """Another process of the run failed first; this one cannot go on without it and has nothing to add."""


class InputError(UserError, ValueError):
    """An array of another shape or type than a function takes: the message says what was expected and what came."""
