"""Faults in every room that a training passes through: config, constraints, neighbours, memory, scores, worlds."""

from __future__ import annotations

from tests.faults.fault import Fault

CHECKS = "config/test_checks.py config/test_rules.py"
LINKS = "constraints/test_mining.py constraints/test_modifiers.py constraints/test_build.py constraints/test_travel.py"
DBSCAN = "clustering/test_dbscan.py"
SELF_PACED = "clustering/test_self_paced.py"
AGREEMENT = "clustering/test_agreement.py"
JACCARD = "neighbors/test_jaccard.py"
KNN = "neighbors/test_knn.py"
AWARE = "neighbors/test_camera_jaccard.py"
CENTERING = "neighbors/test_camera_centering.py"
BANK = "memory/test_cluster_memory.py memory/test_contract.py"
HYBRID = "memory/test_hybrid_memory.py"
GROUPS = "memory/test_grouping.py"
PROXIES = "memory/test_proxy_memory.py losses/test_proxies.py methods/test_o2cap.py memory/test_contract.py"
METRICS = "evaluation/test_metrics.py"
RERANK = "evaluation/test_rerank.py"
REPORT = "evaluation/test_diagnostics.py"
SELECTION = "evaluation/test_selection.py"
WORLD = "data/test_rendering.py data/test_rendered_world.py"
TRANSFORMS = "data/test_transforms.py"
FRAMES = "data/test_frames.py"
BN = "models/test_batch_norm.py"
PPLR = "methods/test_pplr.py"

