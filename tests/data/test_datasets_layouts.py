"""Every rendered layout is read by its parser, with the counts of the world it came from."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from unreid.config import get_cfg
from unreid.data.datasets import DATASETS, ReIDDataset, Synthetic, SyntheticVideo, build_dataset, train_view
from unreid.data.datasets.statistics import Counts
from unreid.rendering.knobs import WorldKnobs
from unreid.rendering.layouts import LAYOUTS, render_layout
from unreid.rendering.seeding import Half
from unreid.rendering.world import cameras_of
from unreid.utils.errors import UserError

IDS, IMAGES, SIZE = 5, 3, (32, 16)
Fixture = Callable[[str], Path]

DATASET_OF = {
    "market1501": ("Market1501", {}),
    "dukemtmcreid": ("DukeMTMCreID", {}),
    "msmt17-v1": ("MSMT17", {}),
    "msmt17-v2": ("MSMT17", {}),
    "msmt17-market": ("MSMT17", {}),
    "personx": ("PersonX", {}),
    "veri776": ("VeRi776", {}),
    "celebreid": ("CelebReID", {}),
    "cuhk03-np": ("CUHK03NP", {}),
    "mars": ("MARS", {}),
    "dukevideo": ("DukeMTMCVideoReID", {}),
    "folder": ("ImageFolder", {"FOLDER.CAMERA_REGEX": r"cam(\d+)_"}),
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Fixture:
    base = tmp_path_factory.mktemp("layouts")

    def make(layout: str) -> Path:
        return render_layout(layout, base / layout, ids=IDS, images=IMAGES, size=SIZE, workers=1)

    return make


def open_dataset(layout: str, folder: Path) -> ReIDDataset:
    name, changes = DATASET_OF[layout]
    cfg = get_cfg()
    cfg.DATASETS.ROOT = str(folder if layout == "folder" else folder.parent)
    for key, value in changes.items():
        node, leaf = key.split(".")
        cfg.DATASETS[node][leaf] = value
    return build_dataset(name, cfg)


def routes(half: Half, cameras: int) -> list[list[int]]:
    knobs = WorldKnobs(cameras=cameras, cameras_per_id=(2, cameras))
    return [cameras_of(knobs, half, number) for number in range(IDS)]


def test_every_layout_has_a_dataset() -> None:
    assert set(DATASET_OF) == set(LAYOUTS) - {"synthetic"}
    assert {name for name, _ in DATASET_OF.values()} | {"Synthetic", "SyntheticSource", "SyntheticVideo"} == set(
        DATASETS
    )


@pytest.mark.parametrize("layout", [name for name in DATASET_OF if not LAYOUTS[name].is_video])
def test_image_layouts(rendered: Fixture, layout: str) -> None:
    dataset = open_dataset(layout, rendered(layout))
    cameras = LAYOUTS[layout].cameras
    train, test = routes(Half.TRAIN, cameras), routes(Half.TEST, cameras)
    passes = sum(map(len, test))
    has_distractor = layout in ("market1501", "dukemtmcreid", "msmt17-market", "personx", "veri776", "folder")
    found = dataset.statistics()
    assert found["train"].images == IMAGES * sum(map(len, train))
    assert found["query"].images == passes
    assert found["gallery"].images == (IMAGES - 1) * passes + has_distractor, "junk must not be read"
    assert found["train"].ids == (0 if layout == "folder" else IDS)
    assert found["query"].ids == IDS
    assert found["gallery"].ids == IDS + has_distractor
    if layout != "celebreid":
        assert found["train"].cameras == len({camera for route in train for camera in route})
        assert found["query"].cameras == len({camera for route in test for camera in route})
    for split in (dataset.train, dataset.query, dataset.gallery):
        assert all(os.path.isfile(path) for tracklet in split.tracklets for path in tracklet.paths)
        assert sorted(t.trackid for t in split.tracklets) == list(range(len(split)))
    assert dataset.has_test
    valid = [
        ((dataset.gallery.truth.pids == pid) & (gallery_cameras(dataset) != tracklet.camid)).any()
        for pid, tracklet in zip(dataset.query.truth.pids, dataset.query.tracklets)
    ]
    assert all(valid), "every query has a match in another camera"


def gallery_cameras(dataset: ReIDDataset) -> np.ndarray:
    return np.array([tracklet.camid for tracklet in dataset.gallery.tracklets])


@pytest.mark.parametrize("layout", [name for name in DATASET_OF if LAYOUTS[name].is_video])
def test_video_layouts(rendered: Fixture, layout: str) -> None:
    dataset = open_dataset(layout, rendered(layout))
    passes = LAYOUTS[layout].passes
    tests = sum(map(len, routes(Half.TEST, 6)))
    found = dataset.statistics()
    tracks = passes * sum(map(len, routes(Half.TRAIN, 6)))
    assert found["train"] == Counts(IDS, tracks, found["train"].cameras, tracks * IMAGES)
    if layout == "mars":
        assert (found["query"].ids, found["query"].tracklets) == (IDS, tests)
        assert (found["gallery"].ids, found["gallery"].tracklets) == (IDS + 1, tests + 1), "distractor kept, junk not"
    else:
        assert (found["query"].ids, found["query"].tracklets) == (IDS, IDS)
        assert (found["gallery"].ids, found["gallery"].tracklets) == (IDS + 1, tests + 1)
    for split in (dataset.train, dataset.query, dataset.gallery):
        assert all(os.path.isfile(path) for tracklet in split.tracklets for path in tracklet.paths)
        assert len({t.trackid for t in split.tracklets}) == len(split)
    assert (dataset.train.tracklets[0].frames is None) == (layout == "mars")


@pytest.mark.parametrize(("layout", "form"), [("msmt17-v1", "v1"), ("msmt17-v2", "v2"), ("msmt17-market", "market")])
def test_msmt17_forms_are_recognised(rendered: Fixture, layout: str, form: str) -> None:
    folder = rendered(layout)
    assert open_dataset(layout, folder).form == form  # type: ignore[attr-defined]
    dataset = DATASETS.get("MSMT17")
    assert dataset(folder, form=form).folder == folder.resolve()
    other = "v2" if form != "v2" else "v1"
    with pytest.raises(UserError, match="DATASETS.ROOT|lacks"):
        dataset(folder.parent, form=other)
    with pytest.raises(UserError, match="MSMT17_V2/ with mask_train_v2"):
        dataset(folder.parent.parent)
    with pytest.raises(UserError, match="must be auto, v1, v2, market"):
        dataset(folder, form="v3")


def test_msmt17_train_is_train_and_val(rendered: Fixture) -> None:
    folder = rendered("msmt17-v1")
    lines = sum(len((folder / f"list_{part}.txt").read_text().splitlines()) for part in ("train", "val"))
    assert len(open_dataset("msmt17-v1", folder).train) == lines
    assert (folder / "list_val.txt").read_text()


def test_cuhk03_boxes(rendered: Fixture) -> None:
    folder = rendered("cuhk03-np")
    dataset = DATASETS.get("CUHK03NP")
    labeled = dataset(folder.parent, boxes="labeled")
    assert labeled.folder == (folder / "labeled").resolve()
    assert dataset(folder, boxes="labeled").folder == labeled.folder
    with pytest.raises(UserError, match="CUHK03"):
        dataset(folder, boxes="drawn")


def test_celebreid_cameras(rendered: Fixture) -> None:
    folder = rendered("celebreid")
    dataset = DATASETS.get("CelebReID")
    own, reference = dataset(folder), dataset(folder, cameras="reference")
    assert not own.has_cameras
    assert not own.cross_camera_filter
    assert len({t.camid for t in own.train.tracklets}) == len(own.train)
    assert reference.cross_camera_filter
    for tracklet in reference.train.tracklets:
        assert str(tracklet.camid) == Path(tracklet.paths[0]).name.split("_")[1][0]


def test_withdrawn_sets_say_so(rendered: Fixture, caplog: pytest.LogCaptureFixture) -> None:
    for layout in ("dukemtmcreid", "dukevideo"):
        caplog.clear()
        open_dataset(layout, rendered(layout))
        assert "withdrew" in caplog.text


def test_synthetic_finds_the_fixture(tmp_path: Path) -> None:
    folder = render_layout("synthetic", tmp_path, ids=3, images=2, cameras=4, size=SIZE, workers=1)
    cfg = get_cfg()
    node = cfg.DATASETS.SYNTHETIC
    cfg.DATASETS.ROOT, cfg.DATASETS.STRICT = str(tmp_path), True
    node.TRAIN_IDS = node.TEST_IDS = 3
    node.CAMERAS, node.IMAGES_PER_CAMERA, node.HEIGHT, node.WIDTH = 4, 2, *SIZE
    dataset = build_dataset("synthetic", cfg)
    assert dataset.folder == folder.resolve()
    assert dataset.statistics()["train"].ids == 3
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == [folder]


def test_synthetic_counts_are_checked(tmp_path: Path) -> None:
    knobs = WorldKnobs(train_ids=2, test_ids=2, distractors=3, height=32, width=16)
    dataset = Synthetic(tmp_path, knobs, strict=True)
    assert dataset.statistics()["gallery"].ids == 3
    victim = sorted((dataset.folder / "query").iterdir())[0]
    victim.unlink()
    with pytest.raises(UserError, match="official"):
        Synthetic(tmp_path, knobs, strict=True).query  # noqa: B018


def test_synthetic_video_from_config(tmp_path: Path) -> None:
    cfg = get_cfg()
    node = cfg.DATASETS.SYNTHETIC_VIDEO
    cfg.DATASETS.ROOT, cfg.DATASETS.STRICT = str(tmp_path), True
    node.TRAIN_IDS, node.TEST_IDS, node.CAMERAS, node.FRAMES = 4, 4, 3, [4, 6]
    node.HEIGHT, node.WIDTH, node.DISTRACTORS = 32, 16, 1
    dataset = build_dataset("SyntheticVideo", cfg)
    assert isinstance(dataset, SyntheticVideo)
    found = dataset.statistics()
    assert found["query"].tracklets == 4
    assert found["gallery"].ids == 5
    assert dataset.frame_rate == pytest.approx(59.94, abs=0.01)
    assert dataset.camera_starts is not None
    assert len(dataset.camera_starts) == 3
    assert {len(t.paths) for t in dataset.train.tracklets} <= {4, 5, 6}


def test_synthetic_video_follows_its_clock(tmp_path: Path) -> None:
    knobs = WorldKnobs(train_ids=12, test_ids=2, cameras=4, images_per_camera=(8, 10), height=32, width=16)
    dataset = SyntheticVideo(tmp_path, knobs)
    spans: dict[int, list[tuple[int, int]]] = {}
    everyone = []
    for tracklet, pid in zip(dataset.train.tracklets, dataset.train.truth.pids.tolist()):
        start = dataset.camera_starts[tracklet.camid] - 1
        assert all(frame >= 1 for frame in tracklet.frames)
        assert set(np.diff(tracklet.frames)) == {12}
        spans.setdefault(pid, []).append((tracklet.frames[0] + start, tracklet.frames[-1] + start))
        everyone.append((pid, *spans[pid][-1]))
    for passages in spans.values():
        ordered = sorted(passages)
        for (_, end), (start, _) in zip(ordered, ordered[1:]):
            assert 3 * 60 < start - end < 120 * 60, "a person is in one place at a time and walks between places"
    overlaps = [
        (a[0], b[0]) for i, a in enumerate(everyone) for b in everyone[i + 1 :] if min(a[2], b[2]) >= max(a[1], b[1])
    ]
    assert len(overlaps) > 10, "different persons are seen at the same time"
    assert all(a != b for a, b in overlaps)


def test_dense_clips(tmp_path: Path) -> None:
    knobs = WorldKnobs(train_ids=3, test_ids=2, cameras=3, images_per_camera=(5, 11), height=32, width=16)
    whole = SyntheticVideo(tmp_path, knobs, strict=True)
    dense = SyntheticVideo(tmp_path, knobs, strict=True, dense=True, dense_step=4)
    for track in whole.train.tracklets:
        clips = [clip for clip in dense.train.tracklets if clip.trackid == track.trackid]
        assert len(clips) == len(track.paths) // 4
        assert tuple(path for clip in clips for path in clip.paths) == track.paths
        assert tuple(frame for clip in clips for frame in clip.frames) == track.frames
        assert [len(clip.paths) for clip in clips[:-1]] == [4] * (len(clips) - 1)
    assert len(dense.query) == len(whole.query)
    tracklets, truth = train_view([dense], 3)
    owner = {}
    for tracklet, pid in zip(tracklets, truth.pids.tolist()):
        assert owner.setdefault(tracklet.trackid, pid) == pid, "clips of a pass still share its number"
    assert len(owner) == len(whole.train)


def test_unknown_layout() -> None:
    with pytest.raises(UserError, match="no layout 'imagenet'"):
        render_layout("imagenet", "/nowhere")
    with pytest.raises(UserError, match="6 cameras"):
        render_layout("personx", "/nowhere", cameras=7)


def test_several_sets_train_together(rendered: Fixture) -> None:
    sets = [open_dataset(layout, rendered(layout)) for layout in ("market1501", "veri776", "mars")]
    tracklets, truth = train_view(sets, 0)
    assert len(tracklets) == sum(len(dataset.train) for dataset in sets)
    assert len(np.unique(truth.pids)) == 3 * IDS
    roots = SimpleNamespace(**{str(i): str(dataset.folder) for i, dataset in enumerate(sets)})
    cameras = [{t.camid for t in tracklets if t.paths[0].startswith(root)} for root in vars(roots).values()]
    assert not (cameras[0] & cameras[1] | cameras[0] & cameras[2] | cameras[1] & cameras[2])
