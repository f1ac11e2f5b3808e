"""DATASETS: which images there are."""

from __future__ import annotations

from unreid.config.conditions import NAME, SWITCH, TEXT, WORLD, between, capturing_regex, choice, each
from unreid.config.key import Key, Section

KEYS: dict[str, Key | Section] = {
    "DATASETS.ROOT": Key("datasets", TEXT, "folder that holds the dataset folders", formerly=("DATASETS.DIR",)),
    "DATASETS.NAMES": Key(["Synthetic"], each(NAME), "training sets"),
    "DATASETS.TESTS": Key([], each(NAME, empty=True), "test sets; empty: the training sets"),
    "DATASETS.SOURCES": Key(
        [], each(NAME, empty=True), "labelled sets of domain adaptation (METHOD.NAME SpCL_UDA); empty: none"
    ),
    "DATASETS.STRICT": Key(
        False, SWITCH, "refuse a dataset whose counts differ from the official ones (otherwise: warn)"
    ),
    "DATASETS.MODE": Key(
        "all", choice("all", "dense"), 'video: "all" tracklets as they are, or "dense" clips of DENSE_STEP frames'
    ),
    "DATASETS.DENSE_STEP": Key(32, WORLD, "frames of a dense clip"),
    "DATASETS.MARS_INFO": Key("info", TEXT, "MARS: folder with the name lists and .mat files"),
    "DATASETS.CUHK03": Key("detected", choice("detected", "labeled"), 'CUHK03-NP: "detected" or "labeled"'),
    "DATASETS.MSMT17": Key(
        "auto", choice("auto", "v1", "v2", "market"), 'MSMT17 layout: "auto", "v1", "v2" or "market" (repackaged)'
    ),
    "DATASETS.CELEBREID": Key(
        "own",
        choice("own", "reference"),
        'Celeb-reID cameras: every image its "own" (no filtering), or CDSM\'s "reference" digit',
    ),
    "DATASETS.SYNTHETIC": Section("the rendered benchmark; every key below is part of its folder's identity"),
    "DATASETS.SYNTHETIC.PRESET": Key("default", choice("default", "hard"), '"default" or "hard"'),
    "DATASETS.SYNTHETIC.SEED": Key(0, between(0, 2**32 - 1), "world seed: identities, cameras, images"),
    "DATASETS.SYNTHETIC.TRAIN_IDS": Key(80, WORLD, "training identities"),
    "DATASETS.SYNTHETIC.TEST_IDS": Key(80, WORLD, "test identities"),
    "DATASETS.SYNTHETIC.CAMERAS": Key(6, between(1, 1000), "cameras"),
    "DATASETS.SYNTHETIC.IMAGES_PER_CAMERA": Key(4, between(2, 1000), "images of one identity in one camera"),
    "DATASETS.SYNTHETIC.DISTRACTORS": Key(0, between(0, 10**5), "gallery images of id 0"),
    "DATASETS.SYNTHETIC.HEIGHT": Key(128, between(16, 4096), "rendered height in pixels"),
    "DATASETS.SYNTHETIC.WIDTH": Key(64, between(8, 4096), "rendered width in pixels"),
    "DATASETS.SYNTHETIC_SOURCE": Section("SyntheticSource: another rendered world, its size that of SYNTHETIC"),
    "DATASETS.SYNTHETIC_SOURCE.PRESET": Key("default", choice("default", "hard"), '"default" or "hard"'),
    "DATASETS.SYNTHETIC_SOURCE.SEED": Key(1000, between(0, 2**32 - 1), "its world seed"),
    "DATASETS.SYNTHETIC_VIDEO": Section("the rendered tracklets; every key below is part of their folder's identity"),
    "DATASETS.SYNTHETIC_VIDEO.PRESET": Key("default", choice("default", "hard"), '"default" or "hard"'),
    "DATASETS.SYNTHETIC_VIDEO.SEED": Key(0, between(0, 2**32 - 1), "world seed: identities, cameras, walks, images"),
    "DATASETS.SYNTHETIC_VIDEO.TRAIN_IDS": Key(60, WORLD, "training identities"),
    "DATASETS.SYNTHETIC_VIDEO.TEST_IDS": Key(60, WORLD, "test identities"),
    "DATASETS.SYNTHETIC_VIDEO.CAMERAS": Key(6, between(2, 1000), "cameras, on one clock with offsets"),
    "DATASETS.SYNTHETIC_VIDEO.FRAMES": Key(
        [8, 16], each(between(1, 10**4), length=2), "fewest and most images of a tracklet"
    ),
    "DATASETS.SYNTHETIC_VIDEO.DISTRACTORS": Key(0, between(0, 10**5), "gallery identities that only one camera sees"),
    "DATASETS.SYNTHETIC_VIDEO.HEIGHT": Key(128, between(16, 4096), "rendered height in pixels"),
    "DATASETS.SYNTHETIC_VIDEO.WIDTH": Key(64, between(8, 4096), "rendered width in pixels"),
    "DATASETS.FOLDER": Section("ImageFolder: own crops"),
    "DATASETS.FOLDER.PATH": Key("", TEXT, "folder with the crops; empty: DATASETS.ROOT"),
    "DATASETS.FOLDER.TRAIN": Key("train", TEXT, 'sub-folder of unlabelled training crops ("." for PATH itself)'),
    "DATASETS.FOLDER.QUERY": Key("query", TEXT, "sub-folder of queries; missing: evaluation is skipped"),
    "DATASETS.FOLDER.GALLERY": Key("gallery", TEXT, "sub-folder of the gallery; missing: evaluation is skipped"),
    "DATASETS.FOLDER.CAMERA_REGEX": Key(
        "", capturing_regex(), "its first group in the relative path is the camera; empty: one camera"
    ),
    "DATASETS.FOLDER.PID_REGEX": Key(
        "", capturing_regex(), "the same for identities in query and gallery; empty: the parent folder's name"
    ),
    "DATASETS.FOLDER.MANIFEST": Key("", TEXT, "CSV instead: columns path, camera; optional split, pid, track, frame"),
}