FAULTS = [
    # ------------------------------------------------------------------------------------------------ config
    Fault("config/checks.py", "if samples // chunks < 2:", "if samples // chunks < 1:", CHECKS),
    Fault("config/checks.py", "if node.K2 > node.K1", "if node.K2 < node.K1", CHECKS),
    Fault(
        "config/checks.py",
        "b <= a for a, b in zip(steps, steps[1:])",
        "b < a for a, b in zip(steps, steps[1:])",
        CHECKS,
    ),
    Fault("config/checks.py", "node.EPS_GAP >= node.EPS", "node.EPS_GAP > node.EPS", CHECKS),
    Fault("config/checks.py", "padding >= min(sides)", "padding >= max(sides)", CHECKS),
    Fault("config/conditions.py", "lambda value: low < value <= high", "lambda value: low <= value <= high", CHECKS),
    Fault("config/conditions.py", "lambda value: 0 <= value < 1", "lambda value: 0 <= value <= 1", CHECKS),
    Fault("config/conditions.py", "re.fullmatch(pattern, value)", "re.match(pattern, value)", "config"),
    Fault("config/values.py", "kind is bool or not isinstance(value, bool)", "True", "config"),
    Fault("config/values.py", "or (kind is float and not math.isfinite(value))", "", "config"),
    Fault("config/values.py", "+ 0.0 if kind is float", "if kind is float", "config"),
    Fault("config/key.py", "mine == theirs", "True", "config/test_declare.py"),
    Fault("config/renamed.py", "return -first", "return first", "config/test_auxusl_keys.py"),
    Fault("config/renamed.py", "if literal(setting.value) != entry.value:", "if False:", "config"),
    # ------------------------------------------------------------------------------------------- constraints
    Fault("constraints/intervals.py", 'end - overlap, side="right"', 'end - overlap, side="left"', LINKS),
    Fault("constraints/intervals.py", "after = start_j - end_i", "after = start_j - start_i", LINKS),
    Fault("constraints/intervals.py", "before > 0, -before, zero", "before > 0, before, zero", LINKS),
    Fault("constraints/mining.py", "kept = rows.tracks[i] != other.tracks[j]", "kept = i != j", LINKS),
    Fault("constraints/mining.py", "| ((seen == b) & (met == a))", "", LINKS),
    Fault("constraints/mining.py", "walked = lags != 0", "walked = lags > 0", LINKS),
    Fault("constraints/travel.py", "np.add.at(counts, (b, a, half - k), 1)", "pass", LINKS),
    Fault("constraints/travel.py", "known = examples >= min_count", "known = examples > min_count", LINKS),
    Fault(
        "constraints/travel.py",
        "table[~known] = unknown\n    return TravelTable(table.astype(np.float32), bin, unknown), examples",
        "return TravelTable(table.astype(np.float32), bin, unknown), examples",
        LINKS,
    ),
    Fault("constraints/travel.py", "shape[::-1]", "shape", LINKS),
    Fault("constraints/modifiers.py", "torch.exp(-self.gamma * value)", "torch.exp(self.gamma * value)", LINKS),
    Fault(
        "constraints/modifiers.py",
        "dist = modifier.change(dist, modifier.relation.at(graph.i, graph.j))",
        "dist = modifier.change(graph.dist, modifier.relation.at(graph.i, graph.j))",
        LINKS,
    ),
    Fault("constraints/relations.py", "(known[place] == wanted).float()", "(known[place] >= wanted).float()", LINKS),
    Fault("constraints/relations.py", "torch.where(gap == 0, torch.zeros_like(value), value)", "value", LINKS),
    Fault(
        "constraints/answers.py",
        "pairs = pairs[group[pairs[:, 0]] != group[pairs[:, 1]]]",
        "pass",
        "constraints clustering methods/test_constraints.py",
    ),
    Fault(
        "constraints/pseudo_labels.py",
        "np.array([known[key] for key in keys], dtype=np.int64), meta",
        "labels.astype(np.int64), meta",
        "constraints",
    ),
    # -------------------------------------------------------------------------------------------- clustering
    Fault("clustering/dbscan.py", "core = degree >= min_samples", "core = degree > min_samples", DBSCAN),
    Fault("clustering/dbscan.py", "touches = ~core[end] & core[other]", "touches = ~core[end]", DBSCAN),
    Fault(
        "clustering/dbscan.py",
        'root[other[touches]], "amin"',
        'root[other[touches]], "amax", include_self=False',
        DBSCAN,
    ),
    Fault(
        "clustering/adaptive_eps.py",
        "graph.n * (graph.n - 1) // 2",
        "graph.n * graph.n // 2",
        "clustering/test_adaptive_eps.py",
    ),
    Fault("clustering/adaptive_eps.py", "+ max(missing, 0)) / count", ") / count", "clustering/test_adaptive_eps.py"),
    Fault(
        "clustering/agreement.py",
        "thr_comp[at], r_indep >= thr_indep[at]",
        "thr_comp[at], r_indep >= thr_comp[at]",
        AGREEMENT,
    ),
    Fault("clustering/agreement.py", "| ~inside", "& inside", AGREEMENT),
    Fault("clustering/self_paced.py", "| (r_comp > id_comp[own])", "", SELF_PACED),
    Fault("clustering/self_paced.py", "r_indep[size > 1]", "r_indep", SELF_PACED),
    Fault("clustering/self_paced.py", "        self.threshold = found.threshold\n", "", SELF_PACED),
    Fault(
        "clustering/size_filter.py",
        "kept = sizes >= max(min_size, 1)",
        "kept = sizes > max(min_size, 1)",
        "clustering/test_scheduled.py methods/test_ccc.py",
    ),
    Fault(
        "clustering/kmeans.py",
        "np.random.SeedSequence([turn.seed, turn.round])",
        "np.random.SeedSequence([turn.seed])",
        "clustering/test_kmeans.py",
    ),
    Fault(
        "clustering/keep_apart.py",
        'np.argsort(-similarity, kind="stable")',
        'np.argsort(similarity, kind="stable")',
        "clustering methods/test_constraints.py",
    ),
    Fault(
        "clustering/keep_apart.py",
        "        if sample not in leaving:\n",
        "        if True:\n",
        "clustering methods/test_constraints.py",
    ),
    # -------------------------------------------------------------------------------------------- neighbours
    Fault("neighbors/jaccard.py", "half = round(k1 / 2) + 1", "half = k1 // 2 + 1", JACCARD),
    Fault("neighbors/jaccard.py", "return k1 if k1_includes_self else k1 + 1", "return k1", JACCARD),
    Fault("neighbors/jaccard.py", "        features = l2_normalize(features, dim=1)\n", "        pass\n", JACCARD),
    Fault(
        "neighbors/jaccard.py",
        "backend.pair_distances(rows, radius + tol, share)",
        "backend.pair_distances(rows, radius, share)",
        JACCARD,
    ),
    Fault("neighbors/rescoring.py", "key = distance.masked_fill(candidates == left, -1.0)", "key = distance", KNN),
    Fault(
        "neighbors/rescoring.py", "key.sort(dim=1, stable=True)", "key.sort(dim=1, descending=True, stable=True)", KNN
    ),
    Fault(
        "neighbors/symmetric_scan.py",
        "best[rows].amax(1)[:, None]) | (distance < best[columns].amax(1))",
        "best[rows].amax(1)[:, None])",
        KNN,
    ),
    Fault("neighbors/metric.py", "square / 2 if metric", "square if metric", "neighbors/test_metric.py"),
    Fault(
        "neighbors/metric.py", "        rows = normalize(rows, dim=1)\n", "        pass\n", "neighbors/test_metric.py"
    ),
    Fault("neighbors/camera_centering.py", "    means[sizes == 1] = overall\n", "", CENTERING),
    Fault("neighbors/camera_centering.py", "    centered[~known] = 0\n", "", CENTERING),
    Fault("neighbors/camera_centering.py", "torch.where(known, cameras, -1)", "cameras", CENTERING),
    Fault(
        "neighbors/camera_jaccard.py",
        "aware.intra[:, :k2_intra], aware.inter",
        "aware.inter[:, :k2_intra], aware.inter",
        AWARE,
    ),
    Fault("neighbors/camera_jaccard.py", "fresh[1:] = key[1:] != key[:-1]", "pass", AWARE),
    Fault(
        "neighbors/camera_lists.py", "order[lists.intra], order[lists.inter]", "order[lists.intra], lists.inter", AWARE
    ),
    # ------------------------------------------------------------------------------------------------ memory
    Fault("memory/base.py", "F.normalize(features, dim=1) if self.normalize_inputs else features", "features", BANK),
    Fault("memory/base.py", "        self.updates += 1\n", "", BANK),
    Fault("memory/cluster_memory.py", "self.bank = F.normalize(rows, dim=1)", "self.bank = rows", BANK),
    Fault(
        "memory/cluster_memory.py", "[: self.negatives]", "", "memory/test_negatives.py memory/test_cluster_memory.py"
    ),
    Fault("memory/negatives.py", "(len(rows) - 1) / drawn", "len(rows) / drawn", "memory/test_negatives.py"),
    Fault("memory/negatives.py", ".masked_fill(hit, -torch.inf)", "", "memory/test_negatives.py"),
    Fault("memory/grouping.py", "torch.sort(targets, stable=True)", "torch.sort(targets, descending=True)", GROUPS),
    Fault("memory/grouping.py", "valid = table >= 0", "valid = table > 0", GROUPS),
    Fault(
        "memory/camera_rules.py",
        "far = 1.0 - similarities(rows, samples)",
        "far = 1.0 + similarities(rows, samples)",
        BANK,
    ),
    Fault("memory/camera_rules.py", "valid & (leader_index == position)", "valid", BANK),
    Fault("memory/hybrid_memory.py", "scale = self.temp * self.class_size.clamp(min=1)", "scale = self.temp", HYBRID),
    Fault("memory/hybrid_memory.py", "logits = logits.masked_fill(self.class_size == 0, -torch.inf)", "pass", HYBRID),
    Fault("memory/hybrid_memory.py", ".masked_fill((repeats.rank > 0).unsqueeze(1), 0.0)", "", HYBRID),
    Fault("memory/hybrid_memory.py", "classes + alone.cumsum(0) - 1", "classes + alone.cumsum(0)", HYBRID),
    Fault(
        "memory/proxy_memory.py",
        "self.balance * similarity + (1.0 - self.balance) * between",
        "(1.0 - self.balance) * similarity + self.balance * between",
        PROXIES,
    ),
    Fault(
        "memory/proxy_memory.py", "self.resets > self.inter_after and", "self.resets >= self.inter_after and", PROXIES
    ),
    Fault(
        "memory/proxy_memory.py", "~self.seen[targets][:, self.camera]", "self.seen[targets][:, self.camera]", PROXIES
    ),
    # ------------------------------------------------------------------------------------------------ models
    Fault(
        "models/batch_norm.py",
        "self.weight, self.bias, True, 0.0, self.eps",
        "self.weight, self.bias, True, 0.0, 0.1",
        BN,
    ),
    Fault("models/batch_norm.py", "        layer.momentum = None  # cumulative average\n", "", BN),
    Fault("models/batch_norm.py", "return total // world", "return total", "models/test_batch_norm.py"),
    Fault("models/folded_norms.py", "layer.bias.add_(layer.running_mean)", "pass", "models"),
    Fault(
        "models/embedding.py",
        "F.relu(neck) if self.neck_relu else neck",
        "neck",
        "models/test_embedding.py models/test_public_layouts.py",
    ),
    Fault(
        "models/embedding.py",
        "                    layer.eval()\n",
        "                    pass\n",
        "models/test_embedding.py",
    ),
    Fault(
        "models/embedding.py",
        "camids = camids.repeat_interleave(clip_len)",
        "camids = camids.repeat(clip_len)",
        "models/test_embedding.py models/test_vit.py",
    ),
    # ----------------------------------------------------------------------------------------------- methods
    Fault("methods/pplr.py", "if at.round < self.aals_round:", "if at.round <= self.aals_round:", PPLR),
    Fault("methods/pplr.py", "self.heads.classifier[:, : self.num_clusters] = parts", "pass", PPLR),
    Fault("methods/pplr.py", "batch.camids, classes=self.num_clusters)", "batch.camids)", PPLR),
    Fault(
        "methods/parts.py",
        "images = slice(rows.real)",
        "images = slice(None)",
        "methods/test_losses.py methods/test_combinations.py",
    ),
    Fault(
        "methods/parts.py",
        "weight * loss(inputs)",
        "loss(inputs)",
        "methods/test_losses.py methods/test_combinations.py",
    ),
    Fault(
        "methods/parts.py",
        "torch.stack(found).prod(dim=0)",
        "torch.stack(found).sum(dim=0)",
        "methods/test_losses.py methods/test_combinations.py methods/test_ccc.py",
    ),
    # -------------------------------------------------------------------------------------------- evaluation
    Fault("evaluation/metrics.py", "drop = same_pid & same_cam", "drop = same_cam", METRICS),
    Fault("evaluation/metrics.py", "return same_pid & ~drop, drop", "return same_pid, drop", METRICS),
    Fault("evaluation/metrics.py", "found.negatives[:, 0] + 1, 0)", "found.negatives[:, 0], 0)", METRICS),
    Fault("evaluation/metrics.py", "self.hits.cumsum() / num_valid", "self.hits.cumsum() / len(self.matches)", METRICS),
    Fault("evaluation/rerank.py", "jaccard.mul_(1.0 - lambda_value)", "jaccard.mul_(lambda_value)", RERANK),
    Fault("evaluation/rerank.py", "max(k1 + 1, k2)", "max(k1, k2)", RERANK),
    Fault("evaluation/camera_rerank.py", "dist + _EXCLUDED * ~same", "dist + _EXCLUDED * same", "evaluation"),
    Fault(
        "evaluation/diagnostics.py",
        "_pairs(pids[known]) - _pairs(pids[known], camids[known])",
        "_pairs(pids[known])",
        REPORT,
    ),
    Fault(
        "evaluation/diagnostics.py",
        "_share(together, _pairs(pids[known]))",
        "_share(together, _pairs(pids[inside]))",
        REPORT,
    ),
    Fault("evaluation/selection.py", "* float(both.sum()) / float(either.sum())", "", SELECTION),
    Fault(
        "evaluation/selection.py", "score * min(1.0, crossing)", "score * crossing", "evaluation engine/test_tuning.py"
    ),
    Fault(
        "evaluation/baselines.py",
        "rows - rows.mean(axis=1, keepdims=True)",
        "rows",
        "evaluation/test_baselines.py",
    ),
    # --------------------------------------------------------------------------------------------- rendering
    Fault("rendering/seeding.py", "[_FAMILY, seed, int(purpose), *key]", "[_FAMILY, int(purpose), *key]", WORLD),
    Fault("rendering/layouts.py", "if half is Half.TEST and passage.repeat == 0:", "if half is Half.TEST:", WORLD),
    Fault(
        "rendering/layouts.py",
        'held_out = listed == "list_train" and position == len(paths) - 1',
        "held_out = False",
        "data",
    ),
    Fault("rendering/plan.py", "(1 if passage.half is Half.TRAIN else 2)", "1", WORLD),
    Fault(
        "rendering/timeline.py", "frame - self.camera_starts[camera] + 1", "frame - self.camera_starts[camera]", WORLD
    ),
    Fault("rendering/timeline.py", "/ speed * FRAME_RATE", "* speed * FRAME_RATE", WORLD),
    Fault("rendering/worker.py", "size = -(-len(rolls) // workers)", "size = max(1, len(rolls) // workers)", WORLD),
    Fault("rendering/camera.py", "sampling if strength > 0 else 1.0", "sampling", WORLD),
    # -------------------------------------------------------------------------------------------------- data
    Fault("data/color.py", "images * share + other * (1 - share)", "images * (1 - share) + other * share", TRANSFORMS),
    Fault("data/color.py", "2 + (blue - red) / divisor", "2 + (red - blue) / divisor", TRANSFORMS),
    Fault("data/erasing.py", "(erased & fits.any(axis=1))[:, None]", "erased[:, None]", TRANSFORMS),
    Fault("data/erasing.py", "np.sqrt(areas / aspects)", "np.sqrt(areas * aspects)", TRANSFORMS),
    Fault("data/frames.py", "return np.sort(drawn).astype(np.int64)", "return drawn.astype(np.int64)", FRAMES),
    Fault("data/frames.py", "np.arange(length) % (n - begin)", "np.arange(length) % n", FRAMES),
    Fault("data/augment_params.py", "generator(0).random(n)", "generator(1).random(n)", "data"),
    Fault("data/augment_params.py", "2 * self.padding + 1", "2 * self.padding", "data"),
    Fault(
        "data/datasets/manifest_table.py",
        "strict=True",
        "strict=False",
        "data/test_manifest.py data/test_datasets_folder.py",
    ),
    Fault(
        "data/datasets/mars.py",
        '_matrix(file, "query_IDX").ravel() - 1',
        '_matrix(file, "query_IDX").ravel()',
        "data/test_datasets_video.py",
    ),
    # ------------------------------------------------------------------------------------- structures, utils
    Fault("utils/means.py", "order = order[int((keys < 0).sum()) :]", "pass", "utils/test_means.py"),
    Fault("utils/means.py", "counts.clamp(min=1)", "counts", "utils/test_means.py"),
    Fault("utils/npz.py", "if dtype.hasobject:", "if False:", "utils constraints/test_relation_file.py workbench"),
    Fault(
        "utils/npz.py",
        "if sum(entry.file_size for entry in entries) > allowed:",
        "if False:",
        "utils constraints workbench",
    ),
    Fault("utils/registry.py", "if folded in self._table:", "if False:", "utils/test_registry.py"),
    Fault(
        "utils/state.py",
        "good = int in kinds or float in kinds",
        "good = int in kinds",
        "engine/test_checkpoints.py utils",
    ),
    Fault("utils/state.py", "if unknown is not None:", "if False:", "engine/test_checkpoints.py utils"),
    Fault(
        "utils/plugins.py", "        del sys.modules[name]\n        raise\n", "        raise\n", "utils/test_plugins.py"
    ),
    Fault("utils/lockfile.py", 'return started != holder.get("started")', "return False", "utils/test_lockfile.py"),
]
