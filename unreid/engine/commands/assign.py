"""``unreid assign``: new crops to identities that are known already."""

from __future__ import annotations

import argparse
import logging

from unreid.engine.commands.command import Command
from unreid.engine.commands.models import check_output
from unreid.engine.commands.tables import add_table, check_source, check_table, read_source
from unreid.engine.preflight import check_file
from unreid.utils.errors import UserError
from unreid.workbench.identity_table import check_name

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_table(parser, "FEATURES|IMAGES")
    parser.add_argument("--features", required=True, metavar="FILE", help="feature table of the images with identities")
    parser.add_argument("--identities", required=True, metavar="CSV", help="who is in them")
    parser.add_argument("-o", "--output", required=True, metavar="CSV", help="table to write")
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="T",
        help="cosine to the mean of an identity below which a crop is nobody's (default: calibrated)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the table if there is one")


def run(arguments: argparse.Namespace) -> None:
    check_name(arguments.output)
    check_output(arguments.output, arguments.overwrite)
    check_table(arguments.features)
    check_file(arguments.identities, "--identities")
    if arguments.threshold is not None and not -1 <= arguments.threshold <= 1:
        raise UserError(f"--threshold is a cosine between -1 and 1, not {arguments.threshold}.")
    model = check_source(arguments)
    from unreid.utils.logging import setup_logging
    from unreid.workbench.assignment import assign_table
    from unreid.workbench.feature_table import read_features, require_same_model, require_same_width
    from unreid.workbench.identity_table import read_identities, write_identities

    setup_logging()
    identities = read_identities(arguments.identities)
    known = read_features(arguments.features)
    new = read_source(arguments, model)
    require_same_model(new.meta, known.meta, (arguments.images, arguments.features))
    require_same_width(new.vectors.shape[1], known.vectors.shape[1], (arguments.images, arguments.features))
    found = assign_table(new, known, identities, threshold=arguments.threshold)
    write_identities(arguments.output, found)
    threshold = found.meta["threshold"]
    logger.info(
        "%s: %d of %d images belong to nobody known; threshold %.3f (calibrated: %.3f, with %.1f %% of the known taken "
        "for unknown and %.1f %% of the unknown for known)",
        arguments.output,
        found.meta["assigned"]["unknown"],
        len(found),
        threshold["used"],
        threshold["cosine"],
        100 * threshold["false_unknown"],
        100 * threshold["false_known"],
    )


ASSIGN = Command(
    name="assign",
    summary="Assign new crops to known identities, or to nobody.",
    example="new/ --model logs/market --features features.parquet --identities identities.csv -o new.csv",
    add_arguments=add_arguments,
    run=run,
)
