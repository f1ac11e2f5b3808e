"""Words that mean a feature table or images that a model is to make one of."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from unreid.engine.commands.models import (
    MODEL_HELP,
    add_image_options,
    add_model_options,
    check_crops,
    check_model,
    open_encoder,
)
from unreid.engine.commands.models import check_table as check_table_name
from unreid.utils.errors import UserError
from unreid.workbench.feature_table import SUFFIXES, FeatureTable, read_features

TABLE_HELP = "a feature table (.parquet, .npz), or a folder of images or an image with --model"


def add_table(parser: argparse.ArgumentParser, name: str) -> None:
    """A word that is a feature table or images, with the options of the latter."""
    parser.add_argument("images", metavar=name, help=TABLE_HELP)
    parser.add_argument("--model", metavar="MODEL", default="", help=f"for images: {MODEL_HELP}")
    add_image_options(parser)
    add_model_options(parser)


def check_source(arguments: argparse.Namespace) -> str:
    """What was named, looked at: "" for a table, else the model for images."""
    if is_table(arguments.images):
        check_vectors(arguments)
        return ""
    check_crops(arguments)
    if not arguments.model:
        raise UserError(f"{arguments.images} holds images: say with --model what makes vectors of them.")
    return check_model(arguments)


def check_vectors(arguments: argparse.Namespace) -> None:
    """:func:`check_table` of what was named, and that no option is about images or their model."""
    for option in ("--model", "--camera-regex", "--manifest", "--config-file", "--feature"):
        if getattr(arguments, option[2:].replace("-", "_")):
            raise UserError(f"{arguments.images} is a feature table, which needs no {option}.")
    check_table(arguments.images)


def check_table(path: str) -> None:
    """Raises :class:`UserError` unless there is such a feature table and the package that reads it."""
    check_table_name(path)
    if not os.path.isfile(path):
        raise UserError(f"There is no feature table {path}; unreid extract writes one.")


def is_table(path: str) -> bool:
    """Whether a word is the name of a feature table."""
    return Path(path).suffix.lower() in SUFFIXES


def read_source(arguments: argparse.Namespace, model: str) -> FeatureTable:
    """The table, read, or made of the images on the device that the options name."""
    if not model:
        return read_features(arguments.images)
    from unreid.utils.job import init_from_env
    from unreid.workbench.crops import list_crops
    from unreid.workbench.extraction import extract_table

    encoder = open_encoder(arguments, model, init_from_env(arguments.device))
    crops = list_crops(arguments.images, camera_regex=arguments.camera_regex, manifest=arguments.manifest)
    return extract_table(encoder, crops, batch_size=arguments.batch_size, workers=arguments.workers)
