"""The one exception type for mistakes a user can mend.

The command line prints the sentence of a :class:`UserError` and exits with status 2, without a traceback; every
other exception is a defect of this package and keeps its traceback.
"""


class UserError(Exception):
    """A mistake in the input: the message names the thing and the way out, in one or two sentences."""
