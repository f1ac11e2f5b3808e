"""The whole config tree with its defaults: one comment a key. What values are allowed is in ``rules.py``.

Keys follow yacs / fastreid style. Method files in ``configs/`` state only what a method changes, dataset files only
what a dataset changes.
"""

from __future__ import annotations

from unreid.config.node import CfgNode as CN
from unreid.config.node import leaves

_C = CN()
_C.VERSION = 1  # layout of this tree; raised when a key changes its meaning
_C.SEED = 1  # seeds everything: weights, file order, sampling, augmentation, clustering
_C.OUTPUT_DIR = "logs/test"  # everything a run writes goes here
_C.PICKLE_PATH = "pickles"  # folder of mined constraint files; relative constraint paths start here
_C.RESUME = ""  # checkpoint to go on from or to evaluate (TEST.EVAL_ONLY); "auto": OUTPUT_DIR's, if there is one
_C.OVERWRITE = False  # a new start may remove the earlier run that OUTPUT_DIR holds; it is refused otherwise
_C.PLUGINS = []  # Python files or modules imported before the run, so that they can register parts of their own
_C.HOOKS = []  # further hooks, by name, called after the scores of an epoch and before its metrics and checkpoint
_C.PRINT_PERIOD = 50  # steps between two lines in the log

# ---------------------------------------------------------------------------------------------------- method
_C.METHOD = CN()
_C.METHOD.NAME = "ClusterContrast"  # ClusterContrast, SpCL, CDSM, ISE, CCC, AuxUSL, BUC

_C.METHOD.EXTRAS = []  # further parts for any cluster-memory method: "support_samples" (ISE), "camera_entropy" (3C)

_C.METHOD.CDSM = CN()
_C.METHOD.CDSM.TEACHER_VIEW = "strong"  # teacher sees the "strong" (published) or "base" (no crop, no erasing) image

_C.METHOD.ISE = CN()
_C.METHOD.ISE.TOPK = 1  # support samples per real sample (nearest other clusters)
_C.METHOD.ISE.SUPPORT_BASE_LAMBDA = 1.0  # base of the progressive interpolation degree
_C.METHOD.ISE.SUPPORT_IN_MEMORY = True  # supports enter the memory loss and the memory update
_C.METHOD.ISE.CLAMP_TOPK = False  # with fewer clusters than TOPK + 1 use what there is instead of stopping
_C.METHOD.ISE.LP = CN()
_C.METHOD.ISE.LP.WEIGHT = 0.1  # weight of the label-preserving loss; 0 switches it off
_C.METHOD.ISE.LP.TEMP = 0.6  # its temperature
_C.METHOD.ISE.LP.GROUPING = "label"  # negatives grouped by "label", or by "chunk" of the batch (as published)

_C.METHOD.SPCL = CN()
_C.METHOD.SPCL.FRESH_FEATURES = False  # cluster freshly extracted features instead of the memory rows

_C.METHOD.CCC = CN()
_C.METHOD.CCC.CIE = True  # CCC weighs samples by the camera information entropy of their cluster (others: EXTRAS)

_C.METHOD.AUXUSL = CN()
_C.METHOD.AUXUSL.SOFT_ID_WEIGHT = 0.5  # share of the teacher's soft labels in the ID loss
_C.METHOD.AUXUSL.SOFT_TRI_WEIGHT = 0.8  # share of the teacher's soft triplets in the triplet loss
_C.METHOD.AUXUSL.DETACH_WATL_WEIGHT = False  # stop the gradient through the weight of WATL (published: it flows)
_C.METHOD.AUXUSL.EMA_STEP = "global"  # EMA counter: real "global" step or the published "epoch" formula

