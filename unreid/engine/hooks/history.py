"""The history of a run, a row a round: clusters, their sizes, scores; as a table and as a picture."""

from __future__ import annotations

import csv
import io
import logging
from pathlib import Path
from typing import Any

import torch

from unreid.engine.hooks.base import Hook
from unreid.engine.hooks.evaluation import EvaluationHook
from unreid.structures import Clustering, RoundPlan
from unreid.utils.distributed import is_main
from unreid.utils.state import entries, require
from unreid.utils.writing import atomic_write_text, optional, replacing

logger = logging.getLogger(__name__)


class HistoryHook(Hook):
    """``rounds.csv``, rewritten after every epoch, and ``rounds.png``, drawn when the run ends.

    A row holds the round, the epochs done at its end, the number of clusters and outliers, the largest and the mean
    cluster size, and, where the round's end was evaluated, mAP and R1 of every test set in percent.

    Args:
        folder: where the files go.
        evaluation: source of the scores; it must be called before this hook.
    """

    def __init__(self, folder: Path, evaluation: EvaluationHook) -> None:
        self.folder = folder
        self.evaluation = evaluation
        self.rows: list[dict[str, Any]] = []

    def after_label(self, clustering: Clustering, plan: RoundPlan) -> None:
        if self.trainer.state.round < 0:
            return
        sizes = torch.bincount(clustering.labels[clustering.labels >= 0])
        self.rows.append(
            {
                "round": self.trainer.state.round,
                "epochs": self.trainer.state.epoch,
                "clusters": clustering.num_clusters,
                "outliers": clustering.num_outliers,
                "largest": int(sizes.max()) if len(sizes) else 0,
                "mean_size": round(float(sizes.float().mean()), 2) if len(sizes) else 0.0,
            }
        )
        self.trainer.storage.put_scalar("cluster/largest_share", self.rows[-1]["largest"] / len(clustering.labels))

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
        scored = [row for row in self.rows if any(column.endswith(" mAP") for column in row)]
        if is_main() and len(scored) > 1:
            with optional():
                draw_rounds(self.rows, self.folder / "rounds.png")
                logger.info("rounds: %s, %s", self.folder / "rounds.csv", self.folder / "rounds.png")

    def _write(self) -> None:
        atomic_write_text(self.folder / "rounds.csv", self._table())

    def _table(self) -> str:
        columns = list(dict.fromkeys(key for row in self.rows for key in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return text.getvalue()

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        rows = entries(state, "the history", {"rows": list})["rows"]
        for row in rows:
            needed = {"round": int, "epochs": int, "clusters": int, "outliers": int, "largest": int, "mean_size": float}
            require(row, "a row of the history", dict)
            entries(row, "a row of the history", needed, {key: float for key in row if isinstance(key, str)})
        self.rows = list(rows)


def draw_rounds(rows: list[dict[str, Any]], path: Path) -> None:
    """Draws the mAP of every test set and the number of clusters over the rounds.

    Args:
        rows: as :class:`HistoryHook` keeps them.
        path: picture to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    names = [key for key in dict.fromkeys(key for row in rows for key in row) if key.endswith(" mAP")]
    for name in names:
        scored = [row for row in rows if name in row]
        axes.plot([row["round"] for row in scored], [row[name] for row in scored], marker="o", label=name)
    axes.set_xlabel("round (merging step of BUC)")
    axes.set_ylabel("mAP in percent")
    axes.grid(alpha=0.3)
    clusters = axes.twinx()
    clusters.plot([row["round"] for row in rows], [row["clusters"] for row in rows], color="0.6", linestyle="--")
    clusters.set_ylabel("clusters (dashed)")
    axes.legend(loc="lower right")
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=120)
