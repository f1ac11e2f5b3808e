"""DATALOADER and INPUT: batches and augmentation."""

from __future__ import annotations

from unreid.config.conditions import BATCH, EPOCHS, NAME, PIXELS, STRENGTH, SWITCH, at_least, between, choice, each
from unreid.config.key import Key

KEYS: dict[str, Key] = {
    "DATALOADER.TRAIN_BATCH_SIZE": Key(256, BATCH, "samples of a step over all processes"),
    "DATALOADER.NUM_INSTANCE": Key(16, BATCH, "samples per cluster in a batch"),
    "DATALOADER.ITERS": Key(200, EPOCHS, "steps per epoch; 0: one pass over the sampler"),
    "DATALOADER.ITERS_CLUSTER_MULTIPLIER": Key(
        -1.0, between(-1, 1e3), "> 0: steps per epoch = round(multiplier * clusters)"
    ),
    "DATALOADER.TEST_BATCH_SIZE": Key(128, BATCH, "images of an extraction step"),
    "DATALOADER.NUM_WORKERS": Key(
        4, between(0, 1024), "decoding processes, at most one a processor; 0: in the main process"
    ),
    "DATALOADER.TRAIN_SEQ_LEN": Key(4, between(1, 1024), "frames of a training clip; images always count one"),
    "DATALOADER.CLUSTER_SEQ_LEN": Key(32, between(0, 1024), "frames of a clip when clustering; 0: as in evaluation"),
    "DATALOADER.MAX_FRAMES": Key(
        900, between(0, 10**6), "evaluation reads at most so many evenly spaced frames of a tracklet; 0: all"
    ),
    "DATALOADER.LAST_WINDOW": Key(
        True, SWITCH, "a random window may end on a tracklet's last frame (published AuxUSL: never)"
    ),
    "DATALOADER.TRAIN_FRAMES": Key(
        "window",
        choice("window", "subset"),
        'training frames of a tracklet: consecutive "window" or random "subset" (BUC)',
    ),
    "DATALOADER.CACHE": Key(
        "auto",
        choice("auto", "ram", "device", "off"),
        'decoded uint8 images in memory: "auto" (if they fit CACHE_MB), "ram", "device", "off"',
    ),
    "DATALOADER.CACHE_MB": Key(4096, at_least(0), "budget of the cache in MiB"),
    "DATALOADER.SKIP_CORRUPT": Key(False, SWITCH, "leave unreadable images out and count them instead of stopping"),
    "DATALOADER.SAMPLER.NAME": Key(
        "multi_camera", NAME, "multi_camera, no_camera, identity (plain PK), proxy (PK of camera proxies), shuffle"
    ),
    "DATALOADER.SAMPLER.DRAW": Key(
        "3c", choice("3c", "cc"), 'small pools: "3c" (all, then again) or "cc" (with replacement)'
    ),
    "DATALOADER.SAMPLER.SINGLETON": Key(
        "skip",
        choice("skip", "repeat", "emit"),
        'clusters of one: "skip", "repeat" (fill their group) or "emit" (one index, published; shifts later groups)',
    ),
    "INPUT.TRANSFORM": Key(
        "strong", NAME, 'train transform: "strong" (all of the following), or the name of a plug-in\'s'
    ),
    "INPUT.SIZE_TRAIN": Key([256, 128], each(PIXELS, length=2), "height, width"),
    "INPUT.SIZE_TEST": Key([256, 128], each(PIXELS, length=2), "height, width"),
    "INPUT.INTERPOLATION": Key("bicubic", choice("bicubic", "bilinear"), '"bicubic" or "bilinear" resize'),
    "INPUT.PIXEL_MEAN": Key([0.485, 0.456, 0.406], each(between(0, 1), length=3), "RGB in [0, 1]"),
    "INPUT.PIXEL_SOURCE": Key(
        "auto",
        choice("auto", "config"),
        '"auto": those of a timm/ backbone\'s weights where both have their default; "config": always these two',
    ),
    "INPUT.PIXEL_STD": Key([0.229, 0.224, 0.225], each(between(1e-3, 1e3), length=3), "RGB in [0, 1]"),
    "INPUT.DO_FLIP": Key(True, SWITCH, "horizontal flip"),
    "INPUT.FLIP_PROB": Key(0.5, between(0, 1), "its probability"),
    "INPUT.DO_PAD": Key(True, SWITCH, "pad, then crop back at random"),
    "INPUT.PADDING": Key(10, between(0, 1024), "pixels on each side"),
    "INPUT.PADDING_MODE": Key(
        "constant", choice("constant", "reflect", "edge"), '"constant" (black), "reflect" or "edge"'
    ),
    "INPUT.RANDOM_SIZED_CROP": Key(
        False, SWITCH, "BUC's rectangle crop (area 0.64-1, height/width 2-3) instead of pad and crop"
    ),
    "INPUT.CHANNEL_JITTER": Key(
        0.0, STRENGTH, "per-image, per-channel gain and offset drawn from U(-j, j), before normalisation"
    ),
    "INPUT.REA.ENABLED": Key(True, SWITCH, "random erasing"),
    "INPUT.REA.PROB": Key(0.5, between(0, 1), "its probability"),
    "INPUT.REA.MEAN": Key([0.485, 0.456, 0.406], each(between(0, 1), length=3), "fill, written after normalisation"),
    "INPUT.REA.VARIANT": Key(
        "zhong",
        choice("zhong", "torchvision"),
        '"zhong" (uniform aspect, 100 tries) or "torchvision" (log-uniform, 10 tries)',
    ),
    "INPUT.CJ.ENABLED": Key(False, SWITCH, "colour jitter"),
    "INPUT.CJ.PROB": Key(0.8, between(0, 1), "its probability"),
    "INPUT.CJ.BRIGHTNESS": Key(0.15, STRENGTH, "strength"),
    "INPUT.CJ.CONTRAST": Key(0.15, STRENGTH, "strength"),
    "INPUT.CJ.SATURATION": Key(0.1, STRENGTH, "strength"),
    "INPUT.CJ.HUE": Key(0.1, between(0, 0.5), "strength"),
}