_C.METHOD.BUC = CN()
_C.METHOD.BUC.MERGE_PERCENT = 0.05  # share of N that one merge removes
_C.METHOD.BUC.SIZE_PENALTY = 0.003  # lambda, weight of the size term
_C.METHOD.BUC.ROUNDS = 0  # training rounds; 0: floor(1 / MERGE_PERCENT) - 1
_C.METHOD.BUC.TEMP = 0.1  # softmax temperature of the exclusive loss
_C.METHOD.BUC.MEMORY_INIT = "zero"  # table at the start of a round: "zero" or "cluster_mean" (of the new labels)
_C.METHOD.BUC.EPOCHS_FIRST = 20  # epochs of the first round
_C.METHOD.BUC.EPOCHS_LATER = 0  # epochs of later rounds; 0: 2 for images, 5 for video
_C.METHOD.BUC.LR_FIRST = 0.1  # learning rate of the first round
_C.METHOD.BUC.LR_LATER = 0.01  # learning rate of later rounds
_C.METHOD.BUC.LR_STEP = 16  # epochs after which the rate of a round is divided by ten
_C.METHOD.BUC.MERGE = CN()
_C.METHOD.BUC.MERGE.DISTANCE = "sqeuclidean"  # "sqeuclidean" (code) or "euclidean" (paper)
_C.METHOD.BUC.MERGE.LINKAGE = "min"  # "min", "centroid" or "max"
_C.METHOD.BUC.MERGE.ROUNDING = "floor"  # clusters per merge: "floor" (code) or "ceil" (paper) of N * MERGE_PERCENT
_C.METHOD.BUC.MERGE.BLOCK = 1024  # rows of the distance matrix computed at once
_C.METHOD.BUC.MERGE.POOL_FACTOR = 8  # candidate pairs kept per merge, as a multiple of the merges

# ---------------------------------------------------------------------------------------------------- warm-up
_C.WARMUP = CN()  # label-free start for random weights
_C.WARMUP.EPOCHS = 0  # the first epochs (of OPTIM.EPOCHS) spent on instance discrimination, before the first labelling
_C.WARMUP.ITERS = 40  # steps of one such epoch
_C.WARMUP.BATCH_SIZE = 32  # images of a step; each is seen in two views
_C.WARMUP.TEMP = 0.1  # its softmax temperature
_C.WARMUP.CHANNEL_JITTER = 0.25  # replaces INPUT.CHANNEL_JITTER during the warm-up

