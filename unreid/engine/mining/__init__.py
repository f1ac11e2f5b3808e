"""The miner: from tracklets to relation files."""
