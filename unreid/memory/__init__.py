"""Cluster memories: one contrastive loss, interchangeable banks and update rules."""

from __future__ import annotations

from unreid.memory import camera_rules  # noqa: F401  (registers its rules)
from unreid.memory.base import MEMORIES, HoldsInstances, Memory, build_memory
from unreid.memory.cluster_memory import ClusterMemory
from unreid.memory.diversity.memory import DIVERSITY_MODES, DiversityMemory
from unreid.memory.exclusive_table import ExclusiveTable
from unreid.memory.hybrid_memory import HybridMemory
from unreid.memory.proxy_memory import ProxyMemory
from unreid.memory.update_rules import UPDATE_RULES

__all__ = [
    "DIVERSITY_MODES",
    "MEMORIES",
    "UPDATE_RULES",
    "ClusterMemory",
    "DiversityMemory",
    "ExclusiveTable",
    "HoldsInstances",
    "HybridMemory",
    "Memory",
    "ProxyMemory",
    "build_memory",
]