# ---------------------------------------------------------------------------------------------------- model
_C.MODEL = CN()
_C.MODEL.DEVICE = "auto"  # "auto" (CUDA when there is one), "cpu", "cuda" or "cuda:N"
_C.MODEL.INIT_PATH = ""  # checkpoint whose whole network the training starts from (transfer); empty: none
_C.MODEL.BN_CHUNKS = 1  # train-mode BN over n equal parts of the global batch, as n GPUs under DataParallel
_C.MODEL.SYNC_BN = False  # BN statistics over all processes; excludes BN_CHUNKS > 1
_C.MODEL.STANDARDIZE = False  # standardise every image and channel before the network
_C.MODEL.RECALIBRATE_BN = 0  # unlabelled batches that re-estimate BN statistics before the first labelling; 0: off
_C.MODEL.EMBED_DIM = 0  # width of a linear layer before the bottleneck; 0: none
_C.MODEL.EMBED_BIAS = True  # that layer has a bias
_C.MODEL.DROPOUT = 0.0  # dropout on the training feature
_C.MODEL.DROPOUT_POSITION = "after_norm"  # "after_norm" (CC, ISE, BUC) or "before_norm" (CDSM)
_C.MODEL.BN_BIAS = False  # the bottleneck's bias is trained (BUC)
_C.MODEL.FRAME_POOL = "after_bottleneck"  # frames are averaged "after_bottleneck" (AuxUSL) or "before_bottleneck" (BUC)
_C.MODEL.FREEZE_AT = ""  # last frozen stage: "", "stem", "layer1" ... "layer4"; frozen BN layers stay in eval mode
_C.MODEL.CLASSIFIER = False  # linear classifier without bias, one row per training sample (AuxUSL)
_C.MODEL.BACKBONE = CN()
_C.MODEL.BACKBONE.NAME = "resnet50"  # resnet18/34/50/101, resnet50/101_ibn_a, resnet50_ibn_b, resnet_tiny, vit_*
_C.MODEL.BACKBONE.LAST_STRIDE = 1  # stride of the last stage
_C.MODEL.BACKBONE.PRETRAIN = True  # start from ImageNet weights
_C.MODEL.BACKBONE.PRETRAIN_PATH = ""  # file with backbone weights; empty: torchvision's own
_C.MODEL.BACKBONE.PRETRAIN_VERSION = "V1"  # torchvision's ImageNet weights, "V1" or "V2"
_C.MODEL.BACKBONE.MIN_MATCH = 0.9  # share of backbone tensors a weight file must match
_C.MODEL.BACKBONE.STEM_RELU = True  # ReLU between bn1 and maxpool (AuxUSL: off)
_C.MODEL.BACKBONE.WIDTH = 16  # channels of resnet_tiny's first stage
_C.MODEL.BACKBONE.CAMERAS = 0  # ViT: size of the camera embedding table; 0: none
_C.MODEL.BACKBONE.STRIDE = 16  # ViT: step of the (overlapping) 16 x 16 patches
_C.MODEL.POOLING = CN()
_C.MODEL.POOLING.NAME = "gem"  # "avg", "max", "gem" or "avg+max"
_C.MODEL.POOLING.STRIPES = 1  # horizontal stripes pooled separately and concatenated
_C.MODEL.EMA = CN()
_C.MODEL.EMA.ENABLED = False  # keep a mean teacher; it labels, is evaluated, and updates the memory
_C.MODEL.EMA.ALPHA = 0.999  # largest decay; the ramp is min(1 - 1 / (step + 1), ALPHA)
_C.MODEL.LOSSES = CN()
_C.MODEL.LOSSES.ID_OPTION = 1  # 1: cross-entropy, 2: label smoothing (LSCE), 3: RLSCE
_C.MODEL.LOSSES.ID_K = 4  # RLSCE: nearest clusters that share the smoothing mass
_C.MODEL.LOSSES.CE = CN()
_C.MODEL.LOSSES.CE.EPSILON = 0.1  # smoothing mass of LSCE and RLSCE
_C.MODEL.LOSSES.TRI_OPTION = 1  # 1: soft-margin triplet, 2: WATL
_C.MODEL.LOSSES.TRI_MARGIN = 0.5  # WATL margin
_C.MODEL.LOSSES.TRI_LAMBDA = -1.0  # WATL exponent

# ---------------------------------------------------------------------------------------------------- memory
_C.MEMORY = CN()
_C.MEMORY.NAME = "ClusterMemory"  # ClusterMemory, DiversityMemory (CDSM), HybridMemory (SpCL), ExclusiveTable (BUC)
_C.MEMORY.UPDATE = "all"  # all, hard, camera, hard_camera, tccl, chd; DiversityMemory: cm, cm_hard, cm_hybrid, v2 .. v5
_C.MEMORY.TEMP = 0.05  # softmax temperature
_C.MEMORY.MOMENTUM = 0.1  # weight of the old row in an update
_C.MEMORY.NUM_INSTANCES = 4  # diversity slots per cluster (CDSM)
_C.MEMORY.HARD_WEIGHT = 0.5  # weight w of the margin (v4, v5), hard (cm_hybrid) or mean (v2) part
_C.MEMORY.CONVEX = False  # cm_hybrid: w * hard + (1 - w) * mean instead of the published w * (hard + (1 - w) * mean)
_C.MEMORY.RENORMALIZE = False  # v4, v5: normalise rows after an update
_C.MEMORY.SMOOTH = 0.0  # label smoothing of the memory loss
_C.MEMORY.NEGATIVES = 0  # rows of other clusters sampled per step; 0: all
_C.MEMORY.STORAGE = "float32"  # HybridMemory: precision of its N rows, "float32" or "float16"
_C.MEMORY.RELIABILITY = "or"  # v5: a sample may enter a slot if compact "or" independent, "and", or always ("off")

