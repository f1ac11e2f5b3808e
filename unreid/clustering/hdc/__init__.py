"""Harmonic discrepancy clustering (HDC) of 3C, arXiv 2408.09464, in plain torch."""

from __future__ import annotations

from unreid.clustering.hdc.centroids import update_centroids
from unreid.clustering.hdc.clusterer import HDC
from unreid.clustering.hdc.confidence import OwnConfidence
from unreid.clustering.hdc.distances import distance_matrix
from unreid.clustering.hdc.harmonic import HarmonicPass, discrepancy_, harmonic_discrepancy
from unreid.clustering.hdc.iteration import HDCOptions, HDCState, assign, fit, iterate, membership
from unreid.clustering.hdc.peripheral import detect_peripheral
from unreid.clustering.hdc.relocation import relocate
from unreid.clustering.hdc.seeding import draw_kmeanspp, initial_state, kmeanspp_on_matrix

__all__ = [
    "HDC",
    "HDCOptions",
    "HDCState",
    "HarmonicPass",
    "OwnConfidence",
    "assign",
    "detect_peripheral",
    "discrepancy_",
    "distance_matrix",
    "draw_kmeanspp",
    "fit",
    "harmonic_discrepancy",
    "initial_state",
    "iterate",
    "kmeanspp_on_matrix",
    "membership",
    "relocate",
    "update_centroids",
]
