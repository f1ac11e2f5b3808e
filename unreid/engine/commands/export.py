"""``unreid export``: a network as ONNX, TorchScript or safetensors."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from unreid.engine.commands.command import Command
from unreid.engine.commands.models import MODEL_HELP, add_model_options, check_model, check_output, open_encoder
from unreid.utils.errors import UserError
from unreid.utils.packages import require_packages

logger = logging.getLogger(__name__)

NEEDS = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "torchscript": (), "safetensors": ("safetensors",)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="file to write, such as model.onnx")
    parser.add_argument("--format", choices=list(NEEDS), default="", help="default: the suffix of FILE")
    parser.add_argument("--images", default="", metavar="DIR", help="pictures of the check (default: rendered ones)")
    add_model_options(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace the file if there is one")


def run(arguments: argparse.Namespace) -> None:
    check_output(arguments.output, arguments.overwrite)
    form = arguments.format or Path(arguments.output).suffix.lower().removeprefix(".")
    if form not in NEEDS:
        raise UserError(f"-o: {arguments.output} ends in none of .{', .'.join(NEEDS)}: rename it, or give --format.")
    suffix = Path(arguments.output).suffix.lower()
    if suffix != f".{form}":
        raise UserError(f"-o: {arguments.output} must end in .{form}, by which it will be known.")
    require_packages(form, *NEEDS[form], way_out="install unreid[export]")
    from unreid.workbench.crops import check_images

    if arguments.images:
        check_images(arguments.images)
    model = check_model(arguments)
    from unreid.utils.logging import setup_logging
    from unreid.workbench.crops import list_crops
    from unreid.workbench.export import export, some_pictures

    setup_logging()
    pictures = some_pictures(list_crops(arguments.images).files if arguments.images else None)
    encoder = open_encoder(arguments, model, "cpu")
    difference = export(encoder, arguments.output, form, pictures)
    size = Path(arguments.output).stat().st_size / 2**20
    logger.info(
        "%s: %.1f MiB, largest difference to the original %.1e on %d pictures, preprocessing %s",
        arguments.output,
        size,
        difference,
        len(pictures),
        encoder.preprocessing.to_dict(),
    )


EXPORT = Command(
    name="export",
    summary="Write a model as ONNX, TorchScript or safetensors, and check it against the original.",
    example="logs/market -o model.onnx --images crops/",
    add_arguments=add_arguments,
    run=run,
)
