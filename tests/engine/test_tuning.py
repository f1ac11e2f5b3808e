"""``unreid tune``: lists that serve a whole sweep, the choice without labels, and what is written about it."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from unreid.config import CfgNode, load_config
from unreid.engine.commands import TUNE
from unreid.engine.tuning.choices import Space, num_instances, spaces
from unreid.engine.tuning.judge import agreement, judged
from unreid.engine.tuning.lists import Neighborhood
from unreid.engine.tuning.options import Tuning, Values
from unreid.engine.tuning.report import best_of_spaces, figure, table, write_config
from unreid.engine.tuning.source import from_config
from unreid.engine.tuning.sweep import sweep
from unreid.engine.tuning.tune import _own, tune
from unreid.evaluation.selection import recipe_score
from unreid.neighbors import PairGraphBuilder
from unreid.structures import PairGraph
from unreid.utils.errors import UserError

PEOPLE, EACH, DIM = 40, 10, 16
N = PEOPLE * EACH
PIDS = np.arange(N) // EACH
CAMIDS = torch.arange(N) % 2
FEW = Values(k1=(10,), k2=(1, 3), ca_k1=(8,), ca_k2=(3,), eps=(0.3, 0.5, 0.7), min_samples=(2, 4))
TINY = Values(k1=(10,), k2=(3,), ca_k1=(8,), ca_k2=(3,), eps=(0.5, 0.6), min_samples=(2,))
TEMPLATE = PairGraphBuilder()


def world(camera: float = 0.8, noise: float = 0.18, seed: int = 0) -> Tensor:
    """Unit features of people in two cameras, whose shift is ``camera``."""
    generator = torch.Generator().manual_seed(seed)
    own = torch.randn(PEOPLE, DIM, generator=generator)[torch.from_numpy(PIDS)] / DIM**0.5
    shift = camera * F.one_hot(CAMIDS, DIM).float()
    return F.normalize(own + shift + noise * torch.randn(N, DIM, generator=generator), dim=1)


def same(one: PairGraph, other: PairGraph) -> None:
    assert torch.equal(one.i, other.i) and torch.equal(one.j, other.j)
    torch.testing.assert_close(one.dist, other.dist, rtol=0, atol=1e-6)


@pytest.mark.parametrize("cameras", [2, 30])  # with 30, most cameras hold fewer rows than a list is wide
@pytest.mark.parametrize("spare", [0.1, 1.6])  # lists that run short are searched again
def test_graphs_from_shared_lists_are_those_of_the_builders(cameras: int, spare: float) -> None:
    features, camids = world(), torch.arange(N) % cameras
    graphs = [Space(False, "jaccard", 12, 3), Space(False, "jaccard", 6, 1), Space(False, "ca_jaccard", 8, 3)]
    builders = [space.builder(TEMPLATE) for space in graphs]
    whole = Neighborhood.search(features, camids, builders, spare=max(spare, 1.0))
    kept = torch.randperm(N, generator=torch.Generator().manual_seed(1))[: int(N * (0.8 if spare > 1 else 0.3))].sort()[
        0
    ]
    part = whole.subset(kept, builders)
    for builder in builders:
        same(whole.graph(builder, 0.8), builder(features, 0.8, camids=camids))
        same(part.graph(builder, 0.8), builder(features[kept].contiguous(), 0.8, camids=camids[kept]))


def test_the_choice_is_near_the_best_that_labels_would_find() -> None:
    features = world()
    rows = sweep(features, CAMIDS, FEW, TEMPLATE)
    assert [row.score for row in rows] == sorted((row.score for row in rows), reverse=True)
    assert len(rows) == 2 * 3 * 3 * 2
    for row in rows:
        counts = np.unique(row.labels[row.labels >= 0].numpy(), return_counts=True)[1].tolist()
        assert (row.sizes, row.clusters, row.outliers) == (counts, len(counts), N - sum(counts))
        assert row.largest == max(counts, default=0)
    assert any(row.sizes.index(row.largest) == 0 for row in rows if row.sizes)  # the first cluster counts as any other
    found = [entry["cross_camera_f1"] for entry in judged(rows, PIDS, CAMIDS)]
    correlation, chosen, best = agreement(rows, found)
    assert correlation > 0.7 and chosen > 0.9 * best
    assert rows[0].space.centered  # the cameras hide the people


def test_stability_is_the_mean_over_subsets_that_differ() -> None:
    alone, two = (sweep(world(), CAMIDS, TINY, TEMPLATE, subsets=subsets) for subsets in (1, 2))
    found = {str(row.overrides()): row.stability for row in alone}
    assert any(abs(found[str(row.overrides())] - row.stability) > 1e-4 for row in two)


def test_without_the_cameras_clusters_of_one_camera_would_win() -> None:
    """The third factor is what the first two do not see."""
    rows = sweep(world(camera=1.5), CAMIDS, FEW, TEMPLATE)
    blind = max(rows, key=lambda row: recipe_score(row.stability, row.silhouette, None))
    figures = dict(zip(map(id, rows), judged(rows, PIDS, CAMIDS)))
    assert figures[id(rows[0])]["cross_camera_recall"] >= figures[id(blind)]["cross_camera_recall"]
    assert rows[0].crossing is not None and blind.crossing is not None and rows[0].crossing >= blind.crossing


def test_without_cameras_nothing_asks_for_them() -> None:
    rows = sweep(world(camera=0.0), None, FEW, TEMPLATE)
    assert {(row.space.centered, row.space.metric) for row in rows} == {(False, "jaccard")}
    assert all(row.crossing is None for row in rows) and rows[0].score > 0.3
    assert "cross_camera_f1" not in judged(rows, PIDS, None)[0]


def test_pairs_of_sizes_that_contradict_each_other_are_left_out() -> None:
    sizes = {(space.k1, space.k2) for space in spaces(Values(k1=(4, 10), k2=(1, 6)), False)}
    assert sizes == {(4, 1), (10, 1), (10, 6)}


@pytest.mark.parametrize(
    ("stability", "silhouette", "crossing", "score"),
    [(0.5, 0.4, 0.5, 0.1), (0.5, 0.4, None, 0.2), (0.5, 0.4, 1.7, 0.2), (0.5, -0.4, 0.5, 0.0), (0.0, 0.4, 1.0, 0.0)],
)
def test_the_score_is_a_product_of_shares(
    stability: float, silhouette: float, crossing: float | None, score: float
) -> None:
    assert recipe_score(stability, silhouette, crossing) == pytest.approx(score)


@pytest.mark.parametrize(
    ("sizes", "batch", "count"),
    [([20] * 5, 256, 16), ([2, 9, 9], 256, 8), ([2, 2, 30], 256, 4), ([20] * 5, 36, 4), ([], 256, 4), ([9], 7, 1)],
)
def test_group_size_follows_the_clusters_and_the_batch(sizes: list[int], batch: int, count: int) -> None:
    assert num_instances(sizes, batch) == count


def test_overrides_make_the_builder_that_was_swept() -> None:
    for space in spaces(Values(ca_k2=(2, 4)), True):
        words = [part for pair in space.overrides().items() for part in pair]
        cfg = load_config(None, words)
        built, swept = PairGraphBuilder.from_config(cfg), space.builder(TEMPLATE)
        assert (built.metric, cfg.CLUSTER.CAMERA_CENTERED) == (space.metric, space.centered)
        if space.metric == "jaccard":
            assert (built.k1, built.k2) == (swept.k1, swept.k2)
        else:
            assert built.cameras.at(0) == swept.cameras.at(0) and built.cameras.at(1) == swept.cameras.at(1)


def stored(path: Path, **arrays: Any) -> str:
    np.savez(path, **{"features": 3 * world().numpy(), "camids": CAMIDS.numpy(), "pids": PIDS, **arrays})
    return str(path)


SWEPT = ("--k1", "10", "--k2", "3", "--ca-k1", "8", "--eps", "0.5,0.6", "--min-samples", "2", "--subsets", "1")


def test_a_features_file_becomes_table_picture_and_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["--features", stored(tmp_path / "f.npz"), "--config-file", "ClusterContrast_market.yml", "--out", str(out)]
    assert TUNE.main([*words, *SWEPT, "--compare-labels"]) == 0
    said = capsys.readouterr().out
    assert "The best of every distance" in said and "With labels, afterwards" in said and "hold one camera" in said
    cfg = load_config(out / "tune.yml")
    assert cfg.METHOD.NAME == "ClusterContrast" and cfg.DATASETS.NAMES == ["Market1501"]
    printed = said.partition("To train with it:\n\n")[2].split()
    pairs = dict(zip(printed[::2], printed[1::2]))
    assert float(pairs["CLUSTER.EPS"]) == cfg.CLUSTER.EPS and pairs["CLUSTER.METRIC"] == cfg.CLUSTER.METRIC
    assert cfg.DATALOADER.NUM_INSTANCE == int(pairs["DATALOADER.NUM_INSTANCE"]) == 8
    with (out / "tune.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 2 and float(rows[0]["score"]) >= float(rows[1]["score"])
    assert float(rows[0]["cross_camera_f1"]) > 0.5
    assert (out / "tune.png").read_bytes().startswith(b"\x89PNG")


def test_labels_choose_nothing(tmp_path: Path) -> None:
    chosen = []
    for pids in (PIDS, np.roll(PIDS, 3) * 7 % 40):
        asked = Tuning(
            features=stored(tmp_path / "f.npz", pids=pids), out=tmp_path / "o", compare_labels=True, values=TINY
        )
        chosen.append(tune(load_config(None, []), asked))
    assert chosen[0] == chosen[1]


def test_a_config_gives_the_features_of_its_own_network(
    small_config: Callable[..., CfgNode],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cfg = small_config()
    asked = Tuning(base="ClusterContrast_synthetic.yml", out=tmp_path / "o", values=TINY)
    cfg = small_config("CLUSTER.K1", 10, "CLUSTER.K2", 3, "CLUSTER.EPS", 0.6, "CLUSTER.MIN_SAMPLES", 2)
    chosen = tune(cfg, asked)
    assert "features before it" in caplog.text  # the warm-up is still to come
    with (tmp_path / "o" / "tune.csv").open() as file:
        swept = list(csv.DictReader(file))
    place = re.findall(r"own recipe is number (\d+) of (\d+)", capsys.readouterr().out)
    own = [
        number
        for number, row in enumerate(swept, start=1)
        if (row["metric"], float(row["eps"]), row["centered"]) == ("jaccard", 0.6, "False")
    ]
    assert place == [(str(own[0]), str(len(swept)))] and len(own) == 1
    again = load_config(tmp_path / "o" / "tune.yml")
    assert chosen["CLUSTER.EPS"] == again.CLUSTER.EPS and again.DATASETS.NAMES == ["Synthetic"]
    assert not Path(cfg.OUTPUT_DIR).exists()


def test_features_that_tell_nothing_apart_are_said(tmp_path: Path) -> None:
    path = stored(tmp_path / "f.npz", features=np.ones((N, 4)))
    with pytest.raises(UserError, match="do not tell the samples apart yet"):
        tune(load_config(None, []), Tuning(features=path, out=tmp_path / "o", values=TINY))


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"camids": np.zeros(3, dtype=int)}, r"camids must be of shape \(400,\), not \(3,\)"),
        ({"features": np.full((N, 4), np.nan)}, "features must be finite"),
        ({"features": np.zeros(N)}, "features must be numbers of shape"),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path: Path, arrays: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        tune(
            load_config(None, []),
            Tuning(features=stored(tmp_path / "f.npz", **arrays), out=tmp_path / "o", values=TINY),
        )


def test_a_file_without_features_or_that_is_no_archive(tmp_path: Path) -> None:
    np.savez(tmp_path / "none.npz", camids=CAMIDS.numpy())
    (tmp_path / "text.npz").write_text("no archive")
    for name, sentence in (("none", "holds no array 'features'; it holds camids"), ("text", "no .npz file of plain")):
        with pytest.raises(UserError, match=sentence):
            tune(load_config(None, []), Tuning(features=str(tmp_path / f"{name}.npz"), out=tmp_path / "o", values=TINY))


def test_a_config_without_a_base_and_the_picture_of_one_graph(tmp_path: Path) -> None:
    rows = sweep(world(camera=0.0), None, Values(k1=(10,), k2=(1,), eps=(0.5,), min_samples=(4,)), TEMPLATE)
    assert best_of_spaces(rows) == rows and table(rows, 5).count("\n") == 1
    assert len(figure(rows).axes) == 2
    rows = sweep(world(), CAMIDS, FEW, TEMPLATE)
    score, counts = figure(rows).axes
    assert (score.get_ylabel(), counts.get_ylabel()) == ("score without labels", "clusters")
    assert score.get_ylim()[0] == counts.get_ylim()[0] == 0 and str(rows[0].min_samples) in counts.get_xlabel()
    for axes, value in ((score, lambda row: row.score), (counts, lambda row: row.clusters)):
        *lines, chosen = [list(zip(*line.get_data())) for line in axes.lines]
        assert chosen == [(rows[0].eps, value(rows[0]))]
        shown = [row for row in rows if row.min_samples == rows[0].min_samples]
        assert sorted(point for line in lines for point in line) == sorted((row.eps, value(row)) for row in shown)
        assert all([eps for eps, _ in line] == sorted(FEW.eps) for line in lines)
    rows = sweep(world(camera=0.0), None, Values(k1=(10,), k2=(1,), eps=(0.5,), min_samples=(4,)), TEMPLATE)
    write_config(rows[0].overrides(), "", tmp_path / "own.yml")
    assert load_config(tmp_path / "own.yml").CLUSTER.EPS == 0.5


def test_the_choice_of_a_sweep_is_a_config_whose_own_recipe_is_found() -> None:
    values = Values(k1=(10,), k2=(3,), ca_k1=(8,), ca_k2=(2, 4), eps=(0.5,), min_samples=(2,))
    rows = sweep(world(), CAMIDS, values, TEMPLATE, subsets=1)
    for row in rows:
        cfg = load_config(None, [part for pair in row.overrides().items() for part in pair])
        assert _own(cfg, rows) is row


def test_ablations_of_the_config_are_swept_with_it() -> None:
    template = PairGraphBuilder.from_config(load_config(None, ["CLUSTER.CA.CLQE", "False"]))
    assert not Space(False, "ca_jaccard", 8, 3).builder(template).cameras.clqe


def test_the_network_is_the_files_where_the_config_says_so(small_config: Callable[..., CfgNode]) -> None:
    named = ("MODEL.INIT_PATH", "rendered_o2cap", "MODEL.RECALIBRATE_BN", "0")
    right = from_config(small_config(*named))
    wrong = small_config(
        *named, "MODEL.INIT_NETWORK", "True", "MODEL.BACKBONE.WIDTH", "8", "MODEL.POOLING.STRIPES", "1"
    )
    torch.testing.assert_close(from_config(wrong).features, right.features)
