"""The miner: from tracklets to relation files."""

from unreid.engine.mining.command import convert, run_mining
from unreid.engine.mining.mine import Mining, mine

__all__ = ["Mining", "convert", "mine", "run_mining"]
