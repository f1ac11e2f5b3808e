"""``unreid mine``: TOC, SCP and STS relations of a dataset's tracklets."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from unreid.config import CfgNode, load_config
from unreid.engine.commands.command import Command
from unreid.engine.folder import check_writable
from unreid.engine.mining.options import LEVELS, Mining, parse_pair
from unreid.engine.preflight import check_datasets, check_file, check_parts
from unreid.utils.errors import UserError
from unreid.utils.logging import setup_logging

logger = logging.getLogger(__name__)

KINDS = {  # of relation, by the name of the old pickle
    "cannotlink_pts": "cannot_link",
    "overlap_relation": "overlap",
    "spatio_temporal_relation_train": "spatio_temporal",
    "spatio_temporal_relation_infer": "spatio_temporal",
    "cross_camera_relation_train": "same_camera",
    "cross_camera_relation_infer": "same_camera",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config-file", required=True, metavar="F", help="config of the run that will use them")
    parser.add_argument("--min-overlap", type=int, default=0, metavar="N", help="common frames of a cannot-link (0)")
    parser.add_argument(
        "--exclude-pairs",
        type=_pairs,
        default=(),
        metavar="2-8,3-5",
        help="camera pairs (from 1) whose views overlap, so that one person is in both at once",
    )
    parser.add_argument(
        "--level", choices=LEVELS, default="clip", help="compare clips, or the passes they are cut from"
    )
    parser.add_argument(
        "--sts-from",
        default="",
        metavar="SOURCE",
        help="walking times: pseudo_labels.npz of a run, travel.json, or 'identity' with --allow-labels",
    )
    parser.add_argument("--allow-labels", action="store_true", help="let --sts-from identity read identity labels")
    parser.add_argument("--bin", type=int, default=100, metavar="N", help="frames per bin of the time table (100)")
    parser.add_argument("--max-lag", type=int, default=20_000, metavar="N", help="longest walk in frames (20000)")
    parser.add_argument(
        "--min-count", type=int, default=20, metavar="N", help="walks that make a camera pair known (20)"
    )
    parser.add_argument("--unknown", type=float, metavar="P", help="plausibility of the unknown (median of the known)")
    parser.add_argument("--convert", metavar="PICKLE", help="instead: turn an old pickle into an .npz beside it")
    parser.add_argument("--keys", metavar="JSON", help='for --convert: {"rows": [...], "columns": [...]}')
    parser.add_argument("overrides", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys to change")


def run(arguments: argparse.Namespace) -> None:
    setup_logging()
    cfg = load_config(arguments.config_file, arguments.overrides)
    check_parts(cfg)
    if arguments.convert:
        convert(cfg, Path(arguments.convert), arguments.keys)
        return
    names = Mining.__dataclass_fields__
    options = Mining(**{name: value for name, value in vars(arguments).items() if name in names})
    if options.bin < 1 or options.max_lag < options.bin or options.min_count < 1:
        raise UserError("--bin and --min-count must be at least 1, and --max-lag at least --bin.")
    if options.unknown is not None and not 0 <= options.unknown <= 1:
        raise UserError(f"--unknown must be between 0 and 1, not {options.unknown}.")
    if options.sts_from not in ("", "identity"):
        check_file(options.sts_from, "--sts-from")
    check_writable(Path(cfg.PICKLE_PATH), "PICKLE_PATH")
    check_datasets(cfg)
    from unreid.engine.mining.miner import mine

    mine(cfg, options)


def convert(cfg: CfgNode, source: Path, keys: str | None) -> Path:
    """Reads an old pickle without running anything in it and writes the ``.npz`` that a run reads.

    The published training relations are in the order of the sorted paths, so their keys are known; those of the test
    relations are in an order that only their authors' machine had and need ``keys``.

    Raises:
        UserError: the pickle is refused or does not fit, or its keys are not known.
    """
    kind = KINDS.get(source.stem)
    if kind is None:
        raise UserError(f"{source.name} is none of {', '.join(f'{stem}.pickle' for stem in KINDS)}.")
    train = source.stem not in ("overlap_relation", "spatio_temporal_relation_infer", "cross_camera_relation_infer")
    if keys is None and not train:
        raise UserError(f"The order of {source.name} is not known: give the keys of its rows and columns with --keys.")
    for path, option in ((str(source), "--convert"), (keys, "--keys")):
        if path is not None:
            check_file(path, option)
    from unreid.constraints import record_keys, save_relation
    from unreid.constraints.loading import convert_legacy, read_keys
    from unreid.engine.mining.miner import mining_datasets

    if keys is not None:
        rows, columns = read_keys(Path(keys))
    else:
        dataset, _ = mining_datasets(cfg)
        tracklets = sorted(dataset.train.tracklets, key=lambda tracklet: tracklet.paths)
        rows, columns = record_keys(tracklets, [dataset.folder]), None
    relation = convert_legacy(source, kind, rows, columns)
    target = source.with_suffix(".npz")
    save_relation(target, relation)
    logger.info("wrote %s: %d x %d", target, *relation.shape)
    return target


def _pairs(text: str) -> tuple[tuple[int, int], ...]:
    try:
        return tuple(parse_pair(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected camera pairs like 2-8,3-5: {error}") from None


MINE = Command(
    name="mine",
    summary="Derive TOC, SCP and STS relations from a dataset's tracklets and write them to PICKLE_PATH.",
    example="--config-file AuxUSL_mars.yml --sts-from logs/AuxUSL_mars/pseudo_labels.npz DATASETS.ROOT /data",
    add_arguments=add_arguments,
    run=run,
)
