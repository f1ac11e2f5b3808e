"""What the commands of the workbench share: the words MODEL and IMAGES, looked at before PyTorch is there."""

from __future__ import annotations

import argparse
import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from unreid.config import load_config
from unreid.engine.folder import BEST, CHECKPOINT, check_writable
from unreid.engine.kinds import own_names
from unreid.engine.names import check_timm_name
from unreid.engine.preflight import check_file, check_packages, check_weight_files
from unreid.utils.errors import UserError
from unreid.utils.packages import require_packages
from unreid.utils.plugins import import_plugins
from unreid.utils.shipped_weights import locate_weights
from unreid.workbench.crops import check_images, compiled
from unreid.workbench.feature_parquet import require_arrow
from unreid.workbench.feature_table import check_suffix
from unreid.workbench.start_weights import check_start_weights

if TYPE_CHECKING:
    from unreid.workbench.encoder import Encoder

MODEL_HELP = (
    "a run's folder, a checkpoint, an exported file (.onnx, .torchscript, .safetensors), a network of the package "
    "(unreid list weights), or a backbone: osnet_x1_0, resnet50, timm/NAME ..."
)
_PACKAGES = {".onnx": "onnxruntime", ".safetensors": "safetensors"}


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Options that say what a model is."""
    parser.add_argument("--feature", default="", choices=["", "embedding", "pooled", "pooled_l2"], help="default: own")
    parser.add_argument("--config-file", metavar="F", help="config of a checkpoint that holds none")
    parser.add_argument("--plugins", nargs="*", default=[], metavar="P", help="files or modules that it needs")
    add_set(parser)


def add_set(parser: argparse.ArgumentParser) -> None:
    """``--set KEY VALUE``, as often as wanted."""
    parser.add_argument(
        "--set", nargs=2, action="append", default=[], metavar=("KEY", "VALUE"), help="change a config key; repeatable"
    )


def add_image_options(parser: argparse.ArgumentParser) -> None:
    """Options that say how images are read and where their cameras come from."""
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda or cuda:N (auto)")
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="images of a forward pass (64)")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="decoding processes (0: this one)")
    parser.add_argument("--camera-regex", default="", metavar="R", help="its first group in the path is the camera")
    parser.add_argument("--manifest", default="", metavar="CSV", help="columns path and camera instead")


def overrides(arguments: argparse.Namespace) -> list[str]:
    """``--set`` as ``[KEY, VALUE, ...]``."""
    return [word for pair in arguments.set for word in pair]


def check_model(arguments: argparse.Namespace) -> str:
    """What ``MODEL`` means: the path of a file, or the name of a backbone.

    Raises:
        UserError: there is no such thing, or a package that it needs is missing.
    """
    if arguments.config_file:
        check_file(arguments.config_file, "--config-file")
    model = Path(arguments.model)
    if os.path.isdir(model):
        found = next((model / name for name in (BEST, CHECKPOINT) if os.path.isfile(model / name)), None)
        if found is None:
            raise UserError(f"{model} is no run: it holds neither {BEST} nor {CHECKPOINT}.")
        return str(found)
    file = locate_weights(model)
    if os.path.lexists(file):
        check_file(str(file), "MODEL")
        if model.suffix.lower() in _PACKAGES:
            require_packages(model, _PACKAGES[model.suffix.lower()], way_out="install unreid[export]")
        load_config(arguments.config_file, overrides(arguments))
        return str(model)
    name = arguments.model
    if model.suffix or (model.parent != Path(".") and not name.startswith("timm/")):
        raise UserError(f"There is no model {name}: {MODEL_HELP}.")
    import_plugins(arguments.plugins)
    if name.startswith("timm/"):
        check_timm_name(name.removeprefix("timm/"))
    elif not arguments.plugins:
        own_names("backbone").get(name)
    cfg = load_config(arguments.config_file, ["MODEL.BACKBONE.NAME", name, *overrides(arguments)])
    check_start_weights(cfg, name)
    check_packages(cfg)
    check_weight_files(cfg)
    return name


def check_crops(arguments: argparse.Namespace) -> None:
    """Whether there is such an image or folder, and whether the options about images can be used."""
    check_images(arguments.images)
    for option, value, least in (("--batch-size", arguments.batch_size, 1), ("--workers", arguments.workers, 0)):
        if not least <= value <= 1 << 16:
            raise UserError(f"{option} must be between {least} and {1 << 16}, not {value}.")
    if arguments.camera_regex and arguments.manifest:
        raise UserError("--camera-regex and --manifest both name the cameras: give one of them.")
    compiled(arguments.camera_regex)
    if arguments.manifest:
        check_file(arguments.manifest, "--manifest")


def check_output(path: str, overwrite: bool, what: str = "-o") -> None:
    """Whether a file may be written."""
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.lstat(path)  # a name that is too long, or that no file can have
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{what}: {path!r} cannot be written: {reason}.") from None
    if os.path.isdir(path):
        raise UserError(f"{what}: {path} is a folder: name a file in it.")
    if os.path.lexists(path) and not overwrite:
        raise UserError(f"{what}: {path} exists: choose another name, or give --overwrite.")
    check_writable(Path(path).parent, f"The folder of {what}")


def check_table(path: str) -> None:
    """Whether a feature table's name is one, and whether the package that it needs is there."""
    if check_suffix(path) == ".parquet":
        require_arrow(path)


def open_encoder(arguments: argparse.Namespace, model: str, device: object) -> Encoder:
    """The encoder, loaded."""
    from unreid.workbench.encoder import load_encoder

    return load_encoder(
        model,
        config_file=arguments.config_file,
        overrides=overrides(arguments),
        plugins=arguments.plugins,
        feature=arguments.feature,
        device=device,  # type: ignore[arg-type]
    )
