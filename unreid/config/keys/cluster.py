"""CLUSTER: distances, clusterers, constraints in training."""

from __future__ import annotations

from unreid.config.conditions import (
    EPOCHS,
    NAME,
    NEIGHBORS,
    STEPS,
    SWITCH,
    TEXT,
    WEIGHT,
    above,
    at_least,
    between,
    choice,
    each,
    share,
)
from unreid.config.key import Key, Section

KEYS: dict[str, Key | Section] = {
    "CLUSTER.NAME": Key(
        "DBSCAN",
        NAME,
        "DBSCAN, AgreementDBSCAN, SelfPacedDBSCAN, PerCameraDBSCAN, HDC, KMeans, Infomap, sklearn/HDBSCAN ...",
    ),
    "CLUSTER.METRIC": Key("jaccard", NAME, "jaccard, ca_jaccard (camera-aware), euclidean, cosine ..."),
    "CLUSTER.FEATURE": Key(
        "method",
        choice("method", "raw", "l2"),
        'clustered: "method" (the method\'s own), "raw" (pooled) or "l2" (normalised pooled)',
    ),
    "CLUSTER.CAMERA_LINKS": Key(
        1.0, between(0, 1), "PerCameraDBSCAN: share of the mutually nearest clusters of two cameras that are joined"
    ),
    "CLUSTER.CAMERA_CENTERED": Key(
        False, SWITCH, "cluster the features less their camera's mean, normalised; any method and clusterer"
    ),
    "CLUSTER.K1": Key(30, NEIGHBORS, "k-reciprocal neighbourhood"),
    "CLUSTER.K2": Key(6, NEIGHBORS, "local query expansion; 1 switches it off"),
    "CLUSTER.K1_INCLUDES_SELF": Key(True, SWITCH, "lists of k1 entries with self (Cluster Contrast) or k1 + 1 (3C)"),
    "CLUSTER.EPS": Key(0.6, above(0, 1e3), "DBSCAN radius"),
    "CLUSTER.EPS_GAP": Key(0.02, between(0, 1e3), "distance of the tight and loose radii (CDSM, SpCL)"),
    "CLUSTER.MIN_SAMPLES": Key(4, at_least(1), "neighbours (self included) of a core point"),
    "CLUSTER.MIN_SIZE": Key(
        0, at_least(0), "clusters with fewer members become outliers (3C: 4 for HDC and k-means); 0: off"
    ),
    "CLUSTER.ADAPTIVE": Key(False, SWITCH, "fix eps in the first round from the smallest distances (AuxUSL)"),
    "CLUSTER.RHO": Key(1.6e-3, share(), "share of the smallest distances whose mean is the adaptive eps"),
    "CLUSTER.NUM_CLUSTERS": Key(750, between(1, 10**7), "clusters of KMeans and HDC"),
    "CLUSTER.EVERY": Key(1, STEPS, "rounds between two clusterings"),
    "CLUSTER.MAX_EMPTY_ROUNDS": Key(5, STEPS, "rounds in a row without a usable clustering before the run stops"),
    "CLUSTER.KNN.BACKEND": Key(
        "torch", NAME, "auto, torch, torch_bf16 (exact too), torch_ivf, faiss_flat, faiss_ivf, faiss_hnsw ..."
    ),
    "CLUSTER.CA": Section("CA-Jaccard"),
    "CLUSTER.CA.K1_INTRA": Key(5, NEIGHBORS, "reciprocal neighbours in the own camera"),
    "CLUSTER.CA.K1_INTER": Key(20, NEIGHBORS, "reciprocal neighbours in the other cameras"),
    "CLUSTER.CA.K2_INTRA": Key(2, between(0, 10**5), "rows of the own camera that the query expansion averages"),
    "CLUSTER.CA.K2_INTER": Key(4, between(0, 10**5), "rows of the other cameras"),
    "CLUSTER.CA.CKRNN": Key(True, SWITCH, "ablation: off takes the plain reciprocal sets of K1"),
    "CLUSTER.CA.CLQE": Key(True, SWITCH, "ablation: off takes the plain query expansion of K2"),
    "CLUSTER.SKLEARN": Section("CLUSTER.NAME sklearn/NAME: any clusterer of scikit-learn"),
    "CLUSTER.SKLEARN.ARGUMENTS": Key([], each(NAME, empty=True), 'its arguments, such as ["min_cluster_size=4"]'),
    "CLUSTER.SKLEARN.INPUT": Key(
        "auto",
        choice("auto", "features", "graph", "connectivity"),
        'what it is given: "auto", "features", "graph" or "connectivity"',
    ),
    "CLUSTER.WARMUP.NAME": Key("", TEXT, "clusterer of the first rounds; empty: CLUSTER.NAME from the start"),
    "CLUSTER.WARMUP.ROUNDS": Key(0, EPOCHS, "rounds it is used"),
    "CLUSTER.HDC.INIT": Key(
        "k-means++2", choice("k-means++2", "k-means++", "random"), '"k-means++2", "k-means++" or "random"'
    ),
    "CLUSTER.HDC.MAX_ITER": Key(80, STEPS, "iterations at most"),
    "CLUSTER.HDC.THRESHOLD": Key(0.0, between(0, 1e3), "fixed peripheral threshold; 0: the adaptive rule"),
    "CLUSTER.HDC.SIMILARITY": Key(
        "euler_cosine", choice("euler_cosine", "cosine", "euclidean"), '"euler_cosine", "cosine" or "euclidean"'
    ),
    "CLUSTER.HDC.NORMALIZE_CENTROID": Key(False, SWITCH, "L2-normalise centroids in every iteration"),
    "CLUSTER.HDC.OUTLIER": Key(True, SWITCH, "peripheral samples leave the training set"),
    "CLUSTER.HDC.USE_CENTROIDS": Key(True, SWITCH, "the memory starts from HDC's centroids instead of plain means"),
    "CLUSTER.HDC.USE_JACCARD": Key(True, SWITCH, "discrepancy on Jaccard distances (off: on the similarity itself)"),
    "CLUSTER.ICDBSCAN_OPTION": Key(False, SWITCH, "TOC in training: DBSCAN with cannot-links"),
    "CLUSTER.ICDBSCAN_RELAXED": Key(
        0.0, between(-1e3, 1e3), "r >= 0: forget links of pairs within eps * r; r < 0: of pairs beyond eps * |r|"
    ),
    "CLUSTER.ICDBSCAN_MODE": Key(
        "clean", choice("clean", "ordered"), '"clean" (fresh constraints every round) or "ordered" (published aliasing)'
    ),
    "CLUSTER.ICDBSCAN_CONSTRAINT_PATH": Key(
        "cannotlink_pts.pickle", TEXT, "cannot-links; a mined .npz of the same stem wins"
    ),
    "CLUSTER.REVIEW": Key(
        [], each(NAME, empty=True), "stores of unreid review, or tables of answers, in the order they were given"
    ),
    "CLUSTER.STR_OPTION": Key(False, SWITCH, "STS in training: spatio-temporal reweighting of distances"),
    "CLUSTER.STR_LAMBDA": Key(0.6, between(0, 1), "its strength"),
    "CLUSTER.STR_GAMMA": Key(8.0, between(0, 1e3), "its decay with plausibility"),
    "CLUSTER.STR_PATH": Key("spatio_temporal_relation_train.pickle", TEXT, "plausibilities of the training set"),
    "CLUSTER.CCE_OPTION": Key(False, SWITCH, "SCP in training: same-camera penalty"),
    "CLUSTER.CCE_LAMBDA": Key(0.006, WEIGHT, "the penalty"),
    "CLUSTER.CCE_PATH": Key(
        "cross_camera_relation_train.pickle", TEXT, "same-camera relation; empty: from the records' cameras"
    ),
}