# ---------------------------------------------------------------------------------------------------- clustering
_C.CLUSTER = CN()
_C.CLUSTER.NAME = "DBSCAN"  # DBSCAN, AgreementDBSCAN (CDSM), SelfPacedDBSCAN (SpCL), ConstrainedDBSCAN, HDC, KMeans
_C.CLUSTER.METRIC = "jaccard"  # "jaccard", "euclidean" or "cosine"
_C.CLUSTER.FEATURE = "method"  # clustered: "method" (the method's own), "raw" (pooled) or "l2" (normalised pooled)
_C.CLUSTER.K1 = 30  # k-reciprocal neighbourhood
_C.CLUSTER.K2 = 6  # local query expansion; 1 switches it off
_C.CLUSTER.K1_INCLUDES_SELF = True  # lists of k1 entries with self (Cluster Contrast) or k1 + 1 (3C)
_C.CLUSTER.EPS = 0.6  # DBSCAN radius
_C.CLUSTER.EPS_GAP = 0.02  # distance of the tight and loose radii (CDSM, SpCL)
_C.CLUSTER.TOL = 1e-6  # added to every radius; 0: bare comparison
_C.CLUSTER.MIN_SAMPLES = 4  # neighbours (self included) of a core point
_C.CLUSTER.MIN_SIZE = 0  # clusters with fewer members become outliers (3C: 4 for HDC and k-means); 0: off
_C.CLUSTER.ADAPTIVE = False  # fix eps in the first round from the smallest distances (AuxUSL)
_C.CLUSTER.RHO = 1.6e-3  # share of the smallest distances whose mean is the adaptive eps
_C.CLUSTER.EPS_ZERO_TOL = 1e-6  # distances up to this do not count for the adaptive eps
_C.CLUSTER.NUM_CLUSTERS = 750  # clusters of KMeans and HDC
_C.CLUSTER.REL_RATIO = 0.2  # CDSM: share of the best member's reliability that is the threshold of a cluster
_C.CLUSTER.SELF_PACED_QUANTILE = 0.9  # SpCL: quantile that fixes the independence threshold
_C.CLUSTER.EVERY = 1  # rounds between two clusterings
_C.CLUSTER.MAX_EMPTY_ROUNDS = 5  # rounds in a row without a usable clustering before the run stops
_C.CLUSTER.BACKEND = "auto"  # Jaccard backend: "auto", "scipy", "torch", "numba"
_C.CLUSTER.KNN = CN()
_C.CLUSTER.KNN.BACKEND = "torch"  # "torch", "torch_bf16" (exact too), "faiss_flat", "faiss_ivf", "faiss_hnsw"
_C.CLUSTER.KNN.NPROBE = 32  # IVF lists visited
_C.CLUSTER.KNN.EF_SEARCH = 128  # HNSW search width
_C.CLUSTER.WARMUP = CN()
_C.CLUSTER.WARMUP.NAME = ""  # clusterer of the first rounds; empty: CLUSTER.NAME from the start
_C.CLUSTER.WARMUP.ROUNDS = 0  # rounds it is used
_C.CLUSTER.HDC = CN()
_C.CLUSTER.HDC.INIT = "k-means++2"  # "k-means++2", "k-means++" or "random"
_C.CLUSTER.HDC.MAX_ITER = 80  # iterations at most
_C.CLUSTER.HDC.MIN_ITER = 10  # iterations before the stopping rule counts
_C.CLUSTER.HDC.N_TOL = 4  # iterations without a smaller shift before stopping
_C.CLUSTER.HDC.N_SIGMA = 1.0  # peripheral: discrepancy above mean + N_SIGMA * std of the cluster
_C.CLUSTER.HDC.THRESHOLD = 0.0  # fixed peripheral threshold; 0: the adaptive rule
_C.CLUSTER.HDC.SIMILARITY = "euler_cosine"  # "euler_cosine", "cosine" or "euclidean"
_C.CLUSTER.HDC.CONF_SCALE = 5.0  # factor in exp(-scale * d) of the sample-centroid confidence
_C.CLUSTER.HDC.NORMALIZE_CENTROID = False  # L2-normalise centroids in every iteration
_C.CLUSTER.HDC.OUTLIER = True  # peripheral samples leave the training set
_C.CLUSTER.HDC.USE_CENTROIDS = True  # the memory starts from HDC's centroids instead of plain means
_C.CLUSTER.HDC.USE_JACCARD = True  # discrepancy on Jaccard distances (off: on the similarity itself)
_C.CLUSTER.HDC.BLOCK = 1024  # rows computed at once
_C.CLUSTER.ICDBSCAN_OPTION = False  # TOC in training: DBSCAN with cannot-links
_C.CLUSTER.ICDBSCAN_RELAXED = 0.0  # r >= 0: forget links of pairs within eps * r; r < 0: of pairs beyond eps * |r|
_C.CLUSTER.ICDBSCAN_MODE = "clean"  # "clean" (fresh constraints every round) or "ordered" (published aliasing)
_C.CLUSTER.ICDBSCAN_CONSTRAINT_PATH = "cannotlink_pts.pickle"  # cannot-links; a mined .npz of the same stem wins
_C.CLUSTER.STR_OPTION = False  # STS in training: spatio-temporal reweighting of distances
_C.CLUSTER.STR_LAMBDA = 0.6  # its strength
_C.CLUSTER.STR_GAMMA = 8.0  # its decay with plausibility
_C.CLUSTER.STR_PATH = "spatio_temporal_relation_train.pickle"  # plausibilities of the training set
_C.CLUSTER.CCE_OPTION = False  # SCP in training: same-camera penalty
_C.CLUSTER.CCE_LAMBDA = 0.006  # the penalty
_C.CLUSTER.CCE_PATH = "cross_camera_relation_train.pickle"  # same-camera relation; empty: from the records' cameras

