"""The history of a run, a row a round: clusters, their sizes and quality, scores; as a table and as a picture."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from unreid.engine.hooks.base import HOOKS, Hook, Run
from unreid.engine.hooks.evaluation import EvaluationHook
from unreid.evaluation.selection import label_free_score
from unreid.structures import Clustering, RoundPlan
from unreid.utils.distributed import is_main
from unreid.utils.state import entries, require, require_labels
from unreid.utils.writing import atomic_write_text, csv_text, optional, write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

# Column -> where other hooks note its share, and its name in the picture.
QUALITY = {
    "pair_precision": "cluster/pair_precision",
    "pair_recall": "cluster/pair_recall",
    "label_free": "select/label_free",
}
STYLES = (  # the colours of Okabe and Ito, with a shape and a dash each
    ("#0072b2", "o", "-"),
    ("#d55e00", "s", "--"),
    ("#009e73", "^", ":"),
    ("#cc79a7", "D", "-."),
    ("#e69f00", "v", "-"),
    ("#56b4e9", "P", "--"),
)
MOST_COMPARISONS = 10**8  # of samples with centroids, which 2048 numbers each take seconds on a CPU
QUALITY_NAMES = {"pair_precision": "pair precision", "pair_recall": "pair recall", "label_free": "label-free score"}


@HOOKS.register("History")
class HistoryHook(Hook):
    """``rounds.csv``, rewritten after every epoch, and ``rounds.png``, drawn when the run ends.

    A row holds the round, the epochs done at its end, the number of clusters and outliers, the largest and the mean
    cluster size, and the samples that are alone in their cluster (all of them as BUC begins, SpCL's outliers); in
    percent precision and recall of pairs, where identities are known, and the label-free score; and mAP and R1 of every
    test set, where the round's end was evaluated.

    Args:
        evaluation: source of the scores; it and the diagnostics must be called before this hook.
    """

    def __init__(self, folder: Path, evaluation: EvaluationHook) -> None:
        self.folder = folder
        self.evaluation = evaluation
        self.rows: list[dict[str, Any]] = []
        self._previous: torch.Tensor | None = None

    @classmethod
    def from_run(cls, run: Run) -> Hook:
        return cls(run.output_dir, run.hook(EvaluationHook))

    def after_label(self, clustering: Clustering, plan: RoundPlan) -> None:
        if self.trainer.state.round < 0:
            return
        sizes = torch.bincount(clustering.labels[clustering.labels >= 0])
        noted = {column: self.trainer.storage.noted(name) for column, name in QUALITY.items()}
        if noted["label_free"] is None:
            noted["label_free"] = self._label_free(clustering)
        if self._previous is None and not noted["label_free"]:  # nothing to be stable against: no measurement, not 0
            noted["label_free"] = None
        self._previous = clustering.labels
        if clustering.num_clusters == len(clustering.labels):  # there is no pair to be right or wrong
            noted = dict.fromkeys(noted)
        self.rows.append(
            {
                "round": self.trainer.state.round,
                "epochs": self.trainer.state.epoch,
                "clusters": clustering.num_clusters,
                "outliers": clustering.num_outliers,
                "largest": int(sizes.max()) if len(sizes) else 0,
                "mean_size": round(float(sizes.float().mean()), 2) if len(sizes) else 0.0,
                "alone": int((sizes == 1).sum()),
                **{column: round(100 * value, 2) for column, value in noted.items() if value is not None},
            }
        )
        self.trainer.storage.put_scalar("cluster/largest_share", self.rows[-1]["largest"] / len(clustering.labels))

    def _label_free(self, clustering: Clustering) -> float | None:
        """The criterion for the eye, where nothing is selected by it; None where it would take its time."""
        comparisons = len(clustering.labels) * clustering.num_clusters
        if not is_main() or clustering.features is None or comparisons > MOST_COMPARISONS:
            return None
        return label_free_score(clustering.features, clustering.labels, self._previous)

    def after_epoch(self) -> None:
        if not self.rows:
            return
        row, epoch = self.rows[-1], self.trainer.state.epoch
        row["epochs"] = epoch
        if self.evaluation.last_results.get("epoch") == epoch:
            for name, scores in self.evaluation.last_results.items():
                if isinstance(scores, dict):
                    row.update({f"{name} {key}": round(scores[key], 2) for key in ("mAP", "R1")})
        if is_main():
            with optional("It is tried again after the next epoch."):
                self._write()

    def after_train(self) -> None:
        if is_main() and self.rows:
            self._write()
        if is_main() and len(self.rows) > 1:
            with optional():
                write_figure(
                    self.folder / "rounds.png", rounds_figure(self.rows, self.trainer.method.labelling), dpi=120
                )
                logger.info("rounds: %s, %s", self.folder / "rounds.csv", self.folder / "rounds.png")

    def _write(self) -> None:
        atomic_write_text(self.folder / "rounds.csv", self._table())

    def _table(self) -> str:
        columns = list(dict.fromkeys(key for row in self.rows for key in row))
        return csv_text([columns, *([row.get(column, "") for column in columns] for row in self.rows)])

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "labels": self._previous}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        found = entries(state, "the history", {"rows": list}, {"labels": (torch.Tensor, type(None))})
        rows, labels = found["rows"], found.get("labels")
        if labels is not None:
            require_labels(labels, "'labels' of the history", len(labels))
        for row in rows:
            needed = {"round": int, "epochs": int, "clusters": int, "outliers": int, "largest": int, "mean_size": float}
            require(row, "a row of the history", dict)
            entries(row, "a row of the history", needed, {key: float for key in row if isinstance(key, str)})
        self.rows = list(rows)
        self._previous = labels


def rounds_figure(rows: list[dict[str, Any]], labelling: str = "clustering") -> Figure:
    """What happens over the rounds: scores and quality of the labels in percent, clusters and outliers below.

    The labels are judged as a round begins, the network as it ends.

    Args:
        rows: as :class:`HistoryHook` keeps them.
        labelling: what a round begins with.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    columns = dict.fromkeys(column for row in rows for column in row)
    scores = {column: column for column in columns if column.endswith(" mAP")}
    quality = {column: text for column, text in QUALITY_NAMES.items() if column in columns}
    if scores or quality:
        shares, counts = figure.subplots(2, sharex=True, height_ratios=(3, 2))
        _lines(shares, rows, {**scores, **quality})
        shares.set(ylabel="percent", ylim=(0, 100))
    else:
        counts = figure.subplots()
    _lines(counts, rows, counted(rows))
    counts.set(ylabel="number", xlabel=f"round of {labelling}")
    counts.set_ylim(bottom=0)
    for axis in (counts.xaxis, counts.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    for axes in figure.axes:
        axes.grid(alpha=0.3)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def counted(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Columns that count, and their names: a method without outliers, or one without lone samples, has no such line."""
    alone = any(row.get("alone") for row in rows)
    outliers = any(row["outliers"] for row in rows)
    named = {"clusters": "clusters"}
    if outliers or not alone:
        named["outliers"] = "outliers"
    if alone:
        named["alone"] = "alone in a cluster"
    return named


def _lines(axes: Axes, rows: list[dict[str, Any]], named: dict[str, str]) -> None:
    """A line a column, through the rounds that have it; told apart without colour, too."""
    for (column, text), style in zip(named.items(), itertools.cycle(STYLES)):
        known = [row for row in rows if column in row]
        x, y = [row["round"] for row in known], [row[column] for row in known]
        axes.plot(x, y, label=text, color=style[0], marker=style[1], linestyle=style[2], markersize=5)
