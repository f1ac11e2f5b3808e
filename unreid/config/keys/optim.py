"""OPTIM: optimiser, schedule, precision."""

from __future__ import annotations

from unreid.config.conditions import EPOCHS, NAME, RATE, STEPS, SWITCH, between, choice, decay, each
from unreid.config.key import Key

KEYS: dict[str, Key] = {
    "OPTIM.OPT": Key("adam", NAME, '"adam" (coupled weight decay), "adamw" or "sgd"'),
    "OPTIM.LR": Key(3.5e-4, RATE, "base learning rate"),
    "OPTIM.BACKBONE_LR_MULT": Key(1.0, RATE, "factor of the backbone's rate"),
    "OPTIM.WEIGHT_DECAY": Key(5e-4, RATE, "on every trained parameter"),
    "OPTIM.ADAM_BETA1": Key(0.9, decay(), "Adam"),
    "OPTIM.ADAM_BETA2": Key(0.999, decay(), "Adam"),
    "OPTIM.MOMENTUM": Key(0.9, decay(), "SGD"),
    "OPTIM.NESTEROV": Key(True, SWITCH, "SGD", formerly=("OPTIM.SGD_NESTEROV",)),
    "OPTIM.EPOCHS": Key(50, STEPS, "training epochs over all rounds"),
    "OPTIM.SCHED": Key("step", NAME, '"step", "multistep", "cosine" or "constant"'),
    "OPTIM.STEPS": Key([20], each(STEPS), "step: one period in epochs; multistep: milestones"),
    "OPTIM.GAMMA": Key(0.1, between(1e-6, 1e3), "factor of a step"),
    "OPTIM.MIN_LR": Key(0.0, RATE, "end of the cosine"),
    "OPTIM.WARMUP_EPOCHS": Key(0, EPOCHS, "epochs of rate warm-up"),
    "OPTIM.WARMUP_FACTOR": Key(0.1, between(0, 1), "rate factor at its start"),
    "OPTIM.WARMUP_METHOD": Key("linear", choice("linear", "constant"), '"linear" or "constant"'),
    "OPTIM.WARMUP_VERSION": Key("v1", choice("v1", "v2"), '3C\'s two definitions of the linear ramp, "v1" or "v2"'),
    "OPTIM.WARMUP_LR_FACTOR": Key(1.0, between(1e-6, 1e3), "v2: further factor during the warm-up"),
    "OPTIM.AMP": Key("off", choice("off", "bf16", "fp16"), '"off", "bf16" or "fp16" (with loss scaling)'),
    "OPTIM.CLIP_GRAD": Key(0.0, between(0, 1e6), "largest gradient norm; 0: off"),
    "OPTIM.CHANNELS_LAST": Key(True, SWITCH, "images and weights stored channels last; faster on a CPU, ViT alike"),
    "OPTIM.COMPILE": Key(False, SWITCH, "torch.compile the model"),
    "OPTIM.SUB_BATCH": Key(
        0, between(0, 2**16), "forward in parts of so many samples, each with its losses (single-GPU AuxUSL); 0: off"
    ),
    "OPTIM.RESET_EVERY_ROUND": Key(False, SWITCH, "a new optimiser every round (AuxUSL)"),
}
