"""Checkpoints changed, swapped between runs, cut off, or with flipped bits, read through every entrance."""

from __future__ import annotations

import copy
import logging
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from tests.engine.small_runs import METHODS, StopAt, small_config, small_trainer, stopped_run
from tests.torture.hostile import bounded_memory
from tests.torture.tally import Tally
from unreid.engine.checkpoint import load_model, read_run
from unreid.engine.resume import check_resumable
from unreid.evaluation.feature_extractor import FeatureExtractor
from unreid.models.convert import convert_file
from unreid.models.embedding import EmbeddingModel
from unreid.models.pretrained import load_pretrained
from unreid.utils.errors import UserError

TITLE = "wrong and damaged checkpoints"
EXPECTED = "refused in one sentence, or read with the very weights that were written"
COUNT = 400
SLICE = 24

Place = tuple[Any, ...]

MAY_BE_NONE = {
    "lr",
    "sampler",
    "batch_size",
    "previous",
    "reliable",
    "group_bound",
    "nearest",
    "eps",
    "value",
    "labels",
}
MAY_BE_NONE |= {"plan"}
WRAPPERS = ("module.", "_orig_mod.", "model.")
CONTAINERS = ("state_dict", "model", "net", "model_state_dict", "network", "teacher", "student")


def run(count: int, seed: int, folder: Path) -> Tally:
    rng, tally = random.Random(seed), Tally()
    logging.disable(logging.INFO)
    try:
        with bounded_memory():
            world = World(folder)
            trials = (_change, _change, _flip, _flip, _swap, _wrap)
            for number in range(count):
                _judge(trials[number % len(trials)], world, rng, tally, f"seed {seed}, trial {number}")
    finally:
        logging.disable(logging.NOTSET)
    return tally


class World:
    """A checkpoint of every method, and what reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.configs = {name: small_config(name) for name in METHODS}
        self.files = {name: stopped_run(cfg, folder / name) for name, cfg in self.configs.items()}
        self.contents = {name: torch.load(file, weights_only=True) for name, file in self.files.items()}
        self.target = folder / "trial.pth"

    def train(self, name: str, path: Path) -> dict[str, Any]:
        """What RESUME does; returns the state that training would go on from."""
        cfg = self.configs[name]
        checkpoint = read_run(path)
        check_resumable(checkpoint, cfg, path)
        trainer = small_trainer(cfg, self.folder / "resumed", StopAt(-1))
        assert checkpoint.trainer is not None
        trainer.load_state_dict(checkpoint.trainer)
        return trainer.state_dict()

    def weights(self, name: str, path: Path, entrance: str) -> dict[str, torch.Tensor]:
        """The evaluated network, through one of the other entrances."""
        model = EmbeddingModel.from_config(self.configs[name], pretrained=False)
        if entrance == "load_model":
            load_model(path, model)
        elif entrance == "extractor":
            own = self.folder / f"{name}.yml"
            own.write_text(self.configs[name].dump())
            model = FeatureExtractor.from_checkpoint(path, config_file=own, device="cpu").model
        elif entrance == "convert":
            convert_file(path, self.folder / "converted.pth")
            load_model(self.folder / "converted.pth", model)
        else:
            load_pretrained(model.backbone, "resnet_tiny", path=str(path), min_match=1.0)
        return {key: value for key, value in model.state_dict().items() if _compared(key, entrance)}

    def expected(self, name: str, entrance: str) -> dict[str, torch.Tensor]:
        return {key: value for key, value in self.contents[name]["model"].items() if _compared(key, entrance)}


ENTRANCES = ("load_model", "extractor", "convert", "pretrained")


def _compared(key: str, entrance: str) -> bool:
    return key.startswith("backbone.") if entrance == "pretrained" else not key.startswith("classifier.")


def _judge(
    trial: Callable[[World, random.Random], str], world: World, rng: random.Random, tally: Tally, at: str
) -> None:
    told: list[str] = []
    handler = _Collect(told)
    logging.getLogger("unreid").addHandler(handler)
    try:
        what = trial(world, rng)
    except UserError as error:
        if "\n" in str(error) or len(str(error)) < 20:
            tally.failed(f"{at}: no sentence: {error}")
        else:
            tally.passed("refused")
    except Wrong as error:
        if told:
            tally.passed("taken, with a warning")
        else:
            tally.failed(f"{at}: {error}")
    except Exception as error:  # whatever it is, it should have been a sentence
        tally.failed(f"{at}: {trial.__name__} ended in {type(error).__name__}: {error}")
    else:
        tally.passed(what)
    finally:
        logging.getLogger("unreid").removeHandler(handler)


class Wrong(Exception):
    """A damaged file was taken, and the result is another than that of the whole one."""


class _Collect(logging.Handler):
    def __init__(self, told: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.told = told

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(record.getMessage())


def _change(world: World, rng: random.Random) -> str:
    """One entry, at any depth, is dropped, added, of another type, shape or dtype, or not finite."""
    name = rng.choice(list(METHODS))
    content = copy.deepcopy(world.contents[name])
    place = rng.choice(list(_places(content)))
    what = _mutate(content, place, rng)
    torch.save(content, world.target)
    state = world.train(name, world.target)
    weights = world.weights(name, world.target, rng.choice(ENTRANCES[:3]))
    whole = world.contents[name]["trainer"]
    if not same(state, whole) or not same(weights, world.expected(name, "load_model")):
        raise Wrong(f"{name}: {what} at {place} passed in silence")
    return "read, equal"


def _places(node: Any, place: Place = ()) -> Iterator[Place]:
    """Every entry of a nested container, shallow ones more often than their number says."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        if (isinstance(node, list) and (key > 3 or "rows" in place)) or place == ("results",):
            return  # a row of the table of rounds and a score that is shown are nothing that a run depends on
        here = (*place, key)
        yield from [here] * max(1, 12 - 4 * len(here))
        yield from _places(value, here)


