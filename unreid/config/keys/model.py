"""MODEL: network, mean teacher, losses on its outputs."""

from __future__ import annotations

from unreid.config.conditions import (
    BATCH,
    EPOCHS,
    NAME,
    NEIGHBORS,
    SWITCH,
    TEXT,
    WEIGHT,
    between,
    choice,
    decay,
    matching,
)
from unreid.config.key import Key

KEYS: dict[str, Key] = {
    "MODEL.DEVICE": Key(
        "auto",
        matching(r"auto|cpu|cuda(:[0-9]{1,4})?", "'auto', 'cpu', 'cuda' or 'cuda:N'"),
        '"auto" (CUDA when there is one), "cpu", "cuda" or "cuda:N"',
    ),
    "MODEL.INIT_PATH": Key(
        "",
        TEXT,
        "file whose network the training starts from: ours, torchreid's, fast-reid's ..., or a name of unreid list "
        "weights; empty: none",
    ),
    "MODEL.INIT_NETWORK": Key(
        False, SWITCH, "the file (RESUME, else INIT_PATH) says what network it is, whatever the keys of MODEL say"
    ),
    "MODEL.BN_CHUNKS": Key(
        1, BATCH, "train-mode BN over n equal parts of the global batch, as n GPUs under DataParallel"
    ),
    "MODEL.SYNC_BN": Key(False, SWITCH, "BN statistics over all processes; excludes BN_CHUNKS > 1"),
    "MODEL.DOMAIN_BN": Key(
        False, SWITCH, "BN of their own for source and target; the target's is evaluated (SpCL_UDA; excludes SYNC_BN)"
    ),
    "MODEL.STANDARDIZE": Key(False, SWITCH, "standardise every image and channel before the network"),
    "MODEL.RECALIBRATE_BN": Key(
        0, EPOCHS, "unlabelled batches that re-estimate BN statistics before the first labelling; 0: off"
    ),
    "MODEL.EMBED_DIM": Key(0, between(0, 2**16), "width of a linear layer before the bottleneck; 0: none"),
    "MODEL.EMBED_BIAS": Key(True, SWITCH, "that layer has a bias"),
    "MODEL.DROPOUT": Key(0.0, decay(), "dropout on the training feature"),
    "MODEL.DROPOUT_POSITION": Key(
        "after_norm", choice("after_norm", "before_norm"), '"after_norm" (CC, ISE, BUC) or "before_norm" (CDSM)'
    ),
    "MODEL.BN_BIAS": Key(False, SWITCH, "the bottleneck's bias is trained (BUC)"),
    "MODEL.NECK_RELU": Key(False, SWITCH, "ReLU after the bottleneck (torchreid's OSNet)"),
    "MODEL.FRAME_POOL": Key(
        "after_bottleneck",
        choice("after_bottleneck", "before_bottleneck"),
        'frames are averaged "after_bottleneck" (AuxUSL) or "before_bottleneck" (BUC)',
    ),
    "MODEL.FREEZE_AT": Key(
        "",
        choice("", "stem", "layer1", "layer2", "layer3", "layer4"),
        'last frozen stage: "", "stem", "layer1" ... "layer4"; frozen BN layers stay in eval mode',
    ),
    "MODEL.CLASSIFIER": Key(
        False, SWITCH, "linear classifier without bias, one row per training sample (AuxUSL, PPLR)"
    ),
    "MODEL.PARTS": Key(
        0, between(0, 256), "horizontal stripes with heads of their own, classifiers included (PPLR); 0: none"
    ),
    "MODEL.BACKBONE.NAME": Key(
        "resnet50",
        NAME,
        "resnet50, osnet_x1_0, vit_small ... (unreid list backbones), or timm/NAME: any network of timm",
    ),
    "MODEL.BACKBONE.LAST_STRIDE": Key(
        0, choice(0, 1, 2), "stride of the last stage; 0: 1 where the network can (all but some of timm), else its own"
    ),
    "MODEL.BACKBONE.OUTPUT": Key(
        "auto",
        choice("auto", "map", "pooled"),
        'timm: "map" (feature map, grid of tokens), "pooled" (class token, own pooling), "auto": pooled for tokens',
    ),
    "MODEL.BACKBONE.PRETRAIN": Key(True, SWITCH, "start from ImageNet weights"),
    "MODEL.BACKBONE.PRETRAIN_PATH": Key(
        "",
        TEXT,
        "file with backbone weights; empty: torchvision's own",
        formerly=("CHECKPOING.PRETRAIN_PATH", "CHECKPOINT.PRETRAIN_PATH"),
    ),
    "MODEL.BACKBONE.PRETRAIN_VERSION": Key("V1", choice("V1", "V2"), 'torchvision\'s ImageNet weights, "V1" or "V2"'),
    "MODEL.BACKBONE.MIN_MATCH": Key(0.9, between(0, 1), "share of backbone tensors a weight file must match"),
    "MODEL.BACKBONE.STEM_RELU": Key(True, SWITCH, "ReLU between bn1 and maxpool (AuxUSL: off)"),
    "MODEL.BACKBONE.STEM_CEIL": Key(False, SWITCH, "maxpool overhangs instead of padding, as in fast-reid"),
    "MODEL.BACKBONE.WIDTH": Key(16, between(1, 256), "channels of resnet_tiny's first stage"),
    "MODEL.BACKBONE.CAMERAS": Key(0, between(0, 10**5), "ViT: size of the camera embedding table; 0: none"),
    "MODEL.BACKBONE.STRIDE": Key(16, between(1, 16), "ViT: step of the (overlapping) 16 x 16 patches"),
    "MODEL.POOLING.NAME": Key("gem", NAME, '"avg", "max", "gem" or "avg+max"'),
    "MODEL.POOLING.STRIPES": Key(1, between(1, 64), "horizontal stripes pooled separately and concatenated"),
    "MODEL.EMA.ENABLED": Key(False, SWITCH, "keep a mean teacher; it labels, is evaluated, and updates the memory"),
    "MODEL.EMA.ALPHA": Key(
        0.999,
        between(0, 1),
        "largest decay; the ramp is min(1 - 1 / (step + 1), ALPHA)",
        formerly=("MUTUAL_TEACH.ALPHA",),
    ),
    "MODEL.LOSSES.ID_OPTION": Key(
        "cross_entropy", NAME, "AuxUSL: cross_entropy, label_smoothing (LSCE) or ranked_label_smoothing (RLSCE)"
    ),
    "MODEL.LOSSES.ID_K": Key(4, NEIGHBORS, "RLSCE: nearest clusters that share the smoothing mass"),
    "MODEL.LOSSES.CE.EPSILON": Key(0.1, decay(), "smoothing mass of LSCE and RLSCE"),
    "MODEL.LOSSES.TRI_OPTION": Key("triplet", NAME, "AuxUSL: triplet (batch-hard, soft margin) or watl (WATL)"),
    "MODEL.LOSSES.TRI_MARGIN": Key(0.5, WEIGHT, "WATL margin"),
    "MODEL.LOSSES.TRI_LAMBDA": Key(-1.0, between(-100, 0), "WATL exponent"),
}
