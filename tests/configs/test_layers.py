"""One order of layers in every shipped config: the method first, then the data set, then what rendered data needs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from unreid.config.sources import BASE_KEY, read_file

FOLDER = Path(__file__).parents[2] / "configs"
CONFIGS = sorted([*FOLDER.glob("*.yml"), *FOLDER.glob("base/*.yml")])
METHOD, DATASET, RENDERED = "a method", "a data set", "rendered data"


def layer(path: Path) -> str:
    """What a base file is about, by the names that it or its own bases set."""
    settings = {setting.key: setting.value for setting in read_file(path)}
    if "METHOD.NAME" in settings:
        return METHOD
    names = [str(name) for name in settings.get("DATASETS.NAMES", [])]
    assert names, f"{path.name} names neither a method nor a data set: say in this test which layer it is"
    return RENDERED if names[0].startswith("Synthetic") else DATASET


@pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_bases_come_in_the_one_order(path: Path) -> None:
    bases = (yaml.safe_load(path.read_text()) or {}).get(BASE_KEY, [])
    layers = [layer(path.parent / base) for base in ([bases] if isinstance(bases, str) else bases)]
    assert layers == sorted(layers, key=[METHOD, DATASET, RENDERED].index), f"{path.name}: {bases}"


def test_what_is_about_data_sets_no_method_and_the_other_way_round() -> None:
    for path in FOLDER.glob("base/*.yml"):
        settings = {setting.key for setting in read_file(path)}
        assert ("METHOD.NAME" in settings) != ("DATASETS.NAMES" in settings), path.name
