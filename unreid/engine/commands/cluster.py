"""``unreid cluster``: who is in which image, by any clusterer."""

from __future__ import annotations

import argparse
import logging

from unreid.config import CfgNode, load_config
from unreid.engine.commands.command import Command
from unreid.engine.commands.models import check_output, overrides
from unreid.engine.commands.tables import add_table, check_source, read_source
from unreid.engine.preflight import check_file, check_packages, check_parts
from unreid.utils.errors import UserError
from unreid.workbench.identity_table import check_name

logger = logging.getLogger(__name__)

AUTO = "auto"
_LARGEST = 200  # radii of one sweep


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_table(parser, "FEATURES|IMAGES")
    parser.add_argument("-o", "--output", required=True, metavar="CSV", help="identities.csv; a .json goes beside it")
    parser.add_argument("--clusterer", default="", metavar="NAME", help="see unreid list clusterers (DBSCAN)")
    parser.add_argument(
        "--eps",
        default=AUTO,
        metavar="E",
        help="a radius, several as LOW:HIGH:STEP, or auto: the one with the best label-free score (auto)",
    )
    parser.add_argument("--review", nargs="*", default=[], metavar="FILE", help="answers of unreid review to follow")
    parser.add_argument("--overwrite", action="store_true", help="replace the table if there is one")


def run(arguments: argparse.Namespace) -> None:
    check_name(arguments.output)
    check_output(arguments.output, arguments.overwrite)
    sweep = parse_eps(arguments.eps)
    model = check_source(arguments)
    cfg = clusterer_config(arguments)
    from unreid.utils.logging import setup_logging
    from unreid.workbench.grouping import cluster_table, radii, takes_eps
    from unreid.workbench.identity_table import write_identities

    setup_logging()
    swept = takes_eps(cfg)
    if not swept and arguments.eps != AUTO:
        raise UserError(f"{cfg.CLUSTER.NAME} has no eps: leave --eps out.")
    table = read_source(arguments, model)
    radius = radii(table, cfg) if swept and sweep is None else sweep or ()
    if len(radius) == 1:
        cfg = clusterer_config(arguments, ["CLUSTER.EPS", str(radius[0])])
    identities = cluster_table(
        table, cfg, sweep=radius if len(radius) > 1 else (), source=arguments.images if not model else ""
    )
    write_identities(arguments.output, identities)
    labels, names = identities.labels
    eps = identities.meta["eps"]
    logger.info(
        "%s: %d identities in %d images, %d without one%s",
        arguments.output,
        len(names),
        len(identities),
        int((labels < 0).sum()),
        "" if eps is None else f", eps {eps:.3f}",
    )


def clusterer_config(arguments: argparse.Namespace, more: list[str] | None = None) -> CfgNode:
    """The config of the clusterer, its names and packages checked."""
    words = ["CLUSTER.NAME", arguments.clusterer] if arguments.clusterer else []
    words += ["PLUGINS", repr(arguments.plugins)] if arguments.plugins else []
    answers = ["CLUSTER.REVIEW", repr(arguments.review)] if arguments.review else []
    cfg = load_config(None, [*words, *answers, *overrides(arguments), *(more or [])])
    check_parts(cfg)
    check_packages(cfg)
    for path in cfg.CLUSTER.REVIEW:
        check_file(path, "--review")
    return cfg


def parse_eps(text: str) -> tuple[float, ...] | None:
    """The radii that an option names; None for "auto".

    Raises:
        UserError: it is neither a positive number nor LOW:HIGH:STEP nor "auto".
    """
    if text == AUTO:
        return None
    try:
        numbers = [float(part) for part in text.split(":")]
        if len(numbers) == 1 and 0 < numbers[0] < float("inf"):
            return (numbers[0],)
        low, high, step = numbers
        count = (high - low) / step + 1e-9
        if not (0 < low <= high and step > 0 and count < _LARGEST):
            raise ValueError
        return tuple(round(low + step * index, 9) for index in range(int(count) + 1))
    except (ValueError, ZeroDivisionError, OverflowError):
        raise UserError(
            f"--eps is a positive number, LOW:HIGH:STEP such as 0.3:0.7:0.05 (up to {_LARGEST} radii), or auto, not "
            f"{text!r}."
        ) from None


CLUSTER = Command(
    name="cluster",
    summary="Find identities in a feature table or a folder of images, without any label.",
    example="features.parquet -o identities.csv",
    add_arguments=add_arguments,
    run=run,
)