# ---------------------------------------------------------------------------------------------------- data
_C.DATASETS = CN()
_C.DATASETS.ROOT = "datasets"  # folder that holds the dataset folders
_C.DATASETS.NAMES = ["Synthetic"]  # training sets
_C.DATASETS.TESTS = []  # test sets; empty: the training sets
_C.DATASETS.STRICT = False  # refuse a dataset whose counts differ from the official ones (otherwise: warn)
_C.DATASETS.MODE = "all"  # video: "all" tracklets as they are, or "dense" clips of DENSE_STEP frames
_C.DATASETS.DENSE_STEP = 32  # frames of a dense clip
_C.DATASETS.MARS_INFO = "info"  # MARS: folder with the name lists and .mat files
_C.DATASETS.CUHK03 = "detected"  # CUHK03-NP: "detected" or "labeled"
_C.DATASETS.MSMT17 = "auto"  # MSMT17 layout: "auto", "v1", "v2" or "market" (repackaged)
_C.DATASETS.CELEBREID = "own"  # Celeb-reID cameras: every image its "own" (no filtering), or CDSM's "reference" digit
_C.DATASETS.SYNTHETIC = CN()  # the rendered benchmark; every key below is part of its folder's identity
_C.DATASETS.SYNTHETIC.PRESET = "default"  # "default" or "hard"
_C.DATASETS.SYNTHETIC.SEED = 0  # world seed: identities, cameras, images
_C.DATASETS.SYNTHETIC.TRAIN_IDS = 80  # training identities
_C.DATASETS.SYNTHETIC.TEST_IDS = 80  # test identities
_C.DATASETS.SYNTHETIC.CAMERAS = 6  # cameras
_C.DATASETS.SYNTHETIC.IMAGES_PER_CAMERA = 4  # images of one identity in one camera
_C.DATASETS.SYNTHETIC.DISTRACTORS = 0  # gallery images of id 0
_C.DATASETS.SYNTHETIC.HEIGHT = 128  # rendered height in pixels
_C.DATASETS.SYNTHETIC.WIDTH = 64  # rendered width in pixels
_C.DATASETS.SYNTHETIC_VIDEO = CN()  # the rendered tracklets; every key below is part of their folder's identity
_C.DATASETS.SYNTHETIC_VIDEO.PRESET = "default"  # "default" or "hard"
_C.DATASETS.SYNTHETIC_VIDEO.SEED = 0  # world seed: identities, cameras, walks, images
_C.DATASETS.SYNTHETIC_VIDEO.TRAIN_IDS = 60  # training identities
_C.DATASETS.SYNTHETIC_VIDEO.TEST_IDS = 60  # test identities
_C.DATASETS.SYNTHETIC_VIDEO.CAMERAS = 6  # cameras, on one clock with offsets
_C.DATASETS.SYNTHETIC_VIDEO.FRAMES = [8, 16]  # fewest and most images of a tracklet
_C.DATASETS.SYNTHETIC_VIDEO.DISTRACTORS = 0  # gallery identities that only one camera sees
_C.DATASETS.SYNTHETIC_VIDEO.HEIGHT = 128  # rendered height in pixels
_C.DATASETS.SYNTHETIC_VIDEO.WIDTH = 64  # rendered width in pixels
_C.DATASETS.FOLDER = CN()  # ImageFolder: own crops
_C.DATASETS.FOLDER.PATH = ""  # folder with the crops; empty: DATASETS.ROOT
_C.DATASETS.FOLDER.TRAIN = "train"  # sub-folder of unlabelled training crops ("." for PATH itself)
_C.DATASETS.FOLDER.QUERY = "query"  # sub-folder of queries; missing: evaluation is skipped
_C.DATASETS.FOLDER.GALLERY = "gallery"  # sub-folder of the gallery; missing: evaluation is skipped
_C.DATASETS.FOLDER.CAMERA_REGEX = ""  # its first group in the relative path is the camera; empty: one camera
_C.DATASETS.FOLDER.PID_REGEX = ""  # the same for identities in query and gallery; empty: the parent folder's name
_C.DATASETS.FOLDER.MANIFEST = ""  # CSV instead: columns path, camera; optional split, pid, track, frame

