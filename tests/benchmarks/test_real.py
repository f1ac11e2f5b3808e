"""The benchmark on photographs without photographs: its plan, its tables, and the intervals of paired seeds."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

from unreid.config import load_config

paired = importlib.import_module("benchmarks.paired")
rows = importlib.import_module("benchmarks.real_rows")
tables = importlib.import_module("benchmarks.real_tables")
CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def test_the_interval_is_that_of_a_paired_t_test() -> None:
    from scipy.stats import ttest_rel

    generator = np.random.default_rng(0)
    one, other = generator.normal(1.0, 2.0, 5), generator.normal(0.0, 2.0, 5)
    expected = ttest_rel(one, other).confidence_interval(0.9)
    found = paired.interval(paired.paired(dict(enumerate(one)), dict(enumerate(other))), 0.9)
    assert found == pytest.approx((expected.low, expected.high))
    assert paired.half_width(2.0, 3) == pytest.approx(2.0 * 4.3027 / 3**0.5, rel=1e-4)
    with pytest.raises(ValueError, match="at least two"):
        paired.interval([1.0])


def test_only_seeds_of_both_are_compared_and_one_pair_proves_nothing() -> None:
    scores = {"base": {1: 10.0, 2: 11.0, 3: 9.0}, "better": {3: 19.2, 1: 20.0, 4: 90.0}, "once": {2: 30.0}}
    text = paired.table(scores, "base")
    assert "| better | 2 | +10.1 |" in text and "| yes |" in text and "one pair: not known" in text


@pytest.mark.parametrize("name", rows.METHODS)
@pytest.mark.parametrize("start", [rows.OSNET, rows.LITE0])
def test_every_row_is_a_config(name: str, start: str, tmp_path: Path) -> None:
    for data in rows.SETS:
        row = rows.Row(data, start, name, 2)
        assert rows.Row.of(row.key) == row
        settings = row.settings(tmp_path, str(tmp_path / "out"), "cpu", rows.CPU)
        cfg = load_config(CONFIGS / f"{rows.METHODS[name].config}_market.yml", settings)
        rounds, steps = rows.METHODS[name].length or (rows.CPU.rounds, rows.CPU.steps)
        assert (rounds, steps, 2) == (cfg.OPTIM.EPOCHS, cfg.DATALOADER.ITERS, cfg.SEED)
        assert rows.CPU.images(name) == rounds * steps * cfg.DATALOADER.TRAIN_BATCH_SIZE


def test_tables_have_every_row_with_its_gain_and_its_labels() -> None:
    def run(start: float, end: float) -> dict[str, object]:
        score = {"mAP": end, "R1": end, "R5": end, "R10": end}
        label = {"clusters": 9.0, "outliers": 1.0, "pair_precision": 0.5, "cross_camera_recall": 0.1, "mAP": end}
        common = {"date": "2026-11-27", "machine": "a", "cpu": 60.0, "centred": score, "last": score}
        return {**common, "initial": {**score, "mAP": start}, "rounds": [label] * 8}

    done = {f"cuhk03p1/OSNet/O2CAP/{seed}": run(20.0, 30.0 + seed) for seed in (1, 2, 3)}
    done["cuhk03p1/-/raw pixels/1"] = {key: run(0, 1.0)[key] for key in ("date", "machine", "cpu", "centred", "last")}
    text = tables.scores(done)
    assert "| OSNet | O2CAP | 3 | 32.0 ± 1.0 | 32.0 ± 1.0 | 32.0 ± 1.0 | +12.0 (+9.5 to +14.5) | 1.0 |" in text
    assert text.index("raw pixels") < text.index("O2CAP")
    assert tables.by_round(done).count("| 0.50 | 0.100 |") == 4


def test_worlds_are_paired_by_world_and_seed() -> None:
    worlds = importlib.import_module("benchmarks.worlds")
    runs = {f"ClusterContrast/{world}/1": {"mAP": 10.0 * world} for world in (1, 2, 3)}
    runs |= {f"O2CAP/{world}/1": {"mAP": 10.0 * world + 5 + 0.1 * world} for world in (1, 2, 3)}
    runs["raw pixels/1/0"] = {"mAP": 1.0}
    text = worlds.markdown(runs)
    assert "| O2CAP | 15.1 | 25.2 | 35.3 | 25.2 ± 10.1 |" in text and "| raw pixels | 1.0 |  |  | 1.0 |" in text
    assert "| O2CAP | 3 | +5.2 | +5.0 to +5.4 | yes |" in text


def test_a_row_trains_on_a_folder_of_photographs_and_says_what_it_found(tmp_path: Path) -> None:
    from PIL import Image

    real = importlib.import_module("benchmarks.real")
    generator = np.random.default_rng(0)
    for person in range(8):
        colour = generator.integers(0, 256, 3)
        for split in ("train", "query", "gallery"):
            for camera, number in ((1, 1), (1, 2), (2, 3), (2, 4)):
                name = f"{person:04}_c{camera}_{number}.png"
                folder = (
                    tmp_path / "cuhk01" / split if split == "train" else tmp_path / "cuhk01" / split / f"{person:04}"
                )
                folder.mkdir(parents=True, exist_ok=True)
                noise = generator.normal(0, 20, (32, 16, 3))
                Image.fromarray((colour + noise).clip(0, 255).astype(np.uint8)).save(folder / name)
    assert not real.complete(rows.Row("cuhk01", rows.OSNET, "one by one"), tmp_path)  # no weights
    plan = rows.Plan(rounds=1, steps=2, batch=8, sizes=((rows.RANDOM, (64, 32)),), amp="off")
    found = real.work(rows.Row("cuhk01", rows.RANDOM, "one by one"), tmp_path, "cpu", plan)
    assert found["initial"]["mAP"] > 0 and found["last"].keys() >= {"mAP", "R1"} and found["cpu"] > 0
    assert found["rounds"][0].keys() >= {"outliers", "pair_precision", "cross_camera_recall", "mAP"}
    plain = real.work(rows.Row("cuhk01", "-", rows.HISTOGRAM), tmp_path, "cpu", plan)
    assert plain["last"]["mAP"] > 90  # people are colours here
