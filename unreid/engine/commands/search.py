"""``unreid search``: the images that are nearest to one image, or to each of a folder."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from typing import TYPE_CHECKING

from unreid.engine.commands.command import Command
from unreid.engine.commands.index import URI_HELP, need_store
from unreid.engine.commands.models import check_crops, check_model, check_output
from unreid.engine.commands.tables import add_table, check_table, check_vectors, is_table, read_source
from unreid.utils.errors import UserError
from unreid.utils.writing import atomic_write_bytes, csv_text
from unreid.workbench.places import is_remote, is_there

if TYPE_CHECKING:
    from unreid.workbench.gallery import Gallery, Hit

logger = logging.getLogger(__name__)

HEADER = ("query", "rank", "path", "camera", "pid", "score")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("gallery", metavar="INDEX", help=f"of unreid index ({URI_HELP}), or a feature table")
    add_table(parser, "QUERY")
    parser.add_argument("-k", type=int, default=10, metavar="N", help="images wanted for a query (10)")
    parser.add_argument("-o", "--output", default="", metavar="CSV", help="write the answers there")
    parser.add_argument("--rerank", action="store_true", help="k-reciprocal re-ranking of the 200 nearest")
    parser.add_argument("--cameras", nargs="+", default=[], metavar="C", help="only images of these cameras")
    parser.add_argument("--other-cameras", action="store_true", help="no images of the query's own camera")
    parser.add_argument("--overwrite", action="store_true", help="replace the answers if there are any")


def run(arguments: argparse.Namespace) -> None:
    if not 1 <= arguments.k <= 10_000:
        raise UserError(f"-k must be between 1 and 10000, not {arguments.k}.")
    if arguments.output:
        check_output(arguments.output, arguments.overwrite)
    if is_table(arguments.gallery):
        check_table(arguments.gallery)
    else:
        need_store(arguments.gallery)
        if not is_remote(arguments.gallery) and not is_there(arguments.gallery):
            raise UserError(f"There is no index {arguments.gallery}; unreid index makes one.")
    if is_table(arguments.images):
        check_vectors(arguments)
    else:
        check_crops(arguments)
        if arguments.model:
            check_model(arguments)
    if arguments.other_cameras and not (is_table(arguments.images) or arguments.camera_regex or arguments.manifest):
        raise UserError("--other-cameras needs the camera of the query: say where it comes from with --camera-regex.")
    from unreid.utils.logging import setup_logging

    setup_logging(console="stdout" if arguments.output else "stderr")
    _search(arguments)


def _search(arguments: argparse.Namespace) -> None:
    from unreid.utils.progress import task
    from unreid.workbench.feature_table import require_same_model, require_same_width
    from unreid.workbench.gallery import Cameras, camera_of_query, find

    gallery = _opened(arguments.gallery)
    model = ""
    if not is_table(arguments.images):
        arguments.model = arguments.model or gallery.meta.model
        model = check_model(arguments)
    queries = read_source(arguments, model)
    require_same_model(queries.meta, gallery.meta, (arguments.images, arguments.gallery))
    require_same_width(queries.vectors.shape[1], gallery.width, (arguments.images, arguments.gallery))
    answers: list[tuple[str, list[Hit]]] = []
    with task("search", len(queries), "queries") as work:
        for path, file, camera, vector in zip(queries.paths, queries.files, queries.cameras, queries.vectors):
            own = os.path.relpath(file, gallery.meta.root).replace(os.sep, "/")
            cameras = Cameras(tuple(arguments.cameras), camera_of_query(camera, arguments.other_cameras))
            answers.append(
                (path, find(gallery, vector, arguments.k, own=own, cameras=cameras, rerank=arguments.rerank))
            )
            work.advance()
    if arguments.cameras and not any(hits for _, hits in answers):
        logger.warning(
            "nothing was found: has %s images of --cameras %s?", arguments.gallery, " ".join(arguments.cameras)
        )
    _show(answers, arguments.output)


def _opened(name: str) -> Gallery:
    if not is_table(name):
        from unreid.workbench.store import LanceStore

        return LanceStore(name)
    from unreid.workbench.feature_table import read_features
    from unreid.workbench.gallery import TableGallery

    return TableGallery(read_features(name))


def _show(answers: list[tuple[str, list[Hit]]], output: str) -> None:
    rows = [
        (query, rank, hit.path, hit.camera, hit.pid, f"{hit.score:.4f}")
        for query, hits in answers
        for rank, hit in enumerate(hits, start=1)
    ]
    content = csv_text([HEADER, *rows]).encode("utf-8", "surrogateescape")
    if not output:
        sys.stdout.write(content.decode("utf-8", "backslashreplace"))
        return
    atomic_write_bytes(output, content)
    logger.info("%s: %d queries", output, len(answers))


SEARCH = Command(
    name="search",
    summary="Find the images that are nearest to an image, or to each image of a folder.",
    example="gallery.index query.jpg -k 10 --rerank",
    add_arguments=add_arguments,
    run=run,
)