_C.DATALOADER = CN()
_C.DATALOADER.TRAIN_BATCH_SIZE = 256  # samples of a step over all processes
_C.DATALOADER.NUM_INSTANCE = 16  # samples per cluster in a batch
_C.DATALOADER.ITERS = 200  # steps per epoch; 0: one pass over the sampler
_C.DATALOADER.ITERS_CLUSTER_MULTIPLIER = -1.0  # > 0: steps per epoch = round(multiplier * clusters)
_C.DATALOADER.TEST_BATCH_SIZE = 128  # images of an extraction step
_C.DATALOADER.NUM_WORKERS = 4  # decoding processes, at most one a processor; 0: in the main process
_C.DATALOADER.TRAIN_SEQ_LEN = 4  # frames of a training clip; images always count one
_C.DATALOADER.CLUSTER_SEQ_LEN = 32  # frames of a clip when clustering; 0: all
_C.DATALOADER.MAX_FRAMES = 900  # evaluation reads at most so many evenly spaced frames of a tracklet; 0: all
_C.DATALOADER.LAST_WINDOW = True  # a random window may end on a tracklet's last frame (published AuxUSL: never)
_C.DATALOADER.TRAIN_FRAMES = "window"  # training frames of a tracklet: consecutive "window" or random "subset" (BUC)
_C.DATALOADER.CACHE = "auto"  # decoded uint8 images in memory: "auto" (if they fit CACHE_MB), "ram", "device", "off"
_C.DATALOADER.CACHE_MB = 4096  # budget of the cache in MiB
_C.DATALOADER.SKIP_CORRUPT = False  # leave unreadable images out and count them instead of stopping
_C.DATALOADER.SAMPLER = CN()
_C.DATALOADER.SAMPLER.NAME = "multi_camera"  # "multi_camera" (RandomMultipleGallery), "identity" (plain PK), "shuffle"
_C.DATALOADER.SAMPLER.DRAW = "3c"  # small pools: "3c" (all, then again) or "cc" (with replacement)
_C.DATALOADER.SAMPLER.SINGLETON = "skip"  # clusters of one: "skip", "repeat" or "emit" (published, misaligned)

