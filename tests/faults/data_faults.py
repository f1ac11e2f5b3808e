"""Faults in what a step sees (samplers, batches, streams) and in the clusterers' contracts."""

from __future__ import annotations

from tests.faults.fault import Fault

SAMPLERS = "data/test_samplers.py"
LOADER = "data/test_loader.py"
CONTRACT = "clustering/test_contract.py"

FAULTS = [
    Fault("data/samplers.py", "members = members[size[cluster] > 1]", "members = members[size[cluster] > 0]", SAMPLERS),
    Fault("data/samplers.py", "pool[anchor] = self._size == 1", "pool[anchor] = True", SAMPLERS),
    Fault(
        "data/samplers.py",
        "elsewhere = camids != camids[anchor][self._cluster]",
        "elsewhere = camids == camids[anchor][self._cluster]",
        SAMPLERS,
    ),
    Fault("data/samplers.py", "enough = size >= self.num_instances", "enough = size >= wanted", SAMPLERS),
    Fault("data/samplers.py", "used[:, 1:] = (self._size > 1)[:, None]", "pass", SAMPLERS),
    Fault(
        "data/samplers.py",
        "clusters = generator.permutation(self.num_clusters)",
        "clusters = np.arange(self.num_clusters)",
        SAMPLERS,
    ),
    Fault(
        "data/samplers.py",
        "self._members = np.flatnonzero(self.labels >= 0)",
        "self._members = np.flatnonzero(self.labels >= -1)",
        SAMPLERS,
    ),
    Fault(
        "data/samplers.py",
        "super().__init__(labels, None, *args, **kwargs)",
        "super().__init__(labels, camids, *args, **kwargs)",
        SAMPLERS,
    ),
    Fault("data/batches.py", "divmod(step, self._steps_per_chain)", "(0, step % self._steps_per_chain)", SAMPLERS),
    Fault("data/batches.py", "self._chain[0] != (epoch, chain)", "self._chain[0][1] != chain", SAMPLERS),
    Fault("data/batches.py", "self.seed, epoch, number)", "self.seed, epoch, 0)", SAMPLERS),
    Fault("data/batches.py", "range(start_step, self.iters)", "range(self.iters)", LOADER),
    Fault(
        "data/loader.py",
        "self.seed, epoch, step, number).rows(images)",
        "self.seed, epoch, 0, number).rows(images)",
        LOADER,
    ),
    Fault(
        "data/loader.py",
        "self.seed, epoch, step, number).rows(images)",
        "self.seed, epoch, step, 0).rows(images)",
        LOADER,
    ),
    Fault("data/loader.py", "slice(rank * share, (rank + 1) * share)", "slice(0, share)", LOADER),
    Fault("data/loader.py", "slots[slot] = mates[0] if len(mates) else usable[0]", "slots[slot] = usable[0]", LOADER),
    Fault("utils/seed.py", "words = [len(keys)]", "words = []", "utils/test_seed.py"),
    Fault("utils/writing.py", "                os.fsync(sink.fileno())\n", "", "utils/test_writing.py"),
    Fault(
        "models/ema.py", "weight = 1.0 - ema_decay(step, self.alpha)", "weight = 1.0 - self.alpha", "models/test_ema.py"
    ),
    Fault("structures/clustering.py", "if len(found) and found[0] < 0:", "if False:", "test_structures.py"),
    Fault(
        "structures/clustering.py",
        "good = (array >= -1) & (array <= exact)",
        "good = (array <= exact)",
        "test_structures.py",
    ),
    Fault("clustering/base.py", "if graph.radius < (", "if graph.radius < 0 * (", CONTRACT),
    Fault("neighbors/jaccard.py", "radius: float = MAX_RADIUS,", "radius: float = 0.6,", CONTRACT),
]
