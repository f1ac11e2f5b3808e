"""``unreid index``: a feature table into a vector store."""

from __future__ import annotations

import argparse
import logging
import os

from unreid.engine.commands.command import Command
from unreid.engine.commands.tables import add_table, check_source, read_source
from unreid.engine.folder import check_writable
from unreid.engine.preflight import check_file
from unreid.utils.errors import UserError
from unreid.workbench.places import check_uri, folder_of, is_remote, require_store

logger = logging.getLogger(__name__)

URI_HELP = "a folder, or s3://, gs://, az:// (a bucket) or db:// (a LanceDB server)"
_MARK = "vectors.lance"  # what a store that may be replaced holds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_table(parser, "FEATURES|IMAGES")
    parser.add_argument("-o", "--output", required=True, metavar="URI", help=URI_HELP)
    parser.add_argument(
        "--identities", default="", metavar="CSV", help="who is in the images, shown with what is found"
    )
    parser.add_argument("--exact", action="store_true", help="no approximate index, however many images")
    parser.add_argument("--overwrite", action="store_true", help="replace the index if there is one")


def run(arguments: argparse.Namespace) -> None:
    need_store(arguments.output)
    check_place(arguments.output, arguments.overwrite)
    if arguments.identities:
        check_file(arguments.identities, "--identities")
    model = check_source(arguments)
    from unreid.utils.logging import setup_logging
    from unreid.workbench.gallery import pids_of
    from unreid.workbench.identity_table import read_identities
    from unreid.workbench.store import INDEXED_FROM, build_store, check_replaceable

    setup_logging()
    if is_remote(arguments.output):
        check_replaceable(arguments.output, arguments.overwrite)
    pids: dict[str, str] = {}
    if arguments.identities:
        known = read_identities(arguments.identities)
        pids = dict(zip(known.paths, known.pids))
    table = read_source(arguments, model)
    build_store(arguments.output, table, pids_of(table, pids), exact=arguments.exact)
    how = "exact" if arguments.exact or len(table) < INDEXED_FROM else "approximate"
    logger.info("%s: %d images of %d cameras, %s", arguments.output, len(table), len(set(table.cameras)), how)


def need_store(uri: str) -> None:
    """Raises :class:`UserError` if a store cannot be there, or its package is not installed."""
    check_uri(uri)
    require_store(uri)


def check_place(uri: str, overwrite: bool) -> None:
    """Whether a store may be put there; nothing but a store is ever replaced."""
    if is_remote(uri):
        return
    path = folder_of(uri)
    if os.path.lexists(path) and not (os.path.isdir(path) and (not any(path.iterdir()) or (path / _MARK).exists())):
        raise UserError(f"-o: {uri} exists and is no index: choose another name.")
    if os.path.exists(path / _MARK) and not overwrite:
        raise UserError(f"-o: {uri} exists: choose another name, or give --overwrite.")
    check_writable(path.parent, "The folder of -o")


INDEX = Command(
    name="index",
    summary="Put a feature table into a vector store, where unreid search finds images.",
    example="features.parquet -o gallery.index --identities identities.csv",
    add_arguments=add_arguments,
    run=run,
)
