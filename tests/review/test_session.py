"""What actions do to labels and judged pairs, and what questions are answered with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.review.conftest import make_crops
from unreid.constraints.review_file import NOISE, UNASSIGNED
from unreid.review import ActionError, CropSet, Session, StaleError, Store
from unreid.review.export import identities
from unreid.review.session import MOST_CROPS, SAMPLES


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> CropSet:
    return make_crops(tmp_path_factory.mktemp("images"))


@pytest.fixture
def session(crops: CropSet, tmp_path: Path) -> Iterator[Session]:
    with Store.open(tmp_path / "review.sqlite", crops.keys, crops.labels) as store:
        yield Session(crops, store)


def members(session: Session, identity: int) -> list[int]:
    return np.flatnonzero(session.labels == identity).tolist()


def judged(session: Session) -> list[tuple[int, int, int]]:
    """Pairs of the newest action."""
    return [tuple(pair) for pair in session.store.actions()[-1].pairs.tolist()]


def clusters(session: Session) -> list[int]:
    return sorted(session.geometry.members)


def test_a_merge_moves_the_second_into_the_first_and_speaks_for_both(session: Session) -> None:
    one, other = clusters(session)[:2]
    a, b = members(session, one), members(session, other)
    leads = (session.geometry.medoid(np.array(a)), session.geometry.medoid(np.array(b)))
    answer = session.merge(one, other)
    assert members(session, one) == sorted(a + b) and not members(session, other)
    assert judged(session) == [(*leads, 1)]
    assert (answer["kind"], answer["gone"], answer["revision"], answer["undo"]) == ("merge", [other], 1, "merge")
    assert next(row for row in answer["rows"] if row[0] == one)[1] == len(a) + len(b)


def test_two_that_are_apart_stay_and_are_not_suggested_again(session: Session) -> None:
    one = max(clusters(session), key=session.geometry.part_doubt)
    other = session.geometry.neighbours(one)[0][0]
    before = session.labels.copy()
    session.apart(one, other)
    assert np.array_equal(session.labels, before)
    ((a, b, whole),) = judged(session)
    assert (int(session.labels[a]), int(session.labels[b]), whole) == (one, other, 1)
    for identity, left_out in ((one, other), (other, one)):
        assert left_out not in dict(session.geometry.neighbours(identity))
        suggested = [found["row"][0] for found in session.cluster(identity)["neighbours"]]
        assert left_out not in suggested


def test_a_whole_cluster_is_confirmed_until_it_changes(session: Session) -> None:
    identity, other = clusters(session)[:2]
    crops = members(session, identity)
    session.confirm(identity)
    lead = session.geometry.medoid(np.array(crops))
    assert judged(session) == [(*sorted((lead, crop), key=lambda c: c != lead), 0) for crop in crops if crop != lead]
    assert session.is_done(identity) and not session.is_done(other)
    row = next(row for row in session.state()["rows"] if row[0] == identity)
    assert row[4] == 1
    session.noise(crops[:1])
    assert not session.is_done(identity)
    session.undo()
    assert session.is_done(identity)
    session.undo()
    assert not session.is_done(identity) and not session.decided().any()
    session.redo()
    assert session.is_done(identity)
    session.move(members(session, other)[:1], identity)
    assert not session.is_done(identity), "also where it gained"


def test_some_crops_can_be_confirmed_and_the_cluster_stays_open(session: Session) -> None:
    identity, other = clusters(session)[:2]
    crops = members(session, identity)
    session.confirm(identity, crops[-2:])
    assert not session.is_done(identity)
    assert {crop for _, crop, _ in judged(session)} | {session.geometry.medoid(np.array(crops))} >= set(crops[-2:])
    with pytest.raises(ActionError, match="Some of these crops are in another cluster"):
        session.confirm(identity, [crops[0], members(session, other)[0]])
    assert session.store.revision == 1


def test_a_split_makes_an_identity_that_nobody_had(session: Session) -> None:
    identity = max(clusters(session), key=lambda one: len(members(session, one)))
    whole = members(session, identity)
    new = max(clusters(session)) + 1
    answer = session.split(whole[:3])
    assert members(session, new) == whole[:3] and members(session, identity) == whole[3:]
    lead, rest = (session.geometry.medoid(np.array(part)) for part in (whole[:3], whole[3:]))
    expected = [(lead, crop, 0) for crop in whole[:3] if crop != lead] + [(lead, rest, 0)]
    assert sorted(judged(session)) == sorted(expected)
    assert {row[0] for row in answer["rows"]} >= {identity, new} and answer["gone"] == []
    session.split(whole[3:5])
    assert members(session, new + 1) == whole[3:5], "the number of the first is not used again"
    assert session.store.next_label == new + 2
    with pytest.raises(ActionError, match="These are all crops of the cluster"):
        session.split(members(session, new))
    session.split([members(session, UNASSIGNED)[0]])
    assert len(members(session, new + 2)) == 1 and judged(session) == [], "an unassigned crop is compared with nothing"


def test_moved_crops_are_compared_with_where_they_were_and_where_they_are(session: Session) -> None:
    home, to = clusters(session)[1:3]
    chosen, rest, target = members(session, home)[:2], members(session, home)[2:], members(session, to)
    lead, left = session.geometry.medoid(np.array(target)), session.geometry.medoid(np.array(rest))
    session.move(chosen, to)
    assert members(session, to) == sorted(target + chosen) and members(session, home) == rest
    assert sorted(judged(session)) == sorted((crop, other, 0) for crop in chosen for other in (lead, left))
    with pytest.raises(ActionError, match="in that cluster already"):
        session.move(chosen, to)
    assert session.move(members(session, home), to)["kind"] == "merge", "a whole cluster"
    assert judged(session)[0][2] == 1 and home not in session.geometry.members
    alone = members(session, UNASSIGNED)
    session.move(alone, to)
    assert set(members(session, to)) > set(alone)


def test_refused_crops_stay_where_they_are(session: Session) -> None:
    home, refused = clusters(session)[1:3]
    chosen, lead = members(session, home)[:2], session.geometry.medoid(np.array(members(session, refused)))
    before = session.labels.copy()
    session.refuse(chosen, refused)
    assert np.array_equal(session.labels, before) and judged(session) == [(crop, lead, 0) for crop in chosen]
    with pytest.raises(ActionError, match="split them off"):
        session.refuse([*chosen, members(session, refused)[0]], refused)


def test_noise_is_counted_and_comes_back(session: Session) -> None:
    chosen = [members(session, identity)[0] for identity in clusters(session)[1:3]]
    unassigned = len(members(session, UNASSIGNED))
    assert session.noise(chosen)["noise"] == 2
    assert session.cluster(NOISE)["crops"] == chosen
    answer = session.undo()
    assert (answer["noise"], answer["unassigned"], answer["redo"], answer["undo"]) == (0, unassigned, "noise", None)


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        (lambda s: s.noise([]), "Select at least one crop."),
        (lambda s: s.noise([90]), "There is no such crop."),
        (lambda s: s.noise([0, -1]), "There is no such crop."),
        (lambda s: s.noise(range(MOST_CROPS + 1)), "These are too many crops at once."),
        (lambda s: s.split([0, 1, 89]), "These crops are in several clusters: select crops of one."),
        (lambda s: s.move([0, 89], 1), "These crops are in several clusters: select crops of one."),
        (lambda s: s.move([0], 77), "There is no cluster 77."),
        (lambda s: s.merge(1, 1), "That is one cluster, not two."),
        (lambda s: s.apart(1, 1), "That is one cluster, not two."),
        (lambda s: s.merge(1, -1), "There is no cluster -1."),
        (lambda s: s.confirm(77), "There is no cluster 77."),
        (lambda s: s.refuse([0], 77), "There is no cluster 77."),
        (lambda s: s.cluster(-3), "There is no cluster -3."),
        (lambda s: s.cluster(77), "There is no cluster 77."),
        (lambda s: s.crop(90), "There is no such crop."),
        (lambda s: s.undo(), "There is nothing to undo."),
        (lambda s: s.redo(), "There is nothing to redo."),
    ],
)
def test_what_cannot_be_done_is_a_sentence_and_changes_nothing(session: Session, action, sentence: str) -> None:  # type: ignore[no-untyped-def]
    before = session.labels.copy()
    with pytest.raises(ActionError) as caught:
        action(session)
    assert str(caught.value) == sentence
    assert np.array_equal(session.labels, before) and session.store.revision == 0


def test_every_action_asks_for_its_state(session: Session) -> None:
    session.noise([0], 0)
    actions = (
        *(
            lambda at: session.merge(1, 2, at),
            lambda at: session.apart(1, 2, at),
            lambda at: session.confirm(1, (), at),
        ),
        *(lambda at: session.split([89], at), lambda at: session.move([89], 1, at), lambda at: session.noise([1], at)),
        *(lambda at: session.refuse([89], 1, at), session.undo, session.redo),
    )
    for action in actions:
        with pytest.raises(StaleError, match="The review has changed meanwhile"):
            action(0)
    assert session.store.revision == 1 and session.undo(1)["revision"] == 2


def test_the_members_of_a_cluster_come_by_doubt_and_then_by_halves(session: Session) -> None:
    identity = int(session.labels[20])  # it holds a stranger
    found = session.cluster(identity)
    assert sorted(found["crops"]) == members(session, identity) and found["crops"][0] == 20
    assert found["doubt"] == sorted(found["doubt"], reverse=True) and found["doubt"][0] > 0
    place = {crop: index for index, crop in enumerate(members(session, identity))}
    sides = session.geometry.halves(identity)[[place[crop] for crop in found["crops"]]]
    alike = np.array(found["doubt"])[1:] == np.array(found["doubt"])[:-1]
    assert alike.any() and (np.diff(sides)[alike] >= 0).all()
    assert found["half"] == (sides < 0).astype(int).tolist() and found["id"] == identity
    assert found["cameras"] == [crop // 5 % 3 for crop in found["crops"]]
    assert found["split"] == round(session.geometry.split_doubt(identity), 3)
    suggested = [(one["row"][0], one["value"]) for one in found["neighbours"]]
    assert suggested == [(one, round(value, 3)) for one, value in session.geometry.neighbours(identity)]
    assert found["revision"] == session.store.revision


def test_unassigned_crops_come_nearest_first_with_their_clusters(session: Session) -> None:
    identity = clusters(session)[1]
    stray = members(session, identity)[4]
    session.store.labels[[stray, 89]] = UNASSIGNED
    found = session.cluster(UNASSIGNED)
    assert sorted(found["crops"]) == members(session, UNASSIGNED)
    closeness = session.geometry.closeness(np.array(found["crops"]))
    assert (np.diff(closeness) <= 0).all() and found["doubt"] == pytest.approx(closeness.tolist(), abs=6e-4)
    nearest = session.neighbours(found["crops"][:1])
    assert found["neighbours"] == nearest and nearest[0]["value"] == max(one["value"] for one in nearest) > 0
    own = int(session.labels[members(session, identity)[0]])
    assert own not in [one["row"][0] for one in session.neighbours(members(session, identity)[:2])]


def test_a_cluster_is_shown_by_one_crop_of_every_camera_before_a_second_one(session: Session) -> None:
    for row in session.state()["rows"]:
        identity, size, doubt, cameras, _, shown = row
        crops = members(session, identity)
        seen = [crop // 5 % 3 for crop in shown]
        assert size == len(crops) and len(shown) == min(SAMPLES, size) and set(shown) <= set(crops)
        assert cameras == len({crop // 5 % 3 for crop in crops}) == len(set(seen[:cameras]))
        assert doubt == round(session.geometry.doubt(identity), 3)
        rows = session.geometry.rows
        near = rows[crops] @ rows[crops].mean(axis=0)
        assert shown[0] == crops[int(near.argmax())], "the nearest to the mean first"


def test_what_was_decided_is_sure_and_who_has_no_identity_is_not(session: Session) -> None:
    identity, confirmed = clusters(session)[1:3]
    assert not session.decided().any()
    before = session.confidence()
    for one in clusters(session):
        np.testing.assert_array_equal(before[members(session, one)], session.geometry.confidence(one))
    assert not before[members(session, UNASSIGNED)].any() and 0 < before.max() < 1
    chosen = members(session, identity)[:2]
    session.noise(chosen)
    session.confirm(confirmed)
    sure = sorted([*chosen, *members(session, confirmed)])
    assert np.flatnonzero(session.decided()).tolist() == sure
    assert (session.confidence()[sure] == 1).all() and (session.confidence() < 1).sum() == 90 - len(sure)
    table = identities(session)
    pids = dict(zip(table.paths, table.pids))
    assert {pids[session.crops.keys[crop]] for crop in (*chosen, *members(session, UNASSIGNED))} == {"-1"}
    assert {pids[session.crops.keys[crop]] for crop in members(session, confirmed)} == {str(confirmed)}
    assert table.paths == sorted(table.paths)
    confidences = dict(zip(table.paths, table.confidences.tolist()))
    assert confidences == dict(zip(session.crops.keys, session.confidence().tolist()))


def test_a_cluster_of_one_crop_is_confirmed_like_any_other(crops: CropSet, tmp_path: Path) -> None:
    """There is no pair that an action on it could speak of."""
    labels = crops.labels.copy()
    labels[5] = identity = int(labels.max()) + 1
    with Store.open(tmp_path / "one.sqlite", crops.keys, labels) as store:
        session = Session(replace(crops, labels=labels), store)
        for answer, done in ((session.confirm(identity), 1), (session.undo(), 0), (session.redo(), 1)):
            assert next(row for row in answer["rows"] if row[0] == identity)[4] == done
        assert session.confidence()[5] == 1


def test_a_session_that_begins_anew_knows_what_was_said(session: Session) -> None:
    identity, other = clusters(session)[1:3]
    session.confirm(identity)
    session.noise(members(session, other)[:1])
    session.undo()
    again = Session(session.crops, session.store)
    assert again.is_done(identity) and again.state() == session.state()
    assert np.array_equal(again.decided(), session.decided())
    assert again.crop(7) == {
        "id": 7,
        "name": session.crops.keys[7],
        "camera": session.crops.cameras[7],
        "label": int(session.labels[7]),
    }
