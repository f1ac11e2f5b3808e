"""The renderer: the same files every time, nothing changes when something is added, and the task is a task."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from unreid.data.datasets import Market1501, ReIDDataset, Synthetic
from unreid.evaluation.baselines import raw_pixel_features, striped_histogram_features
from unreid.rendering import writer
from unreid.rendering.identity import make_person
from unreid.rendering.knobs import PRESETS, WorldKnobs
from unreid.rendering.layouts import LAYOUTS, market1501
from unreid.rendering.plan import Plan, Roll
from unreid.rendering.scene import Passage, Scene
from unreid.rendering.seeding import Half, Purpose, stream
from unreid.rendering.timeline import make_clock, timed_passages
from unreid.rendering.worker import develop_in_processes
from unreid.rendering.world import passages
from unreid.rendering.writer import read_world, render
from unreid.utils.errors import UserError

SMALL = WorldKnobs(train_ids=3, test_ids=3, cameras=4, images_per_camera=(2, 2), junk=2, distractors=1)
TOOL = Path(__file__).parents[2] / "tools" / "render_dataset.py"


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rendered(knobs: WorldKnobs, folder: Path, workers: int = 1) -> Path:
    return render(knobs, market1501(knobs), folder, layout="market1501", workers=workers)


def test_equal_knobs_give_equal_bytes(tmp_path: Path) -> None:
    one, two = rendered(SMALL, tmp_path / "one"), rendered(SMALL, tmp_path / "two", workers=2)
    assert digests(one) == digests(two), "the number of processes must not matter"
    other = rendered(replace(SMALL, seed=1), tmp_path / "other")
    assert digests(other) != digests(one)


def test_adding_changes_nothing_that_was_there(tmp_path: Path) -> None:
    before = digests(rendered(SMALL, tmp_path / "before"))
    more = replace(SMALL, train_ids=5, test_ids=4, images_per_camera=(3, 3), junk=4, distractors=3)
    after = digests(rendered(more, tmp_path / "after"))
    before.pop("world.json")
    assert len(before) > 30
    assert {name: after.get(name) for name in before} == before


def test_junk_does_not_change_the_numbers(tmp_path: Path) -> None:
    with_junk = Market1501(rendered(SMALL, tmp_path / "with"))
    without = Market1501(rendered(replace(SMALL, junk=0), tmp_path / "without"))
    assert len(list((with_junk.folder / "bounding_box_test").glob("-1_*"))) == 2
    assert with_junk.gallery.truth.pids.tolist() == without.gallery.truth.pids.tolist()
    names = [[Path(t.paths[0]).name for t in dataset.gallery.tracklets] for dataset in (with_junk, without)]
    assert names[0] == names[1]


def test_pictures(tmp_path: Path) -> None:
    scene = Scene(SMALL)
    passage = Passage(Half.TRAIN, 0, 1, 0, 3)
    pictures = list(scene.images(passage))
    assert [p.shape for p in pictures] == [(128, 64, 3)] * 3
    assert all(p.dtype == np.uint8 and p.std() > 10 for p in pictures)
    assert not np.array_equal(pictures[0], pictures[1])
    again = list(scene.images(replace(passage, images=2)))
    np.testing.assert_array_equal(again[1], pictures[1])
    for size in ((64, 32), (256, 128)):
        small = next(Scene(replace(SMALL, height=size[0], width=size[1])).images(passage))
        assert small.shape == (*size, 3)
        back = cv2.resize(small, (64, 128), interpolation=cv2.INTER_AREA).astype(float)
        assert np.corrcoef(back.ravel(), pictures[0].ravel())[0, 1] > 0.9, "the same picture in another size"


@pytest.mark.parametrize("half", list(Half))
def test_extreme_worlds_can_be_painted(half: Half) -> None:
    extreme = WorldKnobs.preset("hard", pose=3.0, zoom=2.0, occlusion=1.0, cameras=2)
    scene = Scene(extreme)
    for number in range(12):
        assert len(list(scene.images(Passage(half, number, number % 2, 0, 4)))) == 4
    plain = WorldKnobs(noise=0, jpeg=0, camera_shift=0, clutter=0, illumination=0, pose=0, cameras=1)
    assert next(Scene(plain).images(Passage(half, 0, 0, 0, 1))).std() > 10


def test_look_alikes_share_their_colours() -> None:
    knobs = WorldKnobs(twin=3)
    people = [make_person(knobs, Half.TRAIN, number) for number in range(12)]

    def nearest(colour: tuple[float, float, float]) -> int:
        from unreid.rendering.palette import CLOTH

        return int(((CLOTH - np.array(colour)) ** 2).sum(1).argmin())

    colours = [{nearest(c) for c in (p.upper, p.lower, p.accent)} for p in people]
    shared = sum(colours[i] == colours[i - i % 3] for i in range(12))
    assert shared >= 10, "a jittered colour may be nearer to a neighbour of the palette, rarely"
    assert len({tuple(sorted(c)) for c in colours}) > 1
    assert people[0].cloth.shape == (48, 256, 3)
    assert not np.array_equal(people[0].cloth, people[1].cloth)


def test_streams_are_apart() -> None:
    draws = {stream(0, purpose, key).random() for purpose in Purpose for key in range(5)}
    assert len(draws) == 5 * len(Purpose)
    assert stream(3, Purpose.IDENTITY, 1, 2).random() == stream(3, Purpose.IDENTITY, 1, 2).random()


def test_the_clock() -> None:
    knobs = WorldKnobs(train_ids=20, images_per_camera=(8, 16), passes=2)
    clock = make_clock(knobs)
    assert clock.camera_starts[0] == min(clock.camera_starts) == 1
    assert clock.distance(0, 1) == clock.distance(1, 0) > 0
    walks = list(timed_passages(knobs, clock, Half.TRAIN))
    assert {walk.images for walk in walks} <= set(range(8, 17))
    assert len({walk.key for walk in walks}) == len(walks)
    assert {walk.repeat for walk in walks} == {0, 1}
    longer = list(timed_passages(replace(knobs, train_ids=25), clock, Half.TRAIN))
    assert longer[: len(walks)] == walks


@pytest.mark.parametrize(
    "wrong",
    [{"train_ids": 0}, {"cameras": 0}, {"junk": -1}, {"images_per_camera": (4, 2)}, {"cameras_per_id": (0, 2)}],
)
def test_impossible_worlds(wrong: dict) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        WorldKnobs(**wrong)


def test_knobs_name_their_world() -> None:
    assert WorldKnobs.preset("default") == WorldKnobs()
    assert WorldKnobs.preset("hard").camera_shift == PRESETS["hard"]["camera_shift"]
    with pytest.raises(UserError, match="no rendering preset 'easy'"):
        WorldKnobs.preset("easy")
    assert WorldKnobs.from_dict(json.loads(json.dumps(SMALL.to_dict()))) == SMALL
    names = {knobs.fingerprint(layout) for knobs in (SMALL, replace(SMALL, seed=9)) for layout in ("a", "b")}
    assert len(names) == 4


def test_a_single_image_per_camera_is_refused() -> None:
    with pytest.raises(UserError, match="at least 2 images"):
        market1501(replace(SMALL, images_per_camera=(1, 1)))
    with pytest.raises(UserError, match="at least 2 cameras"):
        LAYOUTS["dukevideo"].plan(replace(SMALL, cameras=1))


def test_plans_are_checked() -> None:
    passage = Passage(Half.TRAIN, 0, 0, 0, 2)
    with pytest.raises(ValueError, match="2 images but 1"):
        Roll(passage, (("a.jpg",),))
    with pytest.raises(ValueError, match="same file name"):
        Plan([Roll(passage, (("a.jpg",), ("a.jpg",)))])


def test_a_rendered_folder_is_reused_and_guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = rendered(SMALL, tmp_path / "world")
    assert read_world(folder)["knobs"]["seed"] == 0
    monkeypatch.setattr(writer, "_render_rolls", lambda *_: pytest.fail("rendered twice"))
    rendered(SMALL, folder)
    with pytest.raises(UserError, match=r"another rendered world \(different: knobs\)"):
        rendered(replace(SMALL, seed=5), folder)
    (folder / "world.json").write_text("{")
    with pytest.raises(UserError, match="not a rendered dataset"):
        rendered(SMALL, folder)


def test_a_crash_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("out of film")

    monkeypatch.setattr(writer, "_render_rolls", crash)
    with pytest.raises(RuntimeError, match="out of film"):
        rendered(SMALL, tmp_path / "world")
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        Synthetic(tmp_path / "file" / "datasets", SMALL)


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "world").write_text("x")
    with pytest.raises(UserError, match="world cannot be written: Not a directory; a file stands where"):
        rendered(SMALL, tmp_path / "world")


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "world").mkdir()
    assert len(Market1501(rendered(SMALL, tmp_path / "world")).query) > 0


@pytest.mark.parametrize("locked", [True, False])
def test_several_want_the_same_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locked: bool) -> None:
    if not locked:
        from contextlib import nullcontext

        monkeypatch.setattr(writer, "_lock", lambda folder: nullcontext())
    failures: list[BaseException] = []

    def want() -> None:
        try:
            rendered(SMALL, tmp_path / "world")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=want) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["world"]
    assert len(Market1501(tmp_path / "world").query) > 0


def test_the_command(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(TOOL.parents[1])}
        command = [sys.executable, str(TOOL), *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    done = run("--layout", "veri776", "--out", str(tmp_path), "--ids", "2", "--images", "2", "--size", "32x16")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "VeRi")
    wrong = run("--layout", "veri", "--out", str(tmp_path))
    assert wrong.returncode == 2
    assert "There is no layout 'veri'" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def mean_average_precision(dataset: ReIDDataset, features: np.ndarray) -> float:
    splits = (dataset.query, dataset.gallery)
    pids = [split.truth.pids for split in splits]
    cams = [np.array([t.camid for t in split.tracklets]) for split in splits]
    similarity = features[: len(pids[0])] @ features[len(pids[0]) :].T
    precisions = []
    for row, pid, cam in zip(similarity, pids[0], cams[0]):
        order = np.argsort(-row, kind="stable")
        order = order[(pids[1][order] != pid) | (cams[1][order] != cam)]
        hits = np.flatnonzero(pids[1][order] == pid)
        precisions.append(np.mean(np.arange(1, len(hits) + 1) / (hits + 1)))
    return 100 * float(np.mean(precisions))


def test_difficulty_of_the_default_world(tmp_path: Path) -> None:
    """The non-learned baselines of the benchmark's description, with room for the spread over worlds."""
    dataset = Synthetic(tmp_path, WorldKnobs(train_ids=1))
    assert 1_300 < len(dataset.query) + len(dataset.gallery) < 1_650
    paths = [t.paths[0] for split in (dataset.query, dataset.gallery) for t in split.tracklets]
    whole = striped_histogram_features(paths, stripes=1, crop=(1.0, 1.0))
    assert mean_average_precision(dataset, whole) < 8
    assert 15 < mean_average_precision(dataset, raw_pixel_features(paths)) < 30
    assert 28 < mean_average_precision(dataset, striped_histogram_features(paths)) < 47


