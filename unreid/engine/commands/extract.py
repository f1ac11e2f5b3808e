"""``unreid extract``: the vectors of a folder of images, as a table."""

from __future__ import annotations

import argparse
import logging
import time

from unreid.engine.commands.command import Command
from unreid.engine.commands.models import (
    MODEL_HELP,
    add_image_options,
    add_model_options,
    check_crops,
    check_model,
    check_output,
    check_table,
    open_encoder,
)
from unreid.utils.errors import UserError

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument("images", metavar="IMAGES", help="a folder, searched with all below it, or one image")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="features.parquet or features.npz")
    add_image_options(parser)
    add_model_options(parser)
    parser.add_argument("--part", type=int, default=4096, metavar="N", help="images that are saved at a time (4096)")
    parser.add_argument("--overwrite", action="store_true", help="replace the table if there is one")


def run(arguments: argparse.Namespace) -> None:
    check_table(arguments.output)
    check_crops(arguments)
    check_output(arguments.output, arguments.overwrite)
    if arguments.part < 1:
        raise UserError(f"--part must be at least 1, not {arguments.part}.")
    model = check_model(arguments)
    from unreid.utils.distributed import get_rank
    from unreid.utils.job import init_from_env, one_voice, shutdown
    from unreid.utils.logging import setup_logging
    from unreid.workbench.crops import list_crops
    from unreid.workbench.extraction import extract_to_file

    try:
        with one_voice():
            device = init_from_env(arguments.device)
            setup_logging(rank=get_rank())
            crops = list_crops(arguments.images, camera_regex=arguments.camera_regex, manifest=arguments.manifest)
            encoder = open_encoder(arguments, model, device)
            logger.info("%s: %d images, model %s", arguments.images, len(crops), encoder.name)
            started = time.perf_counter()
            rows = extract_to_file(
                encoder,
                crops,
                arguments.output,
                batch_size=arguments.batch_size,
                workers=arguments.workers,
                shard=arguments.part,
            )
            logger.info("%s: %d rows in %.0f s", arguments.output, rows, time.perf_counter() - started)
    finally:
        shutdown()


EXTRACT = Command(
    name="extract",
    summary="Write the vectors of a folder of images to a table, with paths and cameras.",
    example="logs/market crops/ -o features.parquet --camera-regex 'c(\\d+)'",
    add_arguments=add_arguments,
    run=run,
)
