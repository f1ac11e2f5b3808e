"""``python -m unreid``, and ``torchrun -m unreid train ...``: the console command."""

import sys

from unreid.engine.cli import main

if __name__ == "__main__":
    sys.exit(main())
