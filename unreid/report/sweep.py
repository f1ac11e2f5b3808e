"""What another eps would have given."""

from __future__ import annotations

from unreid.report.charts import Series, line_chart
from unreid.report.facts import Facts
from unreid.report.markup import Html, joined, note
from unreid.report.section import Section


def sweep(facts: Facts) -> Section:
    """Clusters, outliers and quality over DBSCAN's radius, on the features of the last encoder."""
    return Section("sweep", "Sweep of eps", _body(facts))


def _body(facts: Facts) -> Html:
    if not facts.sweep:
        return note(facts.missing.get("sweep", "This run has no eps to sweep."))
    assert facts.train is not None
    at = [eps for eps, _ in facts.sweep]

    def line(key: str, name: str, factor: float = 1.0) -> Series:
        return Series(name, at, [factor * found[key] for _, found in facts.sweep])

    quality = [line("silhouette", "label-free score (silhouette)", 100)]
    if "pair_precision" in facts.sweep[0][1]:
        quality += [line("pair_precision", "pair precision", 100), line("pair_recall", "pair recall", 100)]
    mark = None if facts.eps is None else (facts.eps, f"CLUSTER.EPS {facts.eps:g}")
    best, _ = max(facts.sweep, key=lambda item: item[1]["silhouette"])
    counts = [line("clusters", "clusters"), line("outliers", "outliers")]
    text = (
        f"DBSCAN on the features of the last encoder, {len(facts.train):,} of {facts.train.whole:,} training samples. "
        f"The silhouette is highest at eps {best:g}; it needs no label."
    )
    return joined(
        note(text),
        line_chart("Quality", quality, x_label="eps", y_label="percent", y_range=(0, 100), mark=mark),
        line_chart("Clusters", counts, x_label="eps", y_label="number", mark=mark),
    )
