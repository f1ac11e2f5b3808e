"""Recorded cases of the cluster memories and of the losses that go with them."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from unreid.losses import (
    camera_entropy,
    camera_entropy_weights,
    interpolation_degree,
    label_preserving_loss,
    support_samples,
)
from unreid.memory import ClusterMemory, DiversityMemory, ExclusiveTable, HybridMemory
from unreid.memory.camera_rules import camera_groups, camera_harmonic_discrepancy, select_most_discrepant
from unreid.memory.contrast import cross_entropy
from unreid.memory.diversity.filling import Members
from unreid.memory.grouping import group_by_class
from unreid.structures import Clustering

from .cases import Case, checks


def tensors(case: Case) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.array(array)) for name, array in case.arrays().items()}


def close(actual: Tensor, expected: Tensor, *, rtol: float = 0.0, atol: float = 0.0) -> None:
    torch.testing.assert_close(actual.detach().to(expected.dtype), expected, rtol=rtol, atol=atol)


def cluster_memory(bank: Tensor, **options: object) -> ClusterMemory:
    memory = ClusterMemory(bank.shape[1], **options)  # type: ignore[arg-type]
    memory.bank = bank.clone()
    return memory


@checks("common", "ClusterMemory (every-sample update)", "ClusterMemory (hardest-sample update)")
def check_cluster_memory(case: Case) -> None:
    data, params = tensors(case), case.params
    memory = cluster_memory(
        data["memory_before"], update=params["sample_type"], temp=params["temp"], momentum=params["momentum"]
    )
    inputs = data["inputs"].requires_grad_()
    loss = memory(inputs, data["targets"])
    loss.backward()
    memory.update(inputs, data["targets"])
    close(loss, data["loss"], rtol=1e-5)
    close(inputs.grad, data["grad_inputs"], atol=1e-6)
    close(memory.bank, data["memory_after"], atol=1e-5)


@checks("ise", "PLI degree schedule")
def check_interpolation_degree(case: Case) -> None:
    data, params = case.arrays(), case.params
    total = params["epochs"] * params["train_iters"]
    for row, epoch in enumerate(data["epochs_listed"]):
        steps = int(epoch) * params["train_iters"] + np.arange(params["train_iters"])
        degree = [interpolation_degree(int(step), total, params["support_base_lambda"]) for step in steps]
        np.testing.assert_allclose(degree, data["cur_lambda"][row], rtol=1e-12)
        np.testing.assert_allclose(0.5 * np.array(degree), data["step_coefficient"][row], rtol=1e-12)


@checks("ise", "support samples")
def check_support_samples(case: Case) -> None:
    data, params = tensors(case), case.params
    features = data["feats"].requires_grad_()
    supports = support_samples(
        features, data["centres"], data["labels"], degree=params["cur_lambda"], topk=params["topk"]
    )
    close(supports.features, data["supports"], atol=1e-6)
    assert torch.equal(supports.targets, data["support_labels"])
    assert torch.equal(supports.neighbors, data["nearest_index"])
    # The recorded ratio has a 1 in its first column, where the reference divides the column by itself.
    close(supports.similarity[:, 1:], data["nearest_ratio"][:, 1:], rtol=1e-5)
    weights = torch.linspace(-1, 1, supports.features.numel()).view_as(supports.features)
    (supports.features * weights).sum().backward()
    close(features.grad, data["grad_feats"], atol=1e-6)


@checks("ise", "label-preserving loss")
def check_label_preserving_loss(case: Case) -> None:
    data, params = tensors(case), case.params
    for suffix, grouping in (("", "label"), ("_reference", "chunk")):
        features = data["feats"].clone().requires_grad_()
        supports = data["supports"].clone().requires_grad_()
        loss = label_preserving_loss(
            features,
            supports,
            data["labels"],
            data["support_labels"],
            temp=params["temp_lp_loss"],
            grouping=grouping,
            chunk=params["topk"] * params["num_instances"],
        )
        loss.backward()
        close(loss, data["loss" + suffix], rtol=1e-5)
        close(features.grad, data["grad_feats" + suffix], atol=1e-6)
        close(supports.grad, data["grad_supports" + suffix], atol=1e-6)


@checks("ise", "one ISE training step behind the encoder")
def check_ise_step(case: Case) -> None:
    data, params = tensors(case), case.params
    memory = cluster_memory(
        data["centres_before"], update=params["sample_type"], temp=params["temp"], momentum=params["momentum"]
    )
    inputs = data["inputs"].clone().requires_grad_()
    features, targets = F.normalize(inputs, dim=1), data["labels"]
    supports = support_samples(features, memory.rows, targets, degree=params["cur_lambda"], topk=params["topk"])
    rows, labels = torch.cat((features, supports.features)), torch.cat((targets, supports.targets))
    loss_cc = memory(rows, labels)
    temp = params["temp_lp_loss"]
    loss_lp = label_preserving_loss(features, supports.features, targets, supports.targets, temp=temp)
    loss = params["loss_weight"] * loss_cc + params["lp_loss_weight"] * loss_lp
    loss.backward()
    memory.update(rows, labels)
    close(supports.features, data["supports"], atol=1e-6)
    for name, value in (("loss_cc", loss_cc), ("loss_lp", loss_lp), ("loss_total", loss)):
        close(value, data[name], rtol=1e-5)
    close(inputs.grad, data["grad_inputs"], atol=2e-6)
    close(memory.bank, data["centres_after"], atol=1e-5)


@checks("ccc", "cie")
def check_camera_entropy(case: Case) -> None:
    data = tensors(case)
    check_entropy(data, "in_targets", "in_cameras", None)


def check_entropy(data: dict[str, Tensor], targets_name: str, cameras_name: str, step: int | None) -> None:
    def at(name: str) -> Tensor:
        return data[name] if step is None else data[name][step]

    targets = at(targets_name)
    entropy = camera_entropy(targets, at(cameras_name))
    close(entropy.weights, at("out_sample_weight"), atol=1e-5)
    close(entropy.bits, at("out_entropy_bits")[targets], atol=1e-5)
    close(entropy.weights, at("out_cluster_weight")[targets], atol=1e-5)
    absent = torch.ones_like(at("out_entropy_bits"), dtype=torch.bool).index_fill(0, targets, False)
    assert torch.equal(absent, at("out_entropy_bits").isnan())


@checks("ccc", "memory")
def check_camera_memory(case: Case) -> None:
    data, params = tensors(case), case.params
    for step in range(params["steps"]):
        check_entropy(data, "in_targets", "in_cameras", step)
    for mode in params["modes"]:
        memory = cluster_memory(data["in_memory"], update=mode, temp=params["temperature"], momentum=params["momentum"])
        for step in range(params["steps"]):
            check_camera_step(memory, data, mode, step)


def check_camera_step(memory: ClusterMemory, data: dict[str, Tensor], mode: str, step: int) -> None:
    targets, cameras = data["in_targets"][step], data["in_cameras"][step]
    for kind, weights in (("plain", None), ("cie", camera_entropy_weights(targets, cameras))):
        stem = f"{mode}_{kind}" if f"out_loss_{mode}_{kind}" in data else kind
        inputs = data["in_x"][step].clone().requires_grad_()
        loss = memory(inputs, targets, weights=weights, camids=cameras)
        loss.backward()
        close(loss, data[f"out_loss_{stem}"][step], rtol=2e-5, atol=2e-6)
        close(inputs.grad, data[f"out_grad_{stem}"][step], atol=1e-6, rtol=1e-4)
    if mode == "hd_camera":
        check_chd_selection(memory, data, step)
    memory.update(data["in_x"][step], targets, camids=cameras)
    close(memory.bank, data[f"out_memory_{mode}"][step], atol=2e-6)


def check_chd_selection(memory: ClusterMemory, data: dict[str, Tensor], step: int) -> None:
    targets, cameras = data["in_targets"][step], data["in_cameras"][step]
    groups = group_by_class(targets)
    samples = F.normalize(data["in_x"][step], dim=1)[groups.table]
    rows, camids = memory.bank[groups.label], cameras[groups.table]
    chosen = select_most_discrepant(rows, samples, groups.valid, camids).unsqueeze(1)
    index = torch.full((memory.num_clusters,), -1).scatter(0, groups.label, groups.table.gather(1, chosen).flatten())
    assert torch.equal(index, data["out_chd_selected_index"][step])
    value = camera_harmonic_discrepancy(rows, samples, camera_groups(groups.valid, camids)).gather(1, chosen)
    close(value.flatten(), data["out_chd_selected_value"][step][groups.label], atol=1e-5)


@checks("cdsm", "memory")
def check_diversity_memory(case: Case) -> None:
    data, params = tensors(case), case.params
    memory = DiversityMemory(
        params["D"],
        mode=params["mode"],
        slots=params["S"],
        hard_weight=params["hard_weight"],
        temp=params["temp"],
        momentum=params["momentum"],
        smooth=params["smooth"],
        normalize_inputs=False,  # the recorded gradients are those of the similarities alone
    )
    memory.bank = data["memory_before"].clone()
    for step in range(params["T"]):
        check_diversity_step(memory, data, step)


def check_diversity_step(memory: DiversityMemory, data: dict[str, Tensor], step: int) -> None:
    inputs, targets = data["inputs"][step].clone().requires_grad_(), data["targets"][step]
    before = memory.bank.clone()
    logits = memory.loss_logits(inputs.detach(), targets)
    assert len(logits) == data["ce_terms"].shape[1]
    for k, term in enumerate(logits):
        close(term, data[f"ce_logits_{k}"][step], atol=5e-5)
        close(cross_entropy(term, targets, smooth=memory.smooth), data["ce_terms"][step, k], rtol=1e-5, atol=1e-6)
    loss = memory(inputs, targets)
    loss.backward()
    close(loss, data["loss"][step], rtol=1e-5, atol=1e-6)
    expected = data["grad_inputs"][step]
    close(inputs.grad, expected, atol=1e-4 * float(expected.abs().max()))
    assert torch.equal(memory.bank, before)

    reliable = None
    if "r_comp_all" in data:
        index = data["indexes"][step]
        reliable = (data["r_comp_all"][index] >= data["clu_r_comp"][targets]) | (
            data["r_indep_all"][index] >= data["clu_r_indep"][targets]
        )
    memory.update(data["inputs_ema"][step], targets, reliable=reliable)
    close(memory.bank, data["memory_after"][step], atol=2e-6)
    assert torch.equal((memory.bank != before).any(1), data["rows_changed"][step])


@checks("cdsm", "memory_init")
def check_memory_init(case: Case) -> None:
    data, params = tensors(case), case.params
    core = torch.zeros(len(data["labels"]), dtype=torch.bool).index_fill(0, data["core_index"], True)
    clustering = Clustering(data["labels"], params["C"], core=core)
    for mode, name in (
        ("cm", "CM"),
        ("cm_hard", "CM"),
        ("cm_hybrid", "CMhybrid"),
        ("v3", "v3"),
        ("v4", "v4"),
        ("v5", "v4"),
    ):
        memory = DiversityMemory(params["D"], mode=mode, slots=params["S"])
        memory.reset(data["features"], clustering)
        close(memory.bank, data[f"init_{name}"], atol=1e-6)
        if f"init_{name}_raw" in data:
            members = Members(data["features"], data["labels"], core, None, params["C"], params["S"], torch.Generator())
            close(memory.mode.fill(members).flatten(0, 1), data[f"init_{name}_raw"], atol=1e-6)
    memory = DiversityMemory(params["D"], mode="v2", slots=params["S"])
    memory.reset(data["features"], clustering)
    mean, instances = memory.bank.view(params["S"] + 1, params["C"], -1).split((1, params["S"]))
    close(mean[0], data["init_CM"], atol=1e-6)
    for cluster in range(params["C"]):
        members = F.normalize(data["features"][data["labels"] == cluster], dim=1)
        assert torch.cdist(instances[:, cluster], members).amin(1).max() < 1e-3


@checks("spcl", "hybrid_memory")
def check_hybrid_memory(case: Case) -> None:
    data, params = tensors(case), case.params
    tolerance = {key: case.entry["tolerance"][key] for key in ("rtol", "atol")}
    memory = HybridMemory(
        data["in_features"].shape[1], temp=params["temp"], momentum=params["momentum"], normalize_inputs=False
    )
    labels = data["in_labels"]
    memory.reset(data["in_features"], Clustering(labels, int(labels.max()) + 1))
    for step in range(params["steps"]):
        index = data["in_index"][step]
        inputs = data["in_x"][step].clone().requires_grad_()
        loss = memory(inputs, labels[index], indices=index)
        loss.backward()
        memory.update(inputs, labels[index], indices=index)
        close(loss, data["out_loss"][step], **tolerance)
        close(inputs.grad, data["out_grad"][step], **tolerance)
        close(memory.instances, data["out_features"][step], **tolerance)


@checks("buc", "exclusive_loss")
def check_exclusive_table(case: Case) -> None:
    data, params = tensors(case), case.params
    tolerance = {key: case.entry["tolerance"][key] for key in ("rtol", "atol")}
    table = ExclusiveTable(data["in_V0"].shape[1], temp=1.0 / params["t"])
    table.bank = data["in_V0"].clone()
    for step in range(params["steps"]):
        inputs, targets = data["in_x"][step].clone().requires_grad_(), data["in_y"][step]
        close(params["t"] * inputs @ table.rows.t(), data["out_logits"][step], **tolerance)
        loss = table(inputs, targets)
        loss.backward()
        table.update(inputs, targets)
        close(loss, data["out_loss"][step], **tolerance)
        close(inputs.grad, data["out_grad"][step], **tolerance)
        close(table.bank, data["out_V"][step], **tolerance)
