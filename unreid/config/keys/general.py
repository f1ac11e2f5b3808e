"""What every run has: seed, folders, plug-ins."""

from __future__ import annotations

from unreid.config.conditions import FOLDER, NAME, SWITCH, TEXT, at_least, between, choice, each
from unreid.config.key import Key

KEYS: dict[str, Key] = {
    "VERSION": Key(1, choice(1), "layout of this tree; raised when a key changes its meaning"),
    "SEED": Key(1, between(0, 2**32 - 1), "seeds everything: weights, file order, sampling, augmentation, clustering"),
    "OUTPUT_DIR": Key("logs/test", FOLDER, "everything a run writes goes here"),
    "PICKLE_PATH": Key("pickles", TEXT, "folder of mined constraint files; relative constraint paths start here"),
    "RESUME": Key(
        "", TEXT, 'checkpoint to go on from or to evaluate (TEST.EVAL_ONLY); "auto": OUTPUT_DIR\'s, if there is one'
    ),
    "OVERWRITE": Key(
        False, SWITCH, "a new start may remove the earlier run that OUTPUT_DIR holds; it is refused otherwise"
    ),
    "PLUGINS": Key(
        [],
        each(NAME, empty=True),
        "Python files or modules imported before the run, so that they can register parts of their own",
    ),
    "HOOKS": Key(
        [],
        each(NAME, empty=True),
        "further hooks, by name, called after the scores of an epoch and before its metrics and checkpoint",
    ),
    "PRINT_PERIOD": Key(50, at_least(1), "steps between two lines in the log"),
}
