"""The shipped configs are found by name from any folder; what lies there wins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from unreid.config import load_config, shipped
from unreid.config.shipped import locate, shipped_folder
from unreid.utils.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory: an empty one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_checkout_uses_its_own_configs() -> None:
    assert shipped_folder().resolve() == CONFIGS


def test_an_installed_package_uses_those_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "unreid"
    (package / "configs").mkdir(parents=True)
    (package.parent / "configs").mkdir()  # of another package
    (package / "configs" / "Own.yml").write_text("SEED: 7\n")
    monkeypatch.setattr(shipped, "__file__", str(package / "config" / "shipped.py"))
    assert load_config("Own").SEED == 7


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yml")), ids=lambda path: path.stem)
def test_every_shipped_config_is_found_by_bare_name(path: Path) -> None:
    expected = load_config(path)
    for named in (path.name, path.stem, f"configs/{path.name}", Path(path.name)):
        assert load_config(named) == expected


@pytest.mark.parametrize(
    "named", ["base/market.yml", "base/market", "configs/base/market.yml", "./base/market.yml", "./configs/base/market"]
)
def test_bases_are_found_too(named: str) -> None:
    assert locate(named) == CONFIGS / "base" / "market.yml"


@pytest.mark.parametrize("named", ["CDSM_market.yml", "CDSM_market", "configs/CDSM_market.yml"])
@pytest.mark.parametrize("suffix", [".yml", ".yaml", ""])
def test_a_file_that_is_there_wins(tmp_path: Path, named: str, suffix: str) -> None:
    own = tmp_path / Path(named).parent / f"CDSM_market{suffix}"
    own.parent.mkdir(exist_ok=True)
    own.write_text("SEED: 7\n")
    means_it = own.name in (Path(named).name, f"{Path(named).name}{suffix}")
    assert (load_config(named).SEED == 7) is means_it


def test_a_folder_of_that_name_does_not_hide_the_config(tmp_path: Path) -> None:
    (tmp_path / "CDSM_market").mkdir()
    assert load_config("CDSM_market").METHOD.NAME == "CDSM"
    with pytest.raises(UserError, match="configs cannot be read: it is a folder"):
        (tmp_path / "configs").mkdir()
        load_config("configs")


def test_what_is_there_and_no_file_is_not_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "CDSM_market.yml")
    with pytest.raises(UserError, match="CDSM_market.yml cannot be read: it is a pipe or device"):
        load_config("CDSM_market.yml")


@pytest.mark.parametrize("named", ["../configs/CDSM_market.yml", "base/../CDSM_market.yml", "/CDSM_market.yml"])
def test_paths_that_lead_elsewhere_mean_no_shipped_config(named: str) -> None:
    assert locate(named) == Path(named)


def test_a_base_is_looked_for_beside_its_file_and_then_among_the_shipped(tmp_path: Path) -> None:
    folder = tmp_path / "below"
    folder.mkdir()
    mine = folder / "mine.yml"
    mine.write_text("_BASE_: [configs/CDSM_market.yml, near.yml]\nSEED: 3\n")
    (folder / "near.yml").write_text("_BASE_: ISE_market\nCLUSTER: {K1: 11}\n")
    (tmp_path / "near.yml").write_text("CLUSTER: {K1: 12}\n")
    cfg = load_config("below/mine")
    assert (cfg.SEED, cfg.CLUSTER.K1, cfg.METHOD.NAME, cfg.MODEL.EMA.ENABLED) == (3, 11, "ISE", True)
    (folder / "CDSM_market.yml").write_text("SEED: 5\n")
    mine.write_text("_BASE_: CDSM_market.yml\n")
    cfg = load_config(mine)
    assert (cfg.SEED, cfg.METHOD.NAME) == (5, load_config().METHOD.NAME)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("CDSM_markt.yml", "CDSM_market.yml"),
        ("CDSM_market.yaml", "CDSM_market.yml"),
        ("cdsm_market", "CDSM_market.yml"),
        ("market_CDSM.yml", "CDSM_market.yml"),
        ("CDSM-market.yml", "CDSM_market.yml"),
        ("cdsm", "CDSM_duke.yml, CDSM_market.yml or CDSM_msmt17.yml"),
        ("configs/CDSM_markt.yml", "CDSM_market.yml"),
        ("/nowhere/CDSM_market.yml", "CDSM_market.yml"),
        ("../CDSM_market.yml", "CDSM_market.yml"),
        ("base/markt.yml", "base/market.yml"),
        ("mein.yml", "mine.yml"),
    ],
)
def test_a_wrong_name_is_answered_with_the_near_ones(tmp_path: Path, wrong: str, meant: str) -> None:
    (tmp_path / "mine.yml").touch()
    with pytest.raises(UserError) as caught:
        load_config(wrong)
    assert str(caught.value) == f"There is no config file {wrong}; did you mean {meant}?"


def test_a_wrong_base_is_answered_with_the_near_ones(tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text("SEED: 1\n_BASE_: CDSM_markt.yml\n")
    with pytest.raises(UserError, match=r"no config file CDSM_markt.yml \(_BASE_ of mine.yml:2\); did you mean CDSM_m"):
        load_config("mine.yml")


@pytest.mark.parametrize(
    "odd", [".", "..", "/", "~", "configs/..", "x" * 5000, "a\0b", "configs/../../etc/passwd", "é\n"]
)
def test_odd_names_are_one_sentence(odd: str) -> None:
    with pytest.raises(UserError, match="^(There is no config file|The config file)") as caught:
        load_config(odd)
    assert len(str(caught.value)) < 500 and "\n" not in str(caught.value)


def test_a_link_to_nowhere_is_not_recommended(tmp_path: Path) -> None:
    (tmp_path / "mine.yml").symlink_to("gone.yml")
    with pytest.raises(UserError, match="no config file mine.yml; the shipped ones"):
        load_config("mine.yml")
