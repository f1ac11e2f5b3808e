"""One review under way: what is asked, and what actions do to labels, store and order."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from unreid.constraints.review_file import NOISE, UNASSIGNED
from unreid.review.crops import CropSet
from unreid.review.geometry import Geometry
from unreid.review.store import Action, Store

SAMPLES = 6  # crops that stand for a cluster in lists
MOST_CROPS = 100_000  # of one request

_NONE = np.empty(0, dtype=np.int64)


class ActionError(Exception):
    """An action that cannot be done; the message is one sentence for the person."""


class StaleError(ActionError):
    """The action was meant for an earlier state."""


class Session:
    """A set under review.

    All methods may be called from any thread; actions are done one after the other.
    """

    def __init__(self, crops: CropSet, store: Store) -> None:
        self.crops = crops
        self.store = store
        self.lock = threading.RLock()
        self._cameras, self._camera = np.unique(np.array(crops.cameras, dtype=object).astype(str), return_inverse=True)
        self._partners: dict[int, list[int]] = {}
        self._done: set[int] = set()
        self._samples: dict[int, list[int]] = {}
        self._refresh_judged()
        known = len(self._cameras) > 1
        kept = store.path.with_name(store.path.name + ".neighbours.npz")
        cameras = self._camera.astype(np.int64) if known else None
        self.geometry = Geometry(crops.features, store.labels, cameras, self._partners, kept)

    @property
    def labels(self) -> np.ndarray:
        return self.store.labels

    # ------------------------------------------------------------------------------------------- questions

    def state(self) -> dict[str, Any]:
        """Everything that the list of clusters shows."""
        with self.lock:
            return {"rows": [self._row(identity) for identity in self.geometry.members], **self._summary()}

    def cluster(self, identity: int) -> dict[str, Any]:
        """Members of a cluster, of the unassigned crops (-1) or noise (-2): the most doubtful first, then by halves."""
        with self.lock:
            if identity >= 0:
                crops = self._members(identity)
                doubt = self.geometry.misfits(identity)[0]
                side = self.geometry.halves(identity)
                order = np.lexsort((side, -doubt))
            elif identity in (UNASSIGNED, NOISE):
                crops = np.flatnonzero(self.labels == identity)
                side = np.zeros(len(crops))
                doubt = self.geometry.closeness(crops) if identity == UNASSIGNED else side
                order = np.argsort(-doubt, kind="stable")
            else:
                raise ActionError(f"There is no cluster {identity}.")
            crops = crops[order]
            return {
                "id": identity,
                "crops": crops.tolist(),
                "doubt": np.round(doubt[order], 3).tolist(),
                "half": (side[order] < 0).astype(int).tolist(),
                "split": round(self.geometry.split_doubt(identity), 3) if identity >= 0 else 0,
                "cameras": self._camera[crops].tolist(),
                "neighbours": self._suggest(identity, crops[:1]),
                "revision": self.store.revision,
            }

    def neighbours(self, crops: Sequence[int]) -> list[dict[str, Any]]:
        """Clusters that some crops may belong to, the nearest first."""
        with self.lock:
            chosen = self._checked(crops)
            own = {int(label) for label in self.labels[chosen]}
            return self._rows(self.geometry.nearest(chosen, own.pop() if len(own) == 1 else None))

    def crop(self, number: int) -> dict[str, Any]:
        """Name and camera of a crop."""
        chosen = int(self._checked([number])[0])
        camera = str(self._cameras[self._camera[chosen]])
        return {"id": chosen, "name": self.crops.keys[chosen], "camera": camera, "label": int(self.labels[chosen])}

    def is_done(self, identity: int) -> bool:
        """Whether a cluster was confirmed and not changed since."""
        return identity in self._done

    def decided(self) -> np.ndarray:
        """bool (N,): crops that an action moved or judged, or whose cluster was confirmed."""
        with self.lock:
            found = self.labels != self.store.start
            found[list(self._partners)] = True
            return found | np.isin(self.labels, [NOISE, *self._done])

    def confidence(self) -> np.ndarray:
        """float32 (N,) in [0, 1]: 1 for what a person decided, else how much nearer a crop is to its identity than to
        the next, see :meth:`~unreid.review.geometry.Geometry.confidence`; 0 without an identity.
        """
        with self.lock:
            found = np.zeros(len(self.crops), dtype=np.float32)
            for identity, crops in self.geometry.members.items():
                found[crops] = self.geometry.confidence(identity)
            found[self.decided()] = 1
            return found

    # --------------------------------------------------------------------------------------------- actions

    def merge(self, into: int, other: int, revision: int | None = None) -> dict[str, Any]:
        """The second cluster is the same identity as the first."""
        with self._acting(revision):
            a, b = self._two(into, other)
            pair = [(self.geometry.medoid(a), self.geometry.medoid(b), 1)]
            return self._do("merge", {"into": into, "other": other}, b, into, pair, {into, other})

    def apart(self, one: int, other: int, revision: int | None = None) -> dict[str, Any]:
        """The two clusters are two identities."""
        with self._acting(revision):
            a, b = self._two(one, other)
            pair = [(self.geometry.medoid(a), self.geometry.medoid(b), 1)]
            return self._do("apart", {"one": one, "other": other}, _NONE, 0, pair, {one, other})

    def confirm(self, identity: int, crops: Sequence[int] = (), revision: int | None = None) -> dict[str, Any]:
        """The members of the cluster are one identity; with ``crops``: these belong to it."""
        with self._acting(revision):
            members = self._members(identity)
            meant = self._checked(crops) if len(crops) else members
            if len(np.setdiff1d(meant, members)):
                raise ActionError("Some of these crops are in another cluster.")
            lead = self.geometry.medoid(members)
            pairs = [(lead, crop, 0) for crop in meant.tolist() if crop != lead]
            detail = {"cluster": identity, "all": not len(crops)}
            return self._do("confirm", detail, _NONE, 0, pairs, {identity})

    def split(self, crops: Sequence[int], revision: int | None = None) -> dict[str, Any]:
        """Some crops of one cluster (or unassigned ones, or noise) are an identity of their own."""
        with self._acting(revision):
            chosen, home, rest = self._from_one(crops)
            if home >= 0 and not len(rest):
                raise ActionError("These are all crops of the cluster: select those that do not belong to the others.")
            identity = self.store.next_label
            lead = self.geometry.medoid(chosen)
            pairs = [(lead, crop, 0) for crop in chosen.tolist() if crop != lead]
            if len(rest):
                pairs.append((lead, self.geometry.medoid(rest), 0))
            detail = {"cluster": home, "new": identity, "crops": len(chosen)}
            return self._do("split", detail, chosen, identity, pairs, {home, identity}, next_label=identity + 1)

    def move(self, crops: Sequence[int], to: int, revision: int | None = None) -> dict[str, Any]:
        """Some crops belong to another cluster."""
        with self._acting(revision):
            chosen, home, rest = self._from_one(crops)
            target = self._members(to)
            if home == to:
                raise ActionError("They are in that cluster already.")
            if home >= 0 and not len(rest):
                return self.merge(to, home)
            lead = self.geometry.medoid(target)
            pairs = [(crop, lead, 0) for crop in chosen.tolist()]
            if len(rest):
                left = self.geometry.medoid(rest)
                pairs += [(crop, left, 0) for crop in chosen.tolist()]
            detail = {"cluster": home, "to": to, "crops": len(chosen)}
            return self._do("move", detail, chosen, to, pairs, {home, to})

    def refuse(self, crops: Sequence[int], identity: int, revision: int | None = None) -> dict[str, Any]:
        """Some crops outside a cluster do not belong to it; nothing moves."""
        with self._acting(revision):
            chosen = self._checked(crops)
            if (self.labels[chosen] == identity).any():
                raise ActionError("They are in that cluster: split them off.")
            lead = self.geometry.medoid(self._members(identity))
            touched = {identity, *map(int, self.labels[chosen])}
            pairs = [(crop, lead, 0) for crop in chosen.tolist()]
            return self._do("refuse", {"cluster": identity, "crops": len(chosen)}, _NONE, 0, pairs, touched)

    def noise(self, crops: Sequence[int], revision: int | None = None) -> dict[str, Any]:
        """Some crops show nobody."""
        with self._acting(revision):
            chosen = self._checked(crops)
            touched = {int(label) for label in self.labels[chosen]}
            return self._do("noise", {"crops": len(chosen)}, chosen, NOISE, [], touched)

    def undo(self, revision: int | None = None) -> dict[str, Any]:
        """Takes the newest action back."""
        with self._acting(revision):
            return self._turned(self.store.undo(), "There is nothing to undo.")

    def redo(self, revision: int | None = None) -> dict[str, Any]:
        """Does what was taken back once more."""
        with self._acting(revision):
            return self._turned(self.store.redo(), "There is nothing to redo.")

    # ---------------------------------------------------------------------------------------------- inside

    @contextlib.contextmanager
    def _acting(self, revision: int | None) -> Iterator[None]:
        """One action at a time, on the state that it was meant for (None: whatever there is)."""
        with self.lock:
            if revision is not None and revision != self.store.revision:
                raise StaleError("The review has changed meanwhile, so this was not done: look again.")
            try:
                yield
            except sqlite3.Error as error:
                raise ActionError(f"This could not be written and was not done: {error}.") from None

    def _do(
        self,
        kind: str,
        detail: dict[str, Any],
        crops: np.ndarray,
        label: int,
        pairs: list[tuple[int, int, int]],
        touched: set[int],
        next_label: int | None = None,
    ) -> dict[str, Any]:
        after = np.full(len(crops), label, dtype=np.int64)
        judged = np.array(pairs, dtype=np.int64).reshape(-1, 3)
        action = Action(kind, detail, crops, self.labels[crops].copy(), after, judged)
        self.store.add(action, next_label=next_label)
        self._judge(action)
        return self._changed(action, touched)

    def _turned(self, action: Action | None, sentence: str) -> dict[str, Any]:
        if action is None:
            raise ActionError(sentence)
        self._refresh_judged()
        touched = {*action.before.tolist(), *action.after.tolist(), *self.labels[action.pairs[:, :2]].ravel().tolist()}
        return self._changed(action, touched | {action.detail.get("cluster", UNASSIGNED)})  # of one crop: no pair

    def _changed(self, action: Action, touched: Iterable[int]) -> dict[str, Any]:
        touched = set(touched)
        for identity in touched:
            self._samples.pop(identity, None)
        crops = np.unique(np.concatenate((action.crops, action.pairs[:, :2].ravel())))
        changed = self.geometry.update(touched, crops)
        gone = [identity for identity in touched if identity >= 0 and identity not in self.geometry.members]
        rows = [self._row(identity) for identity in sorted(changed)]
        return {"kind": action.kind, "rows": rows, "gone": gone, **self._summary()}

    def _summary(self) -> dict[str, Any]:
        undo, redo = self.store.pending()
        return {
            "revision": self.store.revision,
            "crops": len(self.crops),
            "cameras": self._cameras.tolist(),
            "unassigned": int((self.labels == UNASSIGNED).sum()),
            "noise": int((self.labels == NOISE).sum()),
            "undo": undo,
            "redo": redo,
        }

    def _refresh_judged(self) -> None:
        """From the store: which pairs were judged, and which clusters nobody needs to look at again."""
        self._partners.clear()
        self._done.clear()
        for action in self.store.actions():
            self._judge(action)

    def _judge(self, action: Action) -> None:
        for a, b, _ in action.pairs.tolist():
            self._partners.setdefault(a, []).append(b)
            self._partners.setdefault(b, []).append(a)
        self._done -= {*action.before.tolist(), *action.after.tolist()}
        if action.kind == "confirm" and action.detail["all"]:
            self._done.add(int(action.detail["cluster"]))

    def _suggest(self, identity: int, crops: np.ndarray) -> list[dict[str, Any]]:
        if identity >= 0:
            return self._rows(self.geometry.neighbours(identity))
        return self._rows(self.geometry.nearest(crops)) if len(crops) else []

    def _rows(self, found: Iterable[tuple[int, float]]) -> list[dict[str, Any]]:
        return [{"row": self._row(identity), "value": round(value, 3)} for identity, value in found]

    def _row(self, identity: int) -> list[Any]:
        """identity, size, doubt, cameras, looked at, crops that stand for it."""
        crops = self.geometry.members[identity]
        if identity not in self._samples:
            self._samples[identity] = self._representatives(crops)
        cameras = len(np.unique(self._camera[crops]))
        doubt = round(self.geometry.doubt(identity), 3)
        return [identity, len(crops), doubt, cameras, int(identity in self._done), self._samples[identity]]

    def _representatives(self, crops: np.ndarray) -> list[int]:
        """Crops near the mean, one of every camera before a second one of any."""
        rows = self.geometry.rows[crops]
        order = np.argsort(-(rows @ rows.mean(axis=0)), kind="stable")[:256]
        cameras = self._camera[crops[order]].tolist()
        seen: dict[int, int] = {}
        turn = []
        for place, camera in enumerate(cameras):
            turn.append((seen.setdefault(camera, 0), place))
            seen[camera] += 1
        return [int(crops[order[place]]) for _, place in sorted(turn)[:SAMPLES]]

    def _members(self, identity: int) -> np.ndarray:
        found = self.geometry.members.get(identity)
        if found is None:
            raise ActionError(f"There is no cluster {identity}.")
        return found

    def _two(self, one: int, other: int) -> tuple[np.ndarray, np.ndarray]:
        if one == other:
            raise ActionError("That is one cluster, not two.")
        return self._members(one), self._members(other)

    def _checked(self, crops: Sequence[int]) -> np.ndarray:
        if not 0 < len(crops) <= MOST_CROPS:
            raise ActionError("Select at least one crop." if not len(crops) else "These are too many crops at once.")
        chosen = np.unique(np.array(crops, dtype=np.int64))
        if chosen[0] < 0 or chosen[-1] >= len(self.crops):
            raise ActionError("There is no such crop.")
        return chosen

    def _from_one(self, crops: Sequence[int]) -> tuple[np.ndarray, int, np.ndarray]:
        """The crops, the cluster they are all in, and the rest of it (nothing for unassigned ones and noise)."""
        chosen = self._checked(crops)
        homes = np.unique(self.labels[chosen])
        if len(homes) > 1:
            raise ActionError("These crops are in several clusters: select crops of one.")
        home = int(homes[0])
        rest = np.setdiff1d(self._members(home), chosen) if home >= 0 else _NONE
        return chosen, home, rest
