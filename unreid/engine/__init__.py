"""The engine: it turns configs into runs. Names load on first use: the command line must start without PyTorch."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unreid.engine.hooks import Hook
    from unreid.engine.run import evaluate, train
    from unreid.engine.trainer import Trainer

__all__ = ["Hook", "Trainer", "evaluate", "train"]

_HOMES = {
    "Hook": "unreid.engine.hooks",
    "Trainer": "unreid.engine.trainer",
    "evaluate": "unreid.engine.run",
    "train": "unreid.engine.run",
}


def __getattr__(name: str) -> Any:
    from unreid.utils.lazy import load

    return load(__name__, _HOMES, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
