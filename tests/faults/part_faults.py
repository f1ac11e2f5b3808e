"""Faults in the parts of a method: clusterers, losses, and the signs that labels mislead."""

from __future__ import annotations

from tests.faults.fault import Fault

PER_CAMERA = "clustering/test_per_camera.py"
SIGNS = "evaluation/test_label_signs.py"
IDENTITY = "losses/test_identity.py"
TRIPLET = "losses/test_triplet.py"
PARTS = "losses/test_part_agreement.py methods/test_pplr.py"

FAULTS = [
    # --------------------------------------------------------------------------------- clustering/per_camera
    Fault("clustering/per_camera.py", "margins.argsort(descending=True, stable=True)", "margins.argsort()", PER_CAMERA),
    Fault("clustering/per_camera.py", "if a == b or held[a] & held[b]:", "if a == b:", PER_CAMERA),
    Fault("clustering/per_camera.py", "held[a] |= held.pop(b)", "held.pop(b)", PER_CAMERA),
    Fault("clustering/per_camera.py", "            members[a].append(number)\n", "", PER_CAMERA),
    Fault(
        "clustering/per_camera.py",
        "torch.maximum(_second(similar)[rows], _second(similar.t())[forth[rows]])",
        "torch.minimum(_second(similar)[rows], _second(similar.t())[forth[rows]])",
        PER_CAMERA,
    ),
    Fault(
        "clustering/per_camera.py",
        "torch.where(found >= 0, found + first, -1)",
        "torch.where(found >= 0, found, -1)",
        PER_CAMERA,
    ),
    Fault("clustering/per_camera.py", "round_up(self.links_share * len(pairs))", "len(pairs)", PER_CAMERA),
    Fault("clustering/per_camera.py", "similar.topk(2, dim=1).values[:, 1]", "similar.amax(dim=1)", PER_CAMERA),
    # -------------------------------------------------------------------------------- evaluation/label_signs
    Fault("evaluation/label_signs.py", "large = sizes > 1", "large = sizes > 0", SIGNS),
    Fault("evaluation/label_signs.py", "float(size.sum()) / len(labels)", "float(size.sum()) / inside.sum()", SIGNS),
    Fault("evaluation/label_signs.py", "across = 1 - same[large]", "across = same[large]", SIGNS),
    Fault("evaluation/label_signs.py", "(across * size).sum() / size.sum()", "across.mean()", SIGNS),
    Fault("evaluation/label_signs.py", "(of_size * often).sum() / often.sum()", "of_size.mean()", SIGNS),
    Fault("evaluation/label_signs.py", "signs.chance < signs.single / 2", "signs.chance < signs.single", SIGNS),
    Fault("evaluation/label_signs.py", "len(last) > rounds and all(", "all(", SIGNS),
    Fault("evaluation/label_signs.py", "last = scores[-rounds - 1 :]", "last = scores[-rounds:]", SIGNS),
    Fault("evaluation/label_signs.py", "< share * max(scores)", "< share * scores[0]", SIGNS),
    Fault("evaluation/label_signs.py", "- counts + neighbor - 2", "- counts + neighbor - 1", SIGNS),
    Fault("evaluation/label_signs.py", "torch.cat((graph.i, graph.j))", "torch.cat((graph.i, graph.i))", SIGNS),
    # ------------------------------------------------------------------------------------------------ losses
    Fault(
        "losses/base.py",
        "float(weight or 1.0), LOSSES",
        "1.0, LOSSES",
        "methods/test_losses.py",
    ),
    Fault("losses/base.py", "LOSSES.get(name).from_config(cfg)", "LOSSES.get(name)()", "methods/test_losses.py"),
    Fault("losses/identity.py", "label_smoothing=epsilon", "label_smoothing=0.0", IDENTITY),
    Fault("losses/identity.py", "nearest[targets]", "nearest", IDENTITY),
    Fault("losses/identity.py", "epsilon / max(1, k or nearest.shape[1])", "epsilon / nearest.shape[1]", IDENTITY),
    Fault("losses/identity.py", "return -((1.0 - epsilon) * own", "return -(own", IDENTITY),
    Fault("losses/identity.py", 'return {"nearest": self.nearest}', 'return {"nearest": None}', IDENTITY),
    Fault("losses/identity.py", "cfg.MODEL.LOSSES.CE.EPSILON, cfg.MODEL", "0.1, cfg.MODEL", "methods/test_losses.py"),
    Fault("losses/triplet.py", "masked_fill(~same, -1.0).argmax", "masked_fill(~same, torch.inf).argmin", TRIPLET),
    Fault("losses/triplet.py", "masked_fill(same, torch.inf)", "masked_fill(~same, torch.inf)", TRIPLET),
    Fault("losses/triplet.py", "- 2.0 * products(", "- products(", TRIPLET),
    Fault("losses/support_scores.py", "+ self.share**2 *", "- self.share**2 *", "losses/test_support_samples.py"),
    Fault("utils/products.py", "grad + grad.t()", "grad", "utils/test_products.py"),
    Fault("utils/processors.py", "math.ceil(quota)", "math.ceil(quota) + 1", "utils/test_processors.py"),
    Fault("losses/triplet.py", "F.softplus(positive - negative)", "F.softplus(negative - positive)", TRIPLET),
    Fault("losses/triplet.py", "positive - negative + margin)", "positive - negative - margin)", TRIPLET),
    Fault("losses/triplet.py", "torch.exp(lambda_ * violation)", "torch.exp(lambda_ * violation).detach()", TRIPLET),
    Fault("losses/triplet.py", "clamp(min=MIN_SQUARED).sqrt()", "sqrt()", TRIPLET),
    Fault(
        "losses/triplet.py", "torch.where(valid, values, values.new_zeros(())).mean()", "values[valid].mean()", TRIPLET
    ),
    Fault("losses/part_agreement.py", "(2 * k - both)", "k", PARTS),
    Fault(
        "losses/part_agreement.py",
        "softmax(agreement, dim=1)",
        "softmax(agreement, dim=0)",
        "losses/test_part_agreement.py",
    ),
    Fault("losses/part_agreement.py", "part_logits.detach()", "part_logits", PARTS),
    Fault("losses/part_agreement.py", "-chance.mean(1) - math.log(", "-chance.mean(1) + math.log(", PARTS),
    Fault("losses/part_agreement.py", "(1.0 - agreement) * uniform", "agreement * uniform", PARTS),
]
