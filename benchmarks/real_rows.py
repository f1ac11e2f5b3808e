"""What the benchmark on photographs runs: data sets, start weights, methods, and how long each trains."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SETS = {
    # Images of a person in one camera: 2 and about 5. The density of DBSCAN and the neighbours follow from that.
    "cuhk01": ("CLUSTER.K1", "8", "CLUSTER.K2", "3", "CLUSTER.MIN_SAMPLES", "2"),
    "cuhk03p1": ("CLUSTER.K1", "20", "CLUSTER.K2", "6", "CLUSTER.MIN_SAMPLES", "4"),
}
"""Folder below the root, and what every method changes for it."""

OSNET, LITE0 = "OSNet", "lite0"
FILES = {OSNET: "osnet_x0_25_msmt17.onnx", LITE0: "efficientnet_lite0.pth"}
CENTERED = ("CLUSTER.CAMERA_CENTERED", "True")
CA_JACCARD = ("CLUSTER.METRIC", "ca_jaccard")
PROXIES = ("MEMORY.PROXY.INTRA", "True")
INFOMAP = ("CLUSTER.NAME", "Infomap")
# The entropy is that of a cluster's cameras in the batch: its images have to come from several.
CIE = ("METHOD.EXTRAS", "['camera_entropy']", "DATALOADER.SAMPLER.NAME", "multi_camera")
ZERO_SHOT, RAW, HISTOGRAM = "not trained", "raw pixels", "striped colour histogram"
PUBLISHED = "not trained, as published"
RANDOM = "random weights"


@dataclass(frozen=True)
class Method:
    """A row: a config of ``configs/`` and what it changes for the photographs.

    ``length``: rounds and steps, where they are not the plan's.
    """

    config: str
    overrides: tuple[str, ...] = ()
    length: tuple[int, int] | None = None


def per_camera(*more: str, length: tuple[int, int] | None = None) -> Method:
    """Cameras clustered one by one, and ``more``."""
    return Method(
        "O2CAP",
        (
            *("CLUSTER.NAME", "PerCameraDBSCAN", "CLUSTER.EPS", "0.5"),
            *("MEMORY.PROXY.INTRA", "False", "MEMORY.PROXY.ONLINE", "False", "MEMORY.PROXY.NEGATIVES", "seen"),
            *CENTERED,
            *more,
        ),
        length,
    )


SLOW = ("OPTIM.LR", "3.5e-5")  # of configs/base/transfer.yml
JITTER = ("INPUT.CHANNEL_JITTER", "0.15")  # the colour casts of cameras, drawn
METHODS = {
    "ClusterContrast": Method("ClusterContrast"),
    "ClusterContrast, a tenth of the rate": Method("ClusterContrast", SLOW),
    "+ centred": Method("ClusterContrast", CENTERED),
    "+ CA-Jaccard": Method("CAJaccard"),
    "+ Infomap": Method("ClusterContrast", INFOMAP),
    "+ CIE": Method("ClusterContrast", CIE),
    "O2CAP": Method("O2CAP"),
    "O2CAP + centred": Method("O2CAP", (*PROXIES, *CENTERED)),
    "O2CAP + CA-Jaccard": Method("O2CAP", (*CA_JACCARD, *PROXIES)),
    "O2CAP + centred + CA-Jaccard": Method("O2CAP", (*CA_JACCARD, *PROXIES, *CENTERED)),
    "O2CAP + all, Infomap": Method("O2CAP", (*CA_JACCARD, *PROXIES, *CENTERED, *INFOMAP)),
    "O2CAP + all, CIE": Method("O2CAP", (*CA_JACCARD, *PROXIES, *CENTERED, *CIE)),
    "O2CAP + all, Infomap, CIE": Method("O2CAP", (*CA_JACCARD, *PROXIES, *CENTERED, *INFOMAP, *CIE)),
    "one by one": per_camera(),
    "one by one, half the links": per_camera("CLUSTER.CAMERA_LINKS", "0.5"),
    "one by one, jitter": per_camera(*JITTER),
    "one by one, all negatives": per_camera("MEMORY.PROXY.NEGATIVES", "all"),
    "one by one, online": per_camera("MEMORY.PROXY.ONLINE", "True"),
    "one by one, wide, half": per_camera(
        *("CLUSTER.CAMERA_LINKS", "0.5", "CLUSTER.EPS", "0.4", "CLUSTER.K1", "10", "CLUSTER.K2", "2")
    ),
    "one by one, 1,200 steps": per_camera(length=(20, 60)),
    "one by one, jitter, 3,200 steps": per_camera(*JITTER, length=(40, 80)),
    "CAP": Method("CAP"),
    "PPLR, cameras": Method("PPLR", ("METHOD.PPLR.CAMERAS", "True", "METHOD.PPLR.AALS_ROUND", "2")),
    "SpCL": Method("SpCL"),
    "CDSM": Method("CDSM"),
    "ISE": Method("ISE"),
    "CCC_DBSCAN": Method("CCC_DBSCAN"),
    "CCC_HDC": Method("CCC_HDC", ("CLUSTER.WARMUP.ROUNDS", "2")),
    "CCC_KMeans": Method("CCC_KMeans", ("CLUSTER.WARMUP.ROUNDS", "2")),
}
"""In the order of their weight for the question; the table keeps it."""
DEFAULT = [name for name in METHODS if not name.startswith(("one by one,", "ClusterContrast,"))]
"""Without the ablations."""


@dataclass(frozen=True)
class Plan:
    """How long and how large: what a machine can do."""

    rounds: int = 8
    steps: int = 40
    batch: int = 64
    sizes: tuple[tuple[str, tuple[int, int]], ...] = ((OSNET, (256, 128)), (LITE0, (128, 64)))
    amp: str = "bf16"
    jobs: int = 1

    def images(self, name: str) -> int:
        """Training images that a run of a method sees."""
        rounds, steps = METHODS[name].length or (self.rounds, self.steps)
        return rounds * steps * self.batch


CPU = Plan()
GPU = Plan(rounds=6, steps=24, sizes=((OSNET, (256, 128)), (LITE0, (256, 128))), jobs=4)


@dataclass(frozen=True)
class Row:
    """One run."""

    data: str
    start: str
    name: str
    seed: int = 1

    @property
    def key(self) -> str:
        return "/".join((self.data, self.start, self.name, str(self.seed)))

    @classmethod
    def of(cls, key: str) -> Row:
        data, start, name, seed = key.split("/")
        return cls(data, start, name, int(seed))

    @property
    def trains(self) -> bool:
        return self.name in METHODS

    def settings(self, root: Path, output: str, device: str, plan: Plan) -> list[str]:
        """The overrides of the run, over ``METHODS[name].config`` for Market-1501."""
        weights = root / FILES.get(self.start, "")
        height, width = dict(plan.sizes).get(self.start, (256, 128))
        method = METHODS.get(self.name, Method("ClusterContrast"))
        rounds, steps = method.length or (plan.rounds, plan.steps)
        settings = [
            *("DATASETS.NAMES", "['ImageFolder']", "DATASETS.FOLDER.PATH", str(root / self.data)),
            *("DATASETS.FOLDER.CAMERA_REGEX", r"_c(\d)_", "DATASETS.FOLDER.PID_REGEX", r"(?:^|/)(\d{4})_c"),
            *("INPUT.SIZE_TRAIN", f"[{height}, {width}]", "INPUT.SIZE_TEST", f"[{height}, {width}]"),
            *("INPUT.PADDING", str(height // 26), "INPUT.INTERPOLATION", "bilinear"),
            *("DATALOADER.TRAIN_BATCH_SIZE", str(plan.batch), "DATALOADER.NUM_INSTANCE", "4"),
            *("DATALOADER.ITERS", str(steps), "OPTIM.EPOCHS", str(rounds), "OPTIM.SCHED", "cosine"),
            *("OPTIM.LR", "3.5e-4"),
            *("OPTIM.WARMUP_EPOCHS", "1", "OPTIM.WARMUP_FACTOR", "0.1"),
            *("OPTIM.AMP", plan.amp, "TEST.AMP", plan.amp, "MODEL.BN_CHUNKS", "1", "MODEL.POOLING.NAME", "avg"),
            *("MODEL.DEVICE", device, "DATALOADER.NUM_WORKERS", "0" if device == "cpu" else "4"),
            *("DATALOADER.CACHE", "ram", "TEST.EVAL_START", "True", "TEST.EVAL_PERIOD", "2"),
            *("CHECKPOINT.PERIOD", "0", "LOG.TENSORBOARD", "False", "LOG.CLUSTER_IMAGES", "0", "LOG.PROGRESS", "False"),
            *("SEED", str(self.seed), "OUTPUT_DIR", output, "OVERWRITE", "True"),
            *SETS[self.data],
        ]
        if self.start == OSNET:
            settings += [
                *("MODEL.BACKBONE.NAME", "osnet_x0_25", "MODEL.BACKBONE.PRETRAIN", "False"),
                # torchreid ends with a ReLU; without it the same weights rank better (chosen on CUHK01).
                *("MODEL.EMBED_DIM", "512", "MODEL.BN_BIAS", "True", "MODEL.NECK_RELU", str(self.name == PUBLISHED)),
                *("MODEL.INIT_PATH", str(weights)),
            ]
        else:
            pretrain = () if self.start == RANDOM else ("MODEL.BACKBONE.PRETRAIN_PATH", str(weights))
            settings += [
                *("MODEL.BACKBONE.NAME", "timm/tf_efficientnet_lite0", *pretrain),
                *("MODEL.BACKBONE.PRETRAIN", str(self.start != RANDOM)),
            ]
        if "PerCameraDBSCAN" in method.overrides:  # neighbours and density of one camera
            settings += ["CLUSTER.K1", "4" if self.data == "cuhk01" else "6", "CLUSTER.K2", "2"]
            settings += ["CLUSTER.MIN_SAMPLES", "2"]
        settings += method.overrides
        if self.name.startswith("CCC_") and self.name != "CCC_DBSCAN":
            settings += ["CLUSTER.NUM_CLUSTERS", "500" if self.data == "cuhk01" else "750"]
        return settings


def rows(sets: list[str], starts: list[str], methods: list[str], seeds: list[int]) -> list[Row]:
    """All runs asked for, what costs nothing first, then by seed and by the order of the methods."""
    free = [Row(data, "-", name) for data in sets for name in (RAW, HISTOGRAM)]
    free += [Row(data, OSNET, PUBLISHED) for data in sets if OSNET in starts]
    free += [Row(data, start, ZERO_SHOT) for data in sets for start in (RANDOM, *starts)]
    trained = [Row(data, start, name, seed) for seed in seeds for start in starts for name in methods for data in sets]
    return free + trained
