"""Any clusterer with any memory and any part, from the config alone; what makes no sense is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from tests.engine.stored import load_run
from tests.methods.conftest import MakeConfig
from tests.methods.toys import DIM, at_step, toy_batch, toy_clustering, toy_method
from unreid.clustering import AgreementDBSCAN
from unreid.config import load_config
from unreid.engine.run import run
from unreid.losses import LOSSES, LossInputs
from unreid.memory import ClusterMemory, DiversityMemory
from unreid.memory.base import Memory
from unreid.methods.ccc import CameraEntropy
from unreid.methods.cluster_contrast import ClusterContrast
from unreid.methods.ise import SupportSamples
from unreid.methods.parts import PARTS, Part, Rows, weighted
from unreid.structures import Position
from unreid.utils.errors import UserError

EMA = ("MODEL.EMA.ENABLED", "True")
DIVERSE = ("MEMORY.NAME", "DiversityMemory", "MEMORY.UPDATE", "v5")
HYBRID = ("MEMORY.NAME", "HybridMemory")
AGREEMENT = ("CLUSTER.NAME", "AgreementDBSCAN")
SELF_PACED = ("CLUSTER.NAME", "SelfPacedDBSCAN", "DATALOADER.SAMPLER.SINGLETON", "emit")
HDC = ("CLUSTER.NAME", "HDC", "CLUSTER.MIN_SIZE", "2")
KMEANS = ("CLUSTER.NAME", "KMeans")
CIE = ("METHOD.EXTRAS", "['camera_entropy']")
CA = ("CLUSTER.METRIC", "ca_jaccard", "CLUSTER.CA.K1_INTER", "8")
PROXIES = ("MEMORY.NAME", "ProxyMemory")
PROXY_SAMPLER = ("DATALOADER.SAMPLER.NAME", "proxy", "DATALOADER.SAMPLER.SINGLETON", "repeat")
PARTED = ("MODEL.CLASSIFIER", "True", "MODEL.PARTS", "2", "METHOD.PPLR.K", "6")
HDBSCAN = ("CLUSTER.NAME", "sklearn/HDBSCAN", "CLUSTER.SKLEARN.ARGUMENTS", "['min_cluster_size=3']")
SUPPORTS = ("METHOD.EXTRAS", "['support_samples']")
ALL_PARTS = ("METHOD.EXTRAS", "['support_samples', 'camera_entropy']")

SENSIBLE: dict[str, tuple[str, tuple[str, ...]]] = {
    # ISE's supports over CDSM's diversity memory with its clustering and its teacher
    "ISE, diversity memory, agreement, teacher": ("ISE", (*DIVERSE, *AGREEMENT, *EMA)),
    "Cluster Contrast, CIE": ("ClusterContrast", CIE),
    "SpCL, CIE": ("SpCL", (*HYBRID, *SELF_PACED, *CIE)),
    "SpCL, supports": ("SpCL", (*HYBRID, *SELF_PACED, *SUPPORTS)),
    "SpCL, HDC on its rows": ("SpCL", (*HYBRID, *HDC)),
    "SpCL, teacher": ("SpCL", (*HYBRID, *SELF_PACED, *EMA)),
    "SpCL's labels, diversity memory": ("SpCL", (*DIVERSE, *SELF_PACED, "METHOD.SPCL.FRESH_FEATURES", "True")),
    "CDSM, HDC": ("CDSM", (*DIVERSE, *HDC, *EMA)),
    "CDSM, supports, CIE": ("CDSM", (*DIVERSE, *AGREEMENT, *EMA, *ALL_PARTS)),
    "ISE, HDC, CHD, CIE": ("ISE", (*HDC, "MEMORY.UPDATE", "chd", *CIE)),
    "ISE, hybrid memory": ("ISE", HYBRID),
    "3C, agreement, v4": ("CCC", (*AGREEMENT, "MEMORY.NAME", "DiversityMemory", "MEMORY.UPDATE", "v4")),
    "Cluster Contrast, k-means, v3": ("ClusterContrast", (*KMEANS, *DIVERSE[:2], "MEMORY.UPDATE", "v3")),
    "Cluster Contrast, self-paced": ("ClusterContrast", SELF_PACED),
    "Cluster Contrast, hybrid memory": ("ClusterContrast", HYBRID),
    "Cluster Contrast, BUC's table": ("ClusterContrast", ("MEMORY.NAME", "ExclusiveTable")),
    "Cluster Contrast, cosine, adaptive": (
        "ClusterContrast",
        ("CLUSTER.METRIC", "cosine", "CLUSTER.ADAPTIVE", "True", "CLUSTER.RHO", "0.05"),
    ),
    "CDSM, CA-Jaccard": ("CDSM", (*DIVERSE, *AGREEMENT, *EMA, *CA)),
    "ISE, CA-Jaccard": ("ISE", CA),
    "3C, HDC, CA-Jaccard": ("CCC", (*HDC, *CA)),
    "SpCL, CA-Jaccard": ("SpCL", (*HYBRID, *SELF_PACED, *CA)),
    "PPLR, CA-Jaccard": ("PPLR", (*PARTED, *CA, "METHOD.PPLR.CAMERAS", "True")),
    "PPLR, Infomap": ("PPLR", (*PARTED, "CLUSTER.NAME", "Infomap")),
    "PPLR, k-means, the proxy sampler": ("PPLR", (*PARTED, *KMEANS, *PROXY_SAMPLER)),
    "ISE, camera proxies": ("ISE", PROXIES),
    "3C, camera proxies, HDC": ("CCC", (*PROXIES, *HDC)),
    "3C, camera proxies, CHD": ("CCC", (*PROXIES, "MEMORY.UPDATE", "chd")),
    "SpCL's labels, camera proxies": ("SpCL", (*PROXIES, *SELF_PACED, "METHOD.SPCL.FRESH_FEATURES", "True")),
    "O2CAP, k-means": ("O2CAP", (*PROXIES, *PROXY_SAMPLER, *KMEANS)),
    "O2CAP, HDC, CIE, teacher": ("O2CAP", (*PROXIES, *PROXY_SAMPLER, *HDC, *CIE, *EMA)),
    "O2CAP, supports": ("O2CAP", (*PROXIES, *PROXY_SAMPLER, *SUPPORTS)),
    "O2CAP, CA-Jaccard, CIE, Infomap": ("O2CAP", (*PROXIES, *PROXY_SAMPLER, *CA, *CIE, "CLUSTER.NAME", "Infomap")),
    "O2CAP, HDBSCAN": ("O2CAP", (*PROXIES, *PROXY_SAMPLER, *CA, *HDBSCAN)),
    "Cluster Contrast, Infomap": ("ClusterContrast", ("CLUSTER.NAME", "Infomap")),
    "Cluster Contrast, Infomap, CA-Jaccard": ("ClusterContrast", ("CLUSTER.NAME", "Infomap", *CA)),
    "Cluster Contrast, HDBSCAN": ("ClusterContrast", HDBSCAN),
    "Cluster Contrast, OPTICS": (
        "ClusterContrast",
        ("CLUSTER.NAME", "sklearn/OPTICS", "CLUSTER.SKLEARN.ARGUMENTS", "['min_samples=3', 'cluster_method=dbscan']"),
    ),
    "Cluster Contrast, agglomerative": (
        "ClusterContrast",
        ("CLUSTER.NAME", "sklearn/AgglomerativeClustering", "CLUSTER.SKLEARN.ARGUMENTS", "['n_clusters=10']"),
    ),
    "3C, another feature clustered": ("CCC", (*HDC, "CLUSTER.FEATURE", "l2", "MODEL.EMBED_DIM", "12")),
}

SENSELESS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "parts on BUC": ("BUC", CIE, r"BUC has no use for METHOD\.EXTRAS"),
    "a clusterer for BUC": ("BUC", HDC, r"BUC has no use for CLUSTER\.NAME HDC"),
    "a teacher for BUC": ("BUC", EMA, r"BUC has no use for MODEL\.EMA\.ENABLED"),
    "a memory for BUC": ("BUC", HYBRID, r"BUC learns.*HybridMemory.*ExclusiveTable"),
    "too many rounds of BUC": (
        "BUC",
        ("MEMORY.NAME", "ExclusiveTable", "METHOD.BUC.ROUNDS", "9"),
        r"METHOD\.BUC\.ROUNDS 9.*one cluster",
    ),
    "CDSM without teacher": ("CDSM", DIVERSE, r"CDSM.*MODEL\.EMA\.ENABLED"),
    "SpCL without rows": ("SpCL", SELF_PACED, r"SpCL.*MEMORY\.NAME HybridMemory"),
    "SpCL on another feature": ("SpCL", (*HYBRID, "CLUSTER.FEATURE", "raw"), r"SpCL.*FRESH_FEATURES"),
    "CDSM's rule in a plain memory": ("ClusterContrast", ("MEMORY.UPDATE", "v5"), r"rule named 'v5'.*Available: all"),
    "3C's rule in the diversity memory": ("CDSM", (*DIVERSE[:2], *EMA, "MEMORY.UPDATE", "chd"), r"named 'chd'"),
    "a rule for the hybrid memory": ("SpCL", (*HYBRID, "MEMORY.UPDATE", "chd"), r"HybridMemory.*MEMORY\.UPDATE chd"),
    "negatives of the hybrid memory": ("SpCL", (*HYBRID, "MEMORY.NEGATIVES", "4"), r"MEMORY\.NEGATIVES"),
    "HDC on cosine distances": ("CCC", (*HDC, "CLUSTER.METRIC", "cosine"), r"HDC.*Jaccard"),
    "a gap beyond the radius": ("CDSM", (*AGREEMENT, *EMA, "CLUSTER.EPS_GAP", "0.8"), r"CLUSTER\.EPS_GAP"),
    "too few clusters for supports": (
        "ISE",
        (*KMEANS, "CLUSTER.NUM_CLUSTERS", "2", "METHOD.ISE.TOPK", "2"),
        r"METHOD\.ISE\.TOPK = 2.*2",
    ),
    "proxies without their memory": ("O2CAP", PROXY_SAMPLER, r"O2CAP learns.*MEMORY\.NAME ProxyMemory"),
    "CAP without its loss": ("CAP", PROXIES, r"CAP has the intra-camera loss.*MEMORY\.PROXY\.INTRA True"),
    "proxies without any loss": (
        "ClusterContrast",
        (*PROXIES, "MEMORY.PROXY.OFFLINE", "False", "MEMORY.PROXY.ONLINE", "False"),
        r"ProxyMemory needs a loss",
    ),
    "sampled proxies": ("ClusterContrast", (*PROXIES, "MEMORY.NEGATIVES", "4"), r"MEMORY\.NEGATIVES.*ProxyMemory"),
    "PPLR without parts": ("PPLR", ("MODEL.CLASSIFIER", "True"), r"MODEL\.PARTS 3"),
    "PPLR without classifiers": ("PPLR", ("MODEL.PARTS", "2"), r"MODEL\.CLASSIFIER True"),
    "more parts than rows": ("PPLR", (*PARTED, "MODEL.PARTS", "9"), r"PARTS.*9"),
    "a clusterer that scikit-learn lacks": (
        "ClusterContrast",
        ("CLUSTER.NAME", "sklearn/HDBSCANN"),
        r"no clusterer 'HDBSCANN'\. Did you mean sklearn/HDBSCAN\?",
    ),
    "an argument that scikit-learn lacks": (
        "ClusterContrast",
        (*HDBSCAN[:2], "CLUSTER.SKLEARN.ARGUMENTS", "['min_cluster=3']"),
        r"HDBSCAN takes no min_cluster; did you mean min_cluster_size",
    ),
    "a graph for who takes none": (
        "ClusterContrast",
        ("CLUSTER.NAME", "sklearn/MeanShift", "CLUSTER.SKLEARN.INPUT", "graph"),
        r"MeanShift of scikit-learn takes no graph",
    ),
    "camera-aware distances up to 1": ("ClusterContrast", (*CA, "CLUSTER.EPS", "1.0"), r"CLUSTER\.EPS.*ca_jaccard"),
    "an unknown part": ("ISE", ("METHOD.EXTRAS", "['suport_samples']"), r"Did you mean 'support_samples'"),
    "parts of a batch": ("ClusterContrast", ("OPTIM.SUB_BATCH", "8"), r"no use for OPTIM\.SUB_BATCH"),
}


@pytest.mark.parametrize("name", SENSIBLE)
def test_a_combination_trains(name: str, tiny_config: MakeConfig) -> None:
    method, overrides = SENSIBLE[name]
    short = ("OPTIM.EPOCHS", "2", "DATALOADER.ITERS", "2")
    cfg = tiny_config("METHOD.NAME", method, *short, *overrides)
    assert run(cfg)["finished"]
    state = load_run(Path(cfg.OUTPUT_DIR) / "checkpoint.pth")
    assert all(torch.isfinite(value).all() for value in state["model"].values())
    if method == "PPLR":  # has no memory
        return
    bank = state["method"]["memory"]["bank"]
    assert len(bank) and torch.isfinite(bank).all() and bank.any()


@pytest.mark.parametrize("name", SENSELESS)
def test_a_senseless_combination_is_one_sentence(name: str, tiny_config: MakeConfig) -> None:
    method, overrides, message = SENSELESS[name]
    with pytest.raises(UserError, match=message) as raised:
        run(tiny_config("METHOD.NAME", method, *overrides))
    assert "\n" not in str(raised.value).strip()


# --------------------------------------------------------------------------- what the combinations are made of

LABELS = torch.tensor([-1, 0, 0, 0, 0, -1, 1, 1, 1, 1, 2, 2, 2, 2])
CAMIDS = torch.arange(len(LABELS)) % 3
BATCH = torch.tensor([6, 9, 7, 8, 11, 13, 10, 12, 1, 4, 2, 3])


def test_supports_over_the_diversity_memory_are_built_from_its_centres_and_the_teacher() -> None:
    parts = ("METHOD.NAME", "ISE", *DIVERSE, *AGREEMENT, *EMA, "MEMORY.SLOTS", 2)
    method = toy_method(*parts, camids=CAMIDS)
    assert isinstance(method.memory, DiversityMemory) and isinstance(method.clusterer, AgreementDBSCAN)
    method.plan(toy_clustering(LABELS, reliable=torch.ones(len(LABELS), dtype=torch.bool)), 0)
    assert len(method.memory.bank) == 3 * 3  # a centre and two slots for each of three clusters
    with torch.no_grad():
        method.teacher.model.linear.weight.neg_()
    batch = toy_batch(BATCH, LABELS, CAMIDS)
    output = method.step(batch, at_step(39))
    assert output.losses.keys() == {"memory", "label_preserving"}
    real, supports = output.cache.features.chunk(2)
    torch.testing.assert_close(real, -method.model(batch.views[0]).embedding.detach())
    rows = method.memory.rows
    own = rows[batch.targets]
    for feature, support, centre, label in zip(real, supports, own, batch.targets.tolist()):
        near = max((c for c in range(3) if c != label), key=lambda c: float(feature @ rows[c]))
        direction = F.normalize(feature + 0.24 * (rows[near] - centre), dim=0)
        assert float(support @ direction) > 0.999


def test_parts_come_once_and_in_order() -> None:
    method = toy_method("METHOD.NAME", "ISE", "METHOD.EXTRAS", "['cie', 'support_samples']", camids=CAMIDS)
    assert [type(part) for part in method.parts] == [SupportSamples, CameraEntropy]


class Mirror(Part):
    """Adds the mirror image of every row given."""

    def expand(self, rows: Rows, memory: Memory, at: Position) -> Rows:
        return Rows(
            torch.cat((rows.features, rows.features.flip(1))),
            rows.targets.repeat(2),
            rows.camids.repeat(2),
            rows.indices.repeat(2),
            rows.real,
            extras=rows.extras,
        )


@pytest.mark.parametrize("order", ["['mirror', 'support_samples']", "['support_samples', 'mirror']"])
def test_parts_that_add_rows_get_along_in_any_order(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Supports are made of images only; what was computed for fewer rows is not used for more."""
    monkeypatch.setitem(PARTS._table, "mirror", Mirror)
    method = toy_method("METHOD.EXTRAS", order, camids=CAMIDS)
    assert isinstance(method, ClusterContrast) and isinstance(method.memory, ClusterMemory)
    method.plan(toy_clustering(LABELS), 0)
    batch = toy_batch(BATCH, LABELS, CAMIDS)
    output = method.step(batch, at_step(20))
    rows = output.cache
    assert torch.equal(rows.features[: len(BATCH)], method.model(batch.views[0]).embedding.detach())
    assert len(rows.features) == len(BATCH) * (3 if order.startswith("['mirror'") else 4)
    torch.testing.assert_close(output.losses["memory"], method.memory(rows.features, rows.targets))
    alone = toy_method("METHOD.EXTRAS", "['support_samples']", camids=CAMIDS)
    alone.plan(toy_clustering(LABELS), 0)
    expected = alone.step(batch, at_step(20)).losses["label_preserving"]
    torch.testing.assert_close(output.losses["label_preserving"], expected)
    method.after_step(rows, at_step(20))