def _mutate(content: Any, place: Place, rng: random.Random) -> str:
    parent = content
    for key in place[:-1]:
        parent = parent[key]
    key, value = place[-1], parent[place[-1]]
    ways = ["drop", "retype", "add"] + (["shape", "dtype", "nan"] if isinstance(value, torch.Tensor) else [])
    way = rng.choice(ways)
    if way == "drop":
        del parent[key]
    elif way == "add":
        where = value if isinstance(value, dict) else parent
        if isinstance(where, dict):
            where["surplus"] = rng.choice([1, "text", torch.ones(2)])
        else:
            where.append("surplus")
    elif way == "retype":
        others = ["text", 3, 2.5, [], {}, torch.ones(2, 3), b"bytes", (1, 2), True, 10**30, None]
        others = [other for other in others if type(other) is not type(value)]
        if isinstance(value, float):
            others.remove(3)
        if str(key) in MAY_BE_NONE or value is None or "hooks" in place or "results" in place:
            others = ["text", {1: 2}, b"bytes", 10**30]
        parent[key] = rng.choice(others)
    elif way == "shape":
        parent[key] = torch.cat([value.flatten(), torch.zeros(1, dtype=value.dtype)])[None, None]
    elif way == "dtype":
        parent[key] = value.to(torch.complex64 if value.is_floating_point() else torch.float32)
    else:
        parent[key] = torch.full_like(value, torch.nan) if value.is_floating_point() else value.double() * torch.nan
    return way


def _flip(world: World, rng: random.Random) -> str:
    """A bit somewhere in the file, or the end of it, is lost."""
    name = rng.choice(list(METHODS))
    content = bytearray(world.files[name].read_bytes())
    if rng.random() < 0.25:
        content = content[: rng.randrange(len(content))]
    else:
        # Half of the flips hit the archive's tables and the pickle, which are small beside the tensors.
        start = rng.choice([0, 0, max(0, len(content) - 12_000), content.find(b"PK\x01\x02")])
        at = rng.randrange(start, len(content)) if rng.random() < 0.7 else rng.randrange(min(60_000, len(content)))
        content[at] ^= 1 << rng.randrange(8)
    world.target.write_bytes(bytes(content))
    entrance = rng.choice(["train", *ENTRANCES])
    if entrance == "train":
        if not same(world.train(name, world.target), world.contents[name]["trainer"]):
            raise Wrong(f"{name}: a damaged file was trained on")
    elif not same(world.weights(name, world.target, entrance), world.expected(name, entrance)):
        raise Wrong(f"{name}: a damaged file gave other weights through {entrance}")
    return "read, equal"


