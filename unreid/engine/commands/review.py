"""``unreid review``: a local page on which a person corrects the clusters of a run."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from unreid.engine.commands.command import Command
from unreid.engine.commands.models import check_output
from unreid.engine.folder import CHECKPOINT, check_writable
from unreid.engine.preflight import check_file
from unreid.utils.errors import UserError
from unreid.workbench.identity_table import check_name

if TYPE_CHECKING:
    from unreid.review import CropSet, Session

logger = logging.getLogger(__name__)

PORT = 8765
STORE = "review.sqlite"
NEEDED = ("config.yaml", "pseudo_labels.npz", CHECKPOINT)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="RUN", help="OUTPUT_DIR of a finished run, or an identities.csv")
    parser.add_argument("--features", metavar="F", help="features of an identities.csv (default: those it names)")
    parser.add_argument("--store", metavar="F", help=f"SQLite file of the review (default: {STORE} beside RUN's files)")
    parser.add_argument("--port", type=int, default=PORT, help=f"of 127.0.0.1; 0 takes a free one (default: {PORT})")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument("--csv", metavar="F", help="write the identities and end")
    parser.add_argument("--links", metavar="DIR", help="write a folder of links, one folder an identity, and end")
    parser.add_argument("--answers", metavar="F", help="write must-links and cannot-links as a table, and end")
    parser.add_argument(
        "--set",
        dest="overrides",
        nargs="+",
        default=[],
        metavar="KEY VALUE",
        help="keys of the run's config to change, such as DATASETS.ROOT",
    )


def run(arguments: argparse.Namespace) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("faiss").setLevel(logging.WARNING)  # it tells which of its libraries it tries
    source = Path(arguments.source)
    _check(source, arguments)
    _check_outputs(arguments)
    beside = source / STORE if os.path.isdir(source) else source.with_suffix(f".{STORE}")
    store_path = Path(arguments.store or beside)
    check_writable(store_path.parent, "The folder of the review")
    logger.info("reading %s", source)
    crops = _read(source, arguments)
    from unreid.review import Session, Store

    with Store.open(store_path, crops.keys, crops.labels) as store:
        if (store.start != crops.labels).any():
            logger.warning(
                "%s goes on from the clusters it began with, which are not RUN's any more; begin anew with --store.",
                store_path,
            )
        session = Session(crops, store)
        if arguments.csv or arguments.links or arguments.answers:
            _export(session, arguments)
        else:
            _serve(session, arguments)


def _check(source: Path, arguments: argparse.Namespace) -> None:
    if not 0 <= arguments.port <= 65535:
        raise UserError(f"--port takes a number from 0 to 65535, not {arguments.port}.")
    if os.path.isdir(source):
        missing = [name for name in NEEDED if not (source / name).is_file()]
        if missing:
            raise UserError(f"{source} is not the folder of a finished run: it lacks {', '.join(missing)}.")
        if arguments.features:
            raise UserError("--features belongs to an identities.csv; a run has its own.")
        return
    check_file(str(source), "RUN")
    if arguments.overrides:
        raise UserError(
            f"--set {arguments.overrides[0]}: only the folder of a run has a config whose keys can be changed."
        )
    if arguments.features:
        check_file(arguments.features, "--features")


def _check_outputs(arguments: argparse.Namespace) -> None:
    """What is written is made from the store, so that files of before may be replaced."""
    if arguments.csv:
        check_output(str(check_name(arguments.csv)), overwrite=True, what="--csv")
    if arguments.answers:
        check_output(arguments.answers, overwrite=True, what="--answers")


def _read(source: Path, arguments: argparse.Namespace) -> CropSet:
    from unreid.engine.review import crops_of_run, crops_of_table

    if os.path.isdir(source):
        return crops_of_run(source, arguments.overrides)
    return crops_of_table(source, Path(arguments.features) if arguments.features else None)


def _export(session: Session, arguments: argparse.Namespace) -> None:
    from unreid.review import export_answers, export_links, identities
    from unreid.workbench import write_identities

    if arguments.csv:
        write_identities(arguments.csv, identities(session))
        logger.info("%s: %d crops, %d identities", arguments.csv, len(session.crops), len(session.geometry.members))
    if arguments.links:
        logger.info("%s: %d links", arguments.links, export_links(arguments.links, session.crops, session.labels))
    if arguments.answers:
        logger.info("%s: %d answers", arguments.answers, export_answers(arguments.answers, session.store.path))


def _serve(session: Session, arguments: argparse.Namespace) -> None:
    from unreid.review import ReviewServer

    with contextlib.closing(ReviewServer(session, arguments.port)) as server:
        logger.info(
            "%d crops, %d clusters; kept in %s", len(session.crops), len(session.geometry.members), session.store.path
        )
        sys.stdout.write(f"Open {server.url}\nCtrl-C ends it; nothing needs to be saved.\n")
        sys.stdout.flush()
        if arguments.open:
            webbrowser.open(server.url)
        server.serve_forever(poll_interval=0.2)


REVIEW = Command(
    name="review",
    summary="Look at the clusters of a run in the browser and correct them; the next run can learn from it.",
    example="logs/ClusterContrast_market --open",
    add_arguments=add_arguments,
    run=run,
)
