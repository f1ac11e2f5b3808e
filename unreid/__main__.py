"""``python -m unreid``: the console command ``unreid``."""

import sys

from unreid.engine.cli import main

if __name__ == "__main__":
    sys.exit(main())
