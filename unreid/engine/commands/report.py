"""``unreid report``: what a run found, on one page."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from pathlib import Path

from unreid.engine.commands.command import Command
from unreid.engine.folder import check_writable
from unreid.engine.reporting.files import read_run_files
from unreid.utils.errors import UserError
from unreid.utils.logging import setup_logging

logger = logging.getLogger(__name__)

IMAGES = 2000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", help="OUTPUT_DIR of a run, or the folder of --repeat")
    parser.add_argument("-o", "--out", metavar="FILE", help="the page (default: report.html in RUN)")
    parser.add_argument(
        "--images",
        type=int,
        default=IMAGES,
        metavar="N",
        help=f"images of training list, queries and gallery each that are looked at at most ({IMAGES}); 0: all",
    )
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda or cuda:N (auto)")
    parser.add_argument("--files-only", action="store_true", help="only what stands in the run's files: no images")
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY VALUE", help="config keys to change, right after RUN: DATASETS.ROOT /data"
    )


def run(arguments: argparse.Namespace) -> None:
    started = time.monotonic()
    setup_logging()
    if arguments.images < 0:
        raise UserError(f"--images takes a number from 0 on, not {arguments.images}.")
    files = read_run_files(arguments.run_folder, arguments.overrides)
    out = Path(arguments.out) if arguments.out else files.folder / "report.html"
    if os.path.isdir(out):
        raise UserError(f"{out} is a folder: name a file in it, such as {out / 'report.html'}.")
    check_writable(out.parent, "-o")
    from unreid.engine.reporting.collect import collect
    from unreid.report import write_report

    facts = collect(files, images=arguments.images, device=arguments.device, files_only=arguments.files_only)
    size = write_report(facts, out)
    for sentence in dict.fromkeys(facts.missing.values()):
        logger.info("left out: %s", sentence)
    sys.stdout.write(f"{out} ({size / 2**20:.1f} MiB, {time.monotonic() - started:.0f} s)\n")


REPORT = Command(
    name="report",
    summary="Write what a run found as one HTML file: scores, curves, clusters, ranked lists, a map, the config.",
    example="logs/ClusterContrast_market DATASETS.ROOT /data -o market.html",
    add_arguments=add_arguments,
    run=run,
)
