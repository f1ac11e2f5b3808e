"""What the store keeps: every action, also past kill -9; undo and redo; nothing of other sets."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.review.conftest import make_crops
from unreid.constraints.review_file import read_decisions
from unreid.review import ActionError, CropSet, Session, StaleError, Store
from unreid.review.geometry import Geometry
from unreid.utils.errors import UserError

# Acts without end and says after every action what the labels are.
ACTOR = """
import random, sys
from pathlib import Path
import numpy as np
from tests.review.conftest import make_crops
from tests.review.test_store import act
from unreid.review import Session, Store
folder, store, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
crops = make_crops(folder)
with Store.open(store, crops.keys, crops.labels) as opened:
    session, chance = Session(crops, opened), random.Random(seed)
    print("ready", flush=True)
    while True:
        act(session, chance)
        print(opened.revision, *opened.labels.tolist(), flush=True)
"""


FORWARD = ("merge", "apart", "confirm", "split", "move", "noise", "refuse")


def act(session: Session, chance: random.Random, kinds: tuple[str, ...] = (*FORWARD, "undo", "redo")) -> str:
    """One random action; which, or "" where it could not be done."""
    clusters = sorted(session.geometry.members)
    crops = chance.sample(range(len(session.crops)), chance.randint(1, 4))
    kind = chance.choice(kinds)
    work = {
        "merge": lambda: session.merge(*chance.sample(clusters, 2)),
        "apart": lambda: session.apart(*chance.sample(clusters, 2)),
        "confirm": lambda: session.confirm(chance.choice(clusters)),
        "split": lambda: session.split(crops[:1]),
        "move": lambda: session.move(crops[:1], chance.choice(clusters)),
        "noise": lambda: session.noise(crops),
        "refuse": lambda: session.refuse(crops[:1], chance.choice(clusters)),
        "undo": session.undo,
        "redo": session.redo,
    }[kind]
    try:
        work()
    except (ActionError, ValueError):  # fewer than two clusters to choose from, nothing to undo ...
        return ""
    return kind


def test_nothing_acknowledged_is_lost_by_kill_9(tmp_path: Path) -> None:
    store = tmp_path / "review.sqlite"
    crops = make_crops(tmp_path / "images")
    revision = 0
    for seed in range(3):
        command = [sys.executable, "-c", ACTOR, str(tmp_path / "images"), str(store), str(seed)]
        actor = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        assert actor.stdout is not None
        assert actor.stdout.readline() == "ready\n"
        time.sleep(0.3 + 0.05 * seed)
        actor.send_signal(signal.SIGKILL)
        lines = [line for line in actor.stdout.read().split("\n")[:-1] if line]
        actor.wait()
        assert lines
        last = [int(word) for word in lines[-1].split()]
        with Store.open(store, crops.keys, crops.labels) as opened:
            assert opened.revision in (last[0], last[0] + 1)  # the one after the last word may have been committed
            if opened.revision == last[0]:
                assert opened.labels.tolist() == last[1:]
            assert opened.revision > revision
            revision = opened.revision
            Session(crops, opened)
        connection = sqlite3.connect(store)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()


def test_the_memory_follows_the_disk_and_the_order_the_actions(crops: CropSet, tmp_path: Path) -> None:
    """After every action: labels are those on the disk, and doubts those of a geometry made anew."""
    path = tmp_path / "review.sqlite"
    chance = random.Random(1)
    with Store.open(path, crops.keys, crops.labels) as store:
        session = Session(crops, store)
        kinds = set()
        for step in range(150):
            kinds.add(act(session, chance))
            with sqlite3.connect(path) as other:
                stored = [label for (label,) in other.execute("SELECT label FROM crop ORDER BY id")]
            other.close()
            assert store.labels.tolist() == stored
            if step % 10:
                continue
            anew = Geometry(crops.features, store.labels, session.geometry.cameras, session._partners)
            assert anew.members.keys() == session.geometry.members.keys()
            for identity in anew.members:
                assert dict(anew.neighbours(identity)) == pytest.approx(dict(session.geometry.neighbours(identity)))
                np.testing.assert_allclose(anew.misfits(identity)[0], session.geometry.misfits(identity)[0])
        assert len(kinds) >= 9


def test_undo_and_redo_lead_back_and_forth(crops: CropSet, tmp_path: Path) -> None:
    chance = random.Random(2)
    with Store.open(tmp_path / "review.sqlite", crops.keys, crops.labels) as store:
        session = Session(crops, store)
        trail = [store.labels.copy()]
        while len(trail) < 30:
            if act(session, chance, FORWARD):
                trail.append(store.labels.copy())
        for labels in reversed(trail[:-1]):
            session.undo()
            assert np.array_equal(store.labels, labels)
        for labels in trail[1:]:
            session.redo()
            assert np.array_equal(store.labels, labels)


def test_a_new_action_forgets_what_was_undone(crops: CropSet, tmp_path: Path) -> None:
    with Store.open(tmp_path / "review.sqlite", crops.keys, crops.labels) as store:
        session = Session(crops, store)
        session.noise([3])
        session.undo()
        session.noise([4])
        with pytest.raises(ActionError, match="nothing to redo"):
            session.redo()
        assert store.labels[3] != -2 and store.labels[4] == -2


def test_an_action_for_an_earlier_state_is_refused(crops: CropSet, tmp_path: Path) -> None:
    with Store.open(tmp_path / "review.sqlite", crops.keys, crops.labels) as store:
        session = Session(crops, store)
        session.noise([3], 0)
        with pytest.raises(StaleError):
            session.noise([4], 0)
        assert store.labels[4] != -2


def test_the_store_of_other_crops_and_other_files_are_refused(crops: CropSet, tmp_path: Path) -> None:
    path = tmp_path / "review.sqlite"
    with Store.open(path, crops.keys, crops.labels):
        assert "in use" in refusal(path, crops)
    assert "other crops" in refusal(path, shortened(crops))
    assert "other crops" in refusal(path, replace(crops, keys=[*crops.keys[:-1], "another.png"]))
    assert "other crops" in refusal(path, replace(crops, keys=crops.keys[::-1]))
    with sqlite3.connect(tmp_path / "other.sqlite") as other:
        other.execute("CREATE TABLE x (y)")
    other.close()
    assert "not one that unreid review wrote" in refusal(tmp_path / "other.sqlite", crops)
    (tmp_path / "text.sqlite").write_text("x" * 5000)
    assert "cannot be used" in refusal(tmp_path / "text.sqlite", crops)


def test_another_programs_file_is_left_as_it_was(crops: CropSet, tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE x (y)")
    other.close()
    before = path.read_bytes()
    refusal(path, crops)
    assert path.read_bytes() == before


def test_what_the_disk_refuses_is_not_done_and_is_one_sentence(crops: CropSet, tmp_path: Path) -> None:
    with Store.open(tmp_path / "review.sqlite", crops.keys, crops.labels) as store:
        session = Session(crops, store)
        session.noise([3])
        session.noise([4])
        session.undo()
        before = store.labels.copy(), store.revision
        store._connection.execute("PRAGMA query_only = ON")
        for action in (lambda: session.noise([5]), session.undo, session.redo):
            with pytest.raises(ActionError, match="could not be written and was not done"):
                action()
        assert np.array_equal(store.labels, before[0]) and store.revision == before[1]


def shortened(crops: CropSet) -> CropSet:
    columns = (crops.keys, crops.paths, crops.cameras, crops.labels, crops.features)
    return CropSet(*(column[:-1] for column in columns))


def refusal(path: Path, crops: CropSet) -> str:
    """What is said to somebody who opens a store for a set."""
    with pytest.raises(UserError) as caught, Store.open(path, crops.keys, crops.labels):
        pass
    return str(caught.value)


def test_names_that_are_no_text_come_back(tmp_path: Path) -> None:
    keys = [os.fsdecode(b"caf\xe9.jpg"), "b.jpg"]
    path = tmp_path / "review.sqlite"
    with Store.open(path, keys, np.array([0, 1])) as store:
        crops = CropSet(keys, keys, ["-", "-"], np.array([0, 1]), np.eye(2, dtype=np.float32))
        Session(crops, store).merge(0, 1)
    with Store.open(path, keys, np.array([0, 1])) as store:
        assert store.labels.tolist() == [0, 0]
    (decision,) = read_decisions(path)
    assert {decision.first, decision.second} == set(keys) and decision.verdict == "same"
