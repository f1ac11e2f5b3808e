"""CDSM's diversity memory: a centre and several margin slots a cluster (SMC 2022)."""

from unreid.memory.diversity.memory import DIVERSITY_MODES, DiversityMemory, DiversityMode

__all__ = ["DIVERSITY_MODES", "DiversityMemory", "DiversityMode"]
