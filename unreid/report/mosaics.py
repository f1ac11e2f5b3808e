"""Members of some clusters: the largest, the most doubtful, those of many cameras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unreid.evaluation.selection import silhouette_values
from unreid.report.crops import Crops
from unreid.report.facts import Facts, Samples
from unreid.report.markup import Html, joined, note, tag
from unreid.report.section import Section

CLUSTERS, MEMBERS = 6, 12


@dataclass(frozen=True)
class Cluster:
    """A cluster as it is shown.

    Attributes:
        members: int64, positions in the samples, the surest first.
        silhouette: mean over its members, -1 to 1; low: another cluster is as near.
        evenness: entropy of its cameras, in nats.
        purity: share of the most frequent identity among members whose identity is known; None: nobody knows.
    """

    name: int
    members: np.ndarray
    silhouette: float
    cameras: int
    evenness: float
    purity: float | None


def mosaics(facts: Facts, crops: Crops) -> Section:
    """Rows of crops."""
    train = facts.train
    if train is None or train.labels is None:
        return Section("clusters", "Clusters", note(facts.missing.get("clusters", facts.missing.get("features", ""))))
    found = clusters_of(train)
    if not found:
        return Section("clusters", "Clusters", note("There is no cluster: every sample is an outlier."))
    parts: list[Html] = [_about(train, found)]
    parts.append(_group("Largest", sorted(found, key=lambda c: -len(c.members)), train, crops, facts))
    doubtful = sorted((c for c in found if len(c.members) > 1), key=lambda c: c.silhouette)
    parts.append(_group("Most doubtful (lowest silhouette)", doubtful, train, crops, facts))
    if facts.has_cameras:
        mixed = sorted((c for c in found if c.cameras > 1), key=lambda c: -c.evenness)
        parts.append(_group("Most evenly mixed cameras", mixed, train, crops, facts))
    else:
        parts.append(note("The data have no camera labels, so clusters cannot be told apart by their cameras."))
    outliers = np.flatnonzero(train.labels < 0)
    if len(outliers):
        shown = outliers[np.arange(min(MEMBERS, len(outliers))) * len(outliers) // min(MEMBERS, len(outliers))]
        parts.append(tag("h3", "Outliers"))
        caption = f"{len(outliers):,} samples are in no cluster; some of them:"
        parts.append(tag("div", note(caption), _strip(shown, train, crops, facts), class_="cluster"))
    return Section("clusters", "Clusters", joined(parts))


def clusters_of(samples: Samples) -> list[Cluster]:
    """All clusters of labelled samples."""
    assert samples.labels is not None
    values = silhouette_values(samples.features, samples.labels).cpu().numpy()
    order = np.argsort(samples.labels, kind="stable")
    names, starts = np.unique(samples.labels[order], return_index=True)
    found = []
    for name, members in zip(names.tolist(), np.split(order, starts[1:])):
        if name < 0:
            continue
        members = members[np.argsort(-values[members], kind="stable")]
        counts = np.unique(samples.camids[members], return_counts=True)[1]
        share = counts / counts.sum()
        purity = None
        if samples.pids is not None and (known := samples.pids[members][samples.pids[members] >= 0]).size:
            purity = float(np.unique(known, return_counts=True)[1].max() / len(known))
        evenness = float(-(share * np.log(share)).sum())
        found.append(Cluster(int(name), members, float(values[members].mean()), len(counts), evenness, purity))
    return found


def _about(train: Samples, found: list[Cluster]) -> Html:
    whole = "" if len(train) == train.whole else f" These are {len(train):,} of {train.whole:,} training samples."
    return note(
        f"Labels of the last round, features of the last encoder: {len(found):,} clusters.{whole} The members of a "
        "cluster are in the order of their silhouette: the last ones fit least."
    )


def _group(title: str, chosen: Sequence[Cluster], samples: Samples, crops: Crops, facts: Facts) -> Html:
    if not chosen:
        return joined(tag("h3", title), note("There is none."))
    return joined(tag("h3", title), [_row(cluster, samples, crops, facts) for cluster in chosen[:CLUSTERS]])


def _row(cluster: Cluster, samples: Samples, crops: Crops, facts: Facts) -> Html:
    words = [f"cluster {cluster.name}", f"{len(cluster.members)} samples", f"silhouette {cluster.silhouette:.2f}"]
    if facts.has_cameras:
        words.insert(2, f"{cluster.cameras} camera{'s' if cluster.cameras > 1 else ''}")
    if cluster.purity is not None:
        words.append(f"purity {100 * cluster.purity:.0f} % (true identities)")
    shown = cluster.members
    if len(shown) > MEMBERS:
        half = MEMBERS // 2
        shown = np.concatenate([shown[:half], shown[half - MEMBERS :]])
        words.append(f"the {half} surest and the {MEMBERS - half} least sure")
    head = tag("p", tag("strong", words[0]), ", ", ", ".join(words[1:]))
    return tag("div", head, _strip(shown, samples, crops, facts), class_="cluster")


def _strip(members: np.ndarray, samples: Samples, crops: Crops, facts: Facts) -> Html:
    figures = []
    for place in members.tolist():
        tracklet = samples.tracklets[place]
        camera = f"camera {tracklet.camid + 1}" if facts.has_cameras else ""
        figures.append(crops.figure(tracklet, camera))
    return tag("div", figures, class_="strip")