def _swap(world: World, rng: random.Random) -> str:
    """A whole checkpoint, or one part of it, belongs to another method, network, optimiser or training list."""
    name, other = rng.sample(list(METHODS), 2)
    kind = rng.choice(["file", "part", "network", "pooling", "optimiser", "samples", "version"])
    content = copy.deepcopy(world.contents[name])
    if kind == "file":
        world.train(name, world.files[other])
        raise Wrong(f"{name} went on from a checkpoint of {other}")
    if kind == "part":
        part = rng.choice(["model", "method", "optimizer", "plan", "guard"])
        content["trainer"][part] = world.contents[other]["trainer"][part]
        torch.save(content, world.target)
        if not same(world.train(name, world.target)[part], content["trainer"][part]):
            raise Wrong(f"{name} took over {part} of {other} in part")
        return "taken, fits"
    if kind == "version":
        content["version"] = rng.choice([0, 2, 99, "1", None, 1.0, True])
        torch.save(content, world.target)
        world.train(name, world.target)
        raise Wrong(f"version {content['version']!r} was read")
    changes: dict[str, tuple[Any, ...]] = {
        "network": ("MODEL.BACKBONE.WIDTH", 8),
        "pooling": ("MODEL.POOLING.NAME", "avg"),
        "optimiser": rng.choice([("OPTIM.OPT", "sgd"), ("OPTIM.OPT", "adamw"), ("OPTIM.BACKBONE_LR_MULT", 0.5)]),
        "samples": (),
    }
    cfg = small_config(name, *changes[kind])
    checkpoint = read_run(world.files[name])
    assert checkpoint.trainer is not None
    trainer = small_trainer(cfg, world.folder / "other", ids=7 if kind == "samples" else 6)
    if rng.random() < 0.5:
        check_resumable(checkpoint, cfg, world.files[name])
    trainer.load_state_dict(checkpoint.trainer)
    raise Wrong(f"{name} went on with another {kind}")


def _wrap(world: World, rng: random.Random) -> str:
    """Weights of our own networks, with wrappers in their names and in containers: these must load."""
    name = rng.choice(list(METHODS))
    prefix = "".join(rng.choices(WRAPPERS, k=rng.randrange(4)))
    if rng.random() < 0.3:  # a part was compiled
        weights = {
            key.replace("backbone.", "backbone._orig_mod."): value for key, value in world.expected(name, "").items()
        }
    else:
        weights = world.expected(name, "")
    content: Any = {prefix + key: value for key, value in weights.items()}
    if rng.random() < 0.3:
        content = {"format": "unreid", "version": 1, "config": world.configs[name].dump(), "model": content}
    else:
        for container in rng.choices(CONTAINERS, k=rng.randrange(3)):
            content = {container: content, "epoch": 3}
    torch.save(content, world.target, _use_new_zipfile_serialization=rng.random() < 0.8)
    entrance = rng.choice(ENTRANCES)
    try:
        found = world.weights(name, world.target, entrance)
    except UserError as error:
        raise AssertionError(f"prefix {prefix!r} through {entrance} was refused: {error}") from None
    if not same(found, world.expected(name, entrance)):
        raise AssertionError(f"prefix {prefix!r} through {entrance} gave other weights")
    return "read, equal"


def same(first: Any, second: Any) -> bool:
    """Nested containers of tensors and plain values are equal, bit for bit."""
    if isinstance(first, torch.Tensor) or isinstance(second, torch.Tensor):
        return type(first) is type(second) and first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        return len(first) == len(second) and all(same(a, b) for a, b in zip(first, second))
    return type(first) is type(second) and first == second
