"""Runs parts of the harness and prints what was tried and what failed.

Example::

    python -m tests.torture                        # everything, minutes
    python -m tests.torture images --count 50      # a part, fewer trials
    python -m tests.torture --write-docs           # and put the table into docs/reliability.md
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.torture.parts import PARTS, Part
from tests.torture.report import Row, table, write_page


def main(argv: list[str] | None = None) -> int:
    """Returns 0 when nothing failed."""
    parts = {part.name: part for part in PARTS}
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of: {', '.join(parts)} (default: all)")
    parser.add_argument("--count", type=int, default=None, help="trials of each part (default: the part's own number)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random; a failure is repeated with its seed")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/reliability.md")
    given = parser.parse_args(argv)
    unknown = sorted(set(given.parts) - set(parts))
    if unknown:
        parser.error(f"there is no part {unknown[0]}; known: {', '.join(parts)}")
    rows = [_run(parts[name], given.count, given.seed) for name in given.parts or parts]
    print(table(rows))
    if given.write_docs:
        write_page(rows)
    return 1 if any(row.failures for row in rows) else 0


def _run(part: Part, count: int | None, seed: int) -> Row:
    print(f"== {part.name}: {part.title}", flush=True)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix=f"torture_{part.name}_") as folder:
        tally = part.run(part.count if count is None else count, seed, Path(folder))
    for failure in tally.failures:
        print(f"   FAILED {failure}", flush=True)
    return Row(part, tally, time.perf_counter() - started)


if __name__ == "__main__":
    sys.exit(main())
