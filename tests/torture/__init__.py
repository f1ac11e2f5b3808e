"""``make torture``: damaged inputs, sudden ends and hostile files in numbers; ``python -m tests.torture --help``."""