def test_losses_by_name_see_the_images_and_not_what_parts_added() -> None:
    """Beside supports, each with its own weight."""
    names = ("METHOD.LOSSES", "['triplet=0.25', 'watl']")
    method = toy_method("METHOD.NAME", "ISE", "METHOD.EXTRAS", "['support_samples']", *names, camids=CAMIDS)
    method.plan(toy_clustering(LABELS), 0)
    output = method.step(toy_batch(BATCH, LABELS, CAMIDS), at_step(20))
    rows = output.cache
    assert len(rows.features) == 2 * rows.real == 2 * len(BATCH)
    images = LossInputs(rows.features[: rows.real], rows.targets[: rows.real], camids=rows.camids[: rows.real])
    for name, weight in (("triplet", 0.25), ("watl", 1.0)):
        expected = weight * LOSSES.get(name).from_config(load_config(None, []))(images)
        torch.testing.assert_close(output.losses[name].detach(), expected)


def test_weights_of_several_parts_are_multiplied() -> None:
    class Given(Part):
        def __init__(self, *numbers: float) -> None:
            self.numbers = torch.tensor(numbers) if numbers else None

        def weights(self, rows: Rows) -> torch.Tensor | None:
            return self.numbers

    zeros = torch.zeros(2, dtype=torch.long)
    rows = Rows(torch.randn(2, 3), zeros, zeros, zeros, real=2)
    assert weighted([Given(), Given()], rows).weights is None
    several = weighted([Given(0.5, 2.0), Given(), Given(4.0, 3.0)], rows).weights
    assert several is not None and several.tolist() == [2.0, 6.0]


@pytest.mark.parametrize("feature", ["raw", "l2"])
def test_the_memory_lives_in_the_space_of_the_training_feature_whatever_is_clustered(feature: str) -> None:
    method = toy_method("CLUSTER.FEATURE", feature, "CLUSTER.NAME", "KMeans", "CLUSTER.NUM_CLUSTERS", 3, camids=CAMIDS)
    generator = torch.Generator().manual_seed(0)
    spaces = {
        name: F.normalize(torch.randn(len(LABELS), width, generator=generator), dim=1)
        for name, width in (("pooled", 20), ("pooled_l2", 21), ("embedding", DIM))
    }
    asked = []

    def extract(name: str) -> torch.Tensor:
        asked.append(name)
        return spaces[name]

    clustering = method.label(0, extract)
    method.plan(clustering, 0)
    assert asked == [{"raw": "pooled", "l2": "pooled_l2"}[feature], "embedding"]
    means = torch.stack([spaces["embedding"][clustering.labels == c].mean(0) for c in range(3)])
    torch.testing.assert_close(method.memory.bank, F.normalize(means, dim=1))