def test_routes_visit_the_promised_number_of_cameras() -> None:
    knobs = WorldKnobs(train_ids=60)
    visited: dict[int, set[int]] = {}
    for passage in passages(knobs, Half.TRAIN):
        visited.setdefault(passage.number, set()).add(passage.camera)
    assert {len(cameras) for cameras in visited.values()} == {3, 4, 5, 6}
    assert len(list(passages(replace(knobs, distractors=5), Half.DISTRACTOR))) == 5, "single shots"


def test_a_failing_process_is_reported(tmp_path: Path) -> None:
    strange = [Roll(Passage(Half.TRAIN, 0, 0, 0, 1), (("a.strange",),))]
    with pytest.raises(RuntimeError, match=r"(?s)a rendering process ended with 1: .*encode"):
        develop_in_processes(SMALL, strange, tmp_path, workers=2)


@pytest.mark.parametrize(("rolls", "workers", "started"), [(5, 2, 2), (5, 3, 3), (2, 4, 2)])
def test_no_more_processes_than_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rolls: int, workers: int, started: int
) -> None:
    jobs = []

    class Counted(subprocess.Popen):
        def __init__(self, command: list[str], **options: object) -> None:
            jobs.append(json.loads(Path(command[-1]).read_text()))
            super().__init__([sys.executable, "-c", ""], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", Counted)
    plan = [Roll(Passage(Half.TRAIN, number, 0, 0, 1), ((f"{number}.jpg",),)) for number in range(rolls)]
    develop_in_processes(SMALL, plan, tmp_path, workers=workers)
    assert len(jobs) == started
    assert [roll[-1] for job in jobs for roll in job["rolls"]] == [[[f"{number}.jpg"]] for number in range(rolls)]
    assert list(tmp_path.iterdir()) == [], "job files are removed"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_holds_many_strangers(layout: str) -> None:
    """Those of a set whose names cannot tell them apart are left out."""
    chosen = LAYOUTS[layout]
    counts = {"distractors": 10, "junk": 10, "cameras": chosen.cameras, "cameras_per_id": (2, chosen.cameras)}
    plan = chosen.plan(replace(SMALL, **counts, images_per_camera=(4, 4), passes=chosen.passes))  # type: ignore[arg-type]
    assert {roll.passage.half for roll in plan.rolls} >= {Half.TRAIN, Half.TEST}


def test_a_process_that_cannot_write_says_which_file_and_why(tmp_path: Path) -> None:
    nowhere = [Roll(Passage(Half.TRAIN, 0, 0, 0, 1), (("missing/a.jpg",),))]
    with pytest.raises(FileNotFoundError) as caught:
        develop_in_processes(SMALL, nowhere, tmp_path, workers=2)
    assert caught.value.filename == str(tmp_path / "missing" / "a.jpg")


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    for name in (".world.abcd1234.part", ".other.abcd1234.part"):
        (tmp_path / name / "deep").mkdir(parents=True)
    rendered(SMALL, tmp_path / "world")
    assert sorted(path.name for path in tmp_path.glob("*.part")) == [".other.abcd1234.part"]


def test_worker_processes_start_without_torch() -> None:
    code = "import sys, unreid.rendering.worker; assert not {'torch', 'cv2'} & set(sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(TOOL.parents[1])}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