_C.INPUT = CN()
_C.INPUT.TRANSFORM = "strong"  # train transform: "strong" (all of the following), or the name of a plug-in's
_C.INPUT.SIZE_TRAIN = [256, 128]  # height, width
_C.INPUT.SIZE_TEST = [256, 128]  # height, width
_C.INPUT.INTERPOLATION = "bicubic"  # "bicubic" or "bilinear" resize
_C.INPUT.PIXEL_MEAN = [0.485, 0.456, 0.406]  # RGB in [0, 1]
_C.INPUT.PIXEL_STD = [0.229, 0.224, 0.225]  # RGB in [0, 1]
_C.INPUT.DO_FLIP = True  # horizontal flip
_C.INPUT.FLIP_PROB = 0.5  # its probability
_C.INPUT.DO_PAD = True  # pad, then crop back at random
_C.INPUT.PADDING = 10  # pixels on each side
_C.INPUT.PADDING_MODE = "constant"  # "constant" (black), "reflect" or "edge"
_C.INPUT.RANDOM_SIZED_CROP = False  # BUC's rectangle crop (area 0.64-1, height/width 2-3) instead of pad and crop
_C.INPUT.CHANNEL_JITTER = 0.0  # per-image, per-channel gain and offset drawn from U(-j, j), before normalisation
_C.INPUT.REA = CN()
_C.INPUT.REA.ENABLED = True  # random erasing
_C.INPUT.REA.PROB = 0.5  # its probability
_C.INPUT.REA.MEAN = [0.485, 0.456, 0.406]  # fill, written after normalisation
_C.INPUT.REA.VARIANT = "zhong"  # "zhong" (uniform aspect, 100 tries) or "torchvision" (log-uniform, 10 tries)
_C.INPUT.CJ = CN()
_C.INPUT.CJ.ENABLED = False  # colour jitter
_C.INPUT.CJ.PROB = 0.8  # its probability
_C.INPUT.CJ.BRIGHTNESS = 0.15  # strength
_C.INPUT.CJ.CONTRAST = 0.15  # strength
_C.INPUT.CJ.SATURATION = 0.1  # strength
_C.INPUT.CJ.HUE = 0.1  # strength

# ---------------------------------------------------------------------------------------------------- optimisation
_C.OPTIM = CN()
_C.OPTIM.OPT = "adam"  # "adam" (coupled weight decay), "adamw" or "sgd"
_C.OPTIM.LR = 3.5e-4  # base learning rate
_C.OPTIM.BACKBONE_LR_MULT = 1.0  # factor of the backbone's rate
_C.OPTIM.WEIGHT_DECAY = 5e-4  # on every trained parameter
_C.OPTIM.ADAM_BETA1 = 0.9  # Adam
_C.OPTIM.ADAM_BETA2 = 0.999  # Adam
_C.OPTIM.MOMENTUM = 0.9  # SGD
_C.OPTIM.NESTEROV = True  # SGD
_C.OPTIM.EPOCHS = 50  # training epochs over all rounds
_C.OPTIM.SCHED = "step"  # "step", "multistep", "cosine" or "constant"
_C.OPTIM.STEPS = [20]  # step: one period in epochs; multistep: milestones
_C.OPTIM.GAMMA = 0.1  # factor of a step
_C.OPTIM.MIN_LR = 0.0  # end of the cosine
_C.OPTIM.WARMUP_EPOCHS = 0  # epochs of rate warm-up
_C.OPTIM.WARMUP_FACTOR = 0.1  # rate factor at its start
_C.OPTIM.WARMUP_METHOD = "linear"  # "linear" or "constant"
_C.OPTIM.WARMUP_VERSION = "v1"  # 3C's two definitions of the linear ramp, "v1" or "v2"
_C.OPTIM.WARMUP_LR_FACTOR = 1.0  # v2: further factor during the warm-up
_C.OPTIM.AMP = "off"  # "off", "bf16" or "fp16" (with loss scaling)
_C.OPTIM.CLIP_GRAD = 0.0  # largest gradient norm; 0: off
_C.OPTIM.CHANNELS_LAST = False  # memory format of images and weights
_C.OPTIM.COMPILE = False  # torch.compile the model
_C.OPTIM.SUB_BATCH = 0  # forward in parts of so many samples, each with its losses (single-GPU AuxUSL); 0: off
_C.OPTIM.RESET_EVERY_ROUND = False  # a new optimiser every round (AuxUSL)

