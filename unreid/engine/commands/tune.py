"""``unreid tune``: the recipe of clustering that fits a dataset, chosen without labels."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from unreid.config import load_config
from unreid.engine.commands.command import Command
from unreid.engine.folder import check_writable
from unreid.engine.preflight import check_datasets, check_file, check_packages, check_parts, check_weight_files
from unreid.engine.tuning.options import Tuning, Values
from unreid.utils.errors import UserError
from unreid.utils.logging import setup_logging
from unreid.utils.registry import fold

Number = TypeVar("Number", int, float)
DENSITY = ("dbscan", "agreementdbscan", "selfpaceddbscan", "constraineddbscan", "icdbscan")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    default = Values()
    parser.add_argument("--config-file", metavar="F", help="config of the run: its data and network give the features")
    parser.add_argument(
        "--features", default="", metavar="NPZ", help="features (N, D) instead, with camids (N,) where known"
    )
    parser.add_argument("--out", default=str(Tuning.out), metavar="DIR", help=f"table, picture, config ({Tuning.out})")
    for name, text in (
        ("k1", "k-reciprocal neighbourhoods"),
        ("k2", "query expansions"),
        ("ca_k1", "neighbours in other cameras, of CA-Jaccard"),
        ("ca_k2", "query expansions of CA-Jaccard, of either side"),
        ("min_samples", "densities"),
    ):
        values = getattr(default, name)
        shown = ",".join(map(str, values))
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=_list(int, 1, 10_000),
            default=values,
            metavar="A,B",
            help=f"{text} ({shown})",
        )
    parser.add_argument(
        "--eps",
        type=_list(float, 1e-6, 1 - 1e-6),
        default=default.eps,
        metavar="A,B",
        help="radii, below 1 (0.3 to 0.7)",
    )
    parser.add_argument("--subsets", type=int, default=2, metavar="N", help="random subsets that must agree (2)")
    parser.add_argument(
        "--compare-labels", action="store_true", help="say afterwards what labels think of it; they choose nothing"
    )
    parser.add_argument("overrides", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys to change")


def run(arguments: argparse.Namespace) -> None:
    setup_logging()
    if not arguments.config_file and not arguments.features:
        raise UserError("Say what to cluster: --config-file F (its data and network), or --features FILE.npz.")
    if not 1 <= arguments.subsets <= 100:
        raise UserError(f"--subsets takes a number from 1 to 100, not {arguments.subsets}.")
    cfg = load_config(arguments.config_file, arguments.overrides)
    values = Values(**{name: getattr(arguments, name) for name in Values.__dataclass_fields__})
    if all(k2 > k1 for k1 in values.k1 for k2 in values.k2):
        raise UserError(f"Every --k2 exceeds every --k1 ({max(values.k1)}): lower --k2 or raise --k1.")
    asked = Tuning(
        base=arguments.config_file or "",
        features=arguments.features,
        out=Path(arguments.out),
        subsets=arguments.subsets,
        compare_labels=arguments.compare_labels,
        values=values,
    )
    buc = fold(cfg.METHOD.NAME) == "buc"
    if buc or fold(cfg.CLUSTER.NAME) not in DENSITY:
        labels_by = "METHOD.NAME BUC" if buc else f"CLUSTER.NAME {cfg.CLUSTER.NAME}"
        raise UserError(f"unreid tune chooses the radius and density of DBSCAN, which {labels_by} has no use for.")
    check_parts(cfg)
    check_writable(asked.out, "--out")
    if asked.features:
        check_file(asked.features, "--features")
    else:
        check_packages(cfg)
        check_weight_files(cfg)
        check_datasets(cfg)
    from unreid.engine.tuning.tune import tune

    tune(cfg, asked)


def _list(kind: Callable[[str], Number], low: Number, high: Number) -> Callable[[str], tuple[Number, ...]]:
    """Reads ``A,B,C`` into different values in ascending order."""

    def read(text: str) -> tuple[Number, ...]:
        try:
            values = sorted({kind(part) for part in text.split(",")})
        except ValueError:
            values = []
        if not values or not all(low <= value <= high for value in values) or len(values) > 100:
            raise argparse.ArgumentTypeError(f"expected values from {low} to {high} like 10,20, not {text!r}")
        return tuple(values)

    return read


TUNE = Command(
    name="tune",
    summary="Choose k1, k2, eps, density, camera centring and group size for a dataset without labels.",
    example="--config-file ClusterContrast_market.yml DATASETS.ROOT /data",
    add_arguments=add_arguments,
    run=run,
)
