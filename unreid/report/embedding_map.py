"""The features in two dimensions: a point a sample, whose crop shows where one points at it or walks with the keys."""

from __future__ import annotations

import importlib.util
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unreid.report.charts import shapes
from unreid.report.crops import Crops
from unreid.report.facts import Facts, Samples
from unreid.report.markup import Html, joined, note, tag
from unreid.report.section import Section

logger = logging.getLogger(__name__)

POINTS = 1500
SIDE = 640
CELL = (96, 48)  # height and width of a crop in the sheet
COLUMNS = 40
APART = 0.5  # of UMAP, whose default draws a trained network's clusters as dots that nobody can point into
GROUPS = 6  # colours that a legend has
BY = {"cluster": "cluster", "camera": "camera", "truth": "true identity", "state": "outliers", "all": "nothing"}


def embedding_map(facts: Facts, crops: Crops) -> Section:
    """UMAP where it is installed, t-SNE of scikit-learn elsewhere."""
    title = "Map of the features"
    train = facts.train
    if train is None or len(train) < 5:
        return Section("map", title, note(facts.missing.get("features", "There are too few samples for a map.")))
    chosen = np.arange(min(POINTS, len(train))) * len(train) // min(POINTS, len(train))
    places, how = flattened(train.features[torch.from_numpy(chosen)])
    groups = _groups(train, chosen, facts)
    sheet = crops.sheet([train.paths[place] for place in chosen], CELL, COLUMNS)
    rows = -(-len(chosen) // COLUMNS)
    style = Html("")
    if sheet is not None:
        size = f"background-size:{COLUMNS * CELL[1]}px {rows * CELL[0]}px"
        style = tag("style", Html(f"#map-crop i{{background-image:url({sheet});{size}}}"))
    data = {
        "names": [Path(train.paths[place]).name for place in chosen],
        "columns": COLUMNS,
        "groups": {name: group[0].tolist() for name, group in groups.items()},
        "words": {name: group[1] for name, group in groups.items()},
        "cell": list(CELL),
    }
    first = next(iter(groups))
    points = [
        tag("use", href=_shape(code), x=f"{x:.1f}", y=f"{y:.1f}", class_=_class(code))
        for (x, y), code in zip(places.tolist(), groups[first][0].tolist())
    ]
    figure = tag(
        "svg",
        tag("defs", shapes()),
        points,
        viewBox=f"0 0 {SIDE} {SIDE}",
        class_="map",
        id="map-points",
        tabindex="0",
        role="application",
        aria_label=f"{len(points)} samples in two dimensions; arrow keys go from point to point",
    )
    choice = [
        tag("label", tag("input", type="radio", name="by", value=name, checked=name == first), f" {BY[name]}")
        for name in groups
    ]
    text = (
        f"{how} of {len(chosen):,} of {train.whole:,} training samples. Point at a sample, or go from one to the next "
        "with the arrow keys, to see its crop. Distances between far groups mean little in such a map."
    )
    return Section(
        "map",
        title,
        joined(
            note(text),
            tag("fieldset", tag("legend", "Colour and shape by"), choice, class_="choice"),
            tag("div", figure, tag("div", tag("i"), tag("span"), id="map-crop", hidden=True), class_="map-box"),
            tag("p", "", id="map-says", role="status", class_="note"),
            [_legend(name, group[1], name == first) for name, group in groups.items()],
            tag("script", _json(data), type="application/json", id="map-data"),
        ),
        style,
    )


def flattened(features: Tensor) -> tuple[np.ndarray, str]:
    """float (N, 2) in [10, SIDE - 10], and the name of the method."""
    values = torch.nn.functional.normalize(features).numpy()
    count = len(values)
    umap = _umap() if count > 15 else None
    if umap is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the one thread that a seed asks for
            flat = umap(metric="cosine", random_state=0, min_dist=APART).fit_transform(values)
        how = "UMAP"
    else:
        from sklearn.decomposition import PCA
        from sklearn.manifold import TSNE

        values = PCA(min(50, count, values.shape[1]), random_state=0).fit_transform(values)
        perplexity = min(30, max(2, (count - 1) // 3))
        flat = TSNE(2, perplexity=perplexity, init="pca", random_state=0).fit_transform(values)
        how = "t-SNE"
    flat = np.asarray(flat, dtype=np.float64)
    low, high = flat.min(0), flat.max(0)
    return 10 + (flat - low) / np.maximum(high - low, 1e-9) * (SIDE - 20), how


def _umap() -> Any:
    """The class, or None where it is not installed or cannot be used: numba is made for few versions of NumPy."""
    if importlib.util.find_spec("umap") is None:
        return None
    try:
        from umap import UMAP
    except Exception as error:  # whatever it is that does not fit
        logger.warning("umap-learn is installed and cannot be used (%s): the map is drawn by t-SNE", error)
        return None
    return UMAP


def _groups(train: Samples, chosen: np.ndarray, facts: Facts) -> dict[str, tuple[np.ndarray, list[str]]]:
    """Way of colouring -> (code per point, names of the codes); the last code is all the others."""
    found: dict[str, tuple[np.ndarray, list[str]]] = {}
    if train.labels is not None:
        found["cluster"] = _largest(train.labels[chosen], "cluster ", "another cluster or none")
    if facts.has_cameras:
        found["camera"] = _largest(train.camids[chosen] + 1, "camera ", "another camera")
    if train.labels is not None:
        state = (train.labels[chosen] < 0).astype(np.int64)
        names = ["in a cluster", "outlier"]
        if train.pids is not None:
            found["truth"] = (
                _truth(train, chosen),
                [
                    *("its cluster's main identity", "not its cluster's main identity", "outlier"),
                    "identity not known" if (train.pids < 0).any() else "",
                ],
            )
        else:
            found["state"] = state, names
    return found or {"all": (np.zeros(len(chosen), dtype=np.int64), ["sample"])}


def _truth(train: Samples, chosen: np.ndarray) -> np.ndarray:
    assert train.labels is not None and train.pids is not None
    code = np.where(train.labels < 0, 2, np.where(train.pids < 0, 3, 1))
    for name in np.unique(train.labels[code == 1]):
        members = np.flatnonzero((train.labels == name) & (code == 1))
        ids, counts = np.unique(train.pids[members], return_counts=True)
        code[members[train.pids[members] == ids[counts.argmax()]]] = 0
    return code[chosen]


def _largest(values: np.ndarray, word: str, rest: str) -> tuple[np.ndarray, list[str]]:
    names, counts = np.unique(values[values >= 0], return_counts=True)
    kept = names[np.argsort(-counts, kind="stable")[:GROUPS]]
    if len(names) <= GROUPS:
        kept = np.sort(kept)
    code = np.full(len(values), GROUPS, dtype=np.int64)
    for number, name in enumerate(kept):
        code[values == name] = number
    words = [f"{word}{name}" for name in kept.tolist()]
    return code, words + [""] * (GROUPS - len(words)) + [rest]


def _legend(name: str, words: list[str], shown: bool) -> Html:
    items = []
    for code, word in enumerate(words):
        if word:
            sign = tag("use", href=_shape(code), x=7, y=7, class_=_class(code))
            items.append(tag("li", tag("svg", sign, viewBox="0 0 14 14", class_="dot", aria_hidden="true"), " ", word))
    return tag("ul", items, class_="legend map-legend", data_by=name, hidden=not shown)


def _shape(code: int) -> str:
    return f"#shape{code % 6 if code < GROUPS else 0}"


def _class(code: int) -> str:
    return f"c{code}" if code < GROUPS else "rest"


def _json(data: dict[str, Any]) -> Html:
    """JSON that no ``</script>`` inside it can end."""
    return Html(json.dumps(data).replace("<", "\\u003c").replace("&", "\\u0026"))