# ---------------------------------------------------------------------------------------------------- evaluation
_C.TEST = CN()
_C.TEST.EVAL_ONLY = False  # evaluate RESUME and stop
_C.TEST.EVAL_PERIOD = 1  # epochs between evaluations; the last epoch is always evaluated; 0: only the last
_C.TEST.EVAL_START = False  # score the untrained network too, before the first epoch
_C.TEST.SELECT = "last"  # headline checkpoint: "last", "best_test" (with test labels), "label_free" or "round:N"
_C.TEST.AP = "step"  # "step" (standard) or "trapezoid" (BUC's)
_C.TEST.FLIP = False  # average the features of an image and its mirror image
_C.TEST.RANKED_LIST = 0  # queries drawn into ranked_list.jpg after training; 0: none
_C.TEST.AMP = "off"  # extraction precision: "off", "bf16" or "fp16"
_C.TEST.RERANK = CN()
_C.TEST.RERANK.ENABLED = False  # k-reciprocal re-ranking
_C.TEST.RERANK.K1 = 20  # its neighbourhood
_C.TEST.RERANK.K2 = 6  # its query expansion
_C.TEST.RERANK.LAMBDA = 0.3  # share of the original distance
_C.TEST.RERANK.SQUARE_INPUT = True  # square the (already squared) distances, as published
_C.TEST.OVERLAP_CONSTRAINT = False  # TOC at test: + 1000 where two tracklets overlap in time
_C.TEST.CONSTRAINT_PATH = "overlap_relation.pickle"  # its relation
_C.TEST.CCE_OPTION = False  # SCP at test
_C.TEST.CCE_LAMBDA = 0.03  # its penalty
_C.TEST.CCE_PATH = "cross_camera_relation_infer.pickle"  # its relation; empty: from the cameras of the records
_C.TEST.STR_OPTION = False  # STS at test, with CLUSTER.STR_LAMBDA and STR_GAMMA
_C.TEST.STR_PATH = "spatio_temporal_relation_infer.pickle"  # its plausibilities

# ---------------------------------------------------------------------------------------------------- files
_C.CHECKPOINT = CN()
_C.CHECKPOINT.PERIOD = 1  # epochs between checkpoints; 0: only the last
_C.CHECKPOINT.KEEP = 1  # periodic checkpoints kept; 0: all
_C.LOG = CN()
_C.LOG.TENSORBOARD = True  # write TensorBoard event files
_C.LOG.CLUSTER_IMAGES = 6  # clusters shown as pictures in TensorBoard; 0: none
_C.LOG.PROGRESS = True  # progress bar on a terminal
_C.LOG.CHECK_RANKS = False  # compare a hash of the memory over all processes every epoch (debugging)
_C.DIST = CN()
_C.DIST.TIMEOUT_MINUTES = 10.0  # one of several processes without a sign of life for so long ends the run

CN.DEFAULTS = dict(leaves(_C))


def get_cfg() -> CN:
    """A fresh, unfrozen copy of the defaults."""
    return _C.clone()
