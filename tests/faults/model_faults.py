"""Faults in the networks and in the reading of other people's weights."""

from __future__ import annotations

from tests.faults.fault import Fault

OSNET = "models/test_osnet.py"
TIMM = "models/test_timm_backbone.py models/test_timm_families.py"
LAYOUTS = "models/test_public_layouts.py"
DOMAINS = "models/test_domain_bn.py"
SHIPPED = "models/test_shipped_weights.py"

FAULTS = [
    # --------------------------------------------------------------------------------------------- domain BN
    Fault("models/domain_bn.py", "source, target = x.chunk(2)", "target, source = x.chunk(2)", DOMAINS),
    Fault("models/domain_bn.py", "if not (self.training and self.joint):", "if not self.joint:", DOMAINS),
    Fault("models/domain_bn.py", "            layer.joint = False\n", "            pass\n", DOMAINS),
    Fault("models/domain_bn.py", "copy.deepcopy(layer)", "layer", DOMAINS),
    Fault("models/batch_norm.py", "twin.running_mean, twin", "_, twin", DOMAINS),
    Fault("models/batch_norm.py", "twin.weight, twin.bias = layer.weight, layer.bias", "pass", DOMAINS),
    Fault("models/domain_bn.py", "        layer.source.load_state_dict(own)\n", "        pass\n", DOMAINS),
    Fault("models/domain_bn.py", "key not in fitted and target in fitted", "target in fitted", DOMAINS),
    Fault("models/domain_bn.py", "if SOURCE not in key or key in expected", "if SOURCE not in key", DOMAINS),
    Fault(
        "models/domain_bn.py",
        "torch.cat([self.source(source), super().forward(target)])",
        "torch.cat([super().forward(target), self.source(source)])",
        DOMAINS,
    ),
    # ------------------------------------------------------------------------------------------------- OSNet
    Fault("models/osnet.py", "((True, True), (False, True), (True, False))", "((True, True),) * 3", OSNET),
    Fault("models/osnet.py", "return x if self.linear else", "return", OSNET),
    Fault("models/osnet.py", "self.conv2(self.conv1(x))", "self.conv1(self.conv2(x))", OSNET),
    Fault("models/osnet.py", ".sigmoid()", ".softmax(dim=1)", OSNET),
    Fault("models/osnet.py", "x.mean(dim=(2, 3), keepdim=True)", "x.amax(dim=(2, 3), keepdim=True)", OSNET),
    Fault("models/osnet.py", "self.conv3.bn = nn.Identity()", "pass", OSNET),
    Fault(
        "models/osnet.py", 'sum_norm=instance_norm == "ibn" and number == 0', 'sum_norm=instance_norm == "ibn"', OSNET
    ),
    Fault("models/osnet.py", "x if self.downsample is None", "reduced if self.downsample is None", OSNET),
    Fault("models/osnet.py", "nn.AvgPool2d(2)", "nn.MaxPool2d(2)", OSNET),
    Fault("models/osnet.py", "if number < 2 else None", "if number < 3 else None", OSNET),
    Fault("models/osnet.py", "if last_stride != 1:", "if False:", OSNET),
    Fault("models/osnet.py", "nn.init.zeros_(module.bias)", "pass", OSNET),
    Fault("models/osnet.py", '"stem": ("conv1", "maxpool")', '"stem": ("conv1",)', OSNET),
    Fault("models/osnet.py", "get(len(stem))", "get(64)", OSNET),
    # -------------------------------------------------------------------------------------------------- timm
    Fault("models/timm_backbone.py", "features.permute(0, 3, 1, 2) if", "features.permute(0, 3, 2, 1) if", TIMM),
    Fault("models/timm_backbone.py", "parameter.requires_grad_(False)", "pass", TIMM),
    Fault("models/timm_backbone.py", '"pooled" if tokens else "map"', '"map"', TIMM),
    Fault("models/timm_backbone.py", "        self.eval()\n", "", TIMM),
    Fault("models/timm_backbone.py", "            self.train(was_training)\n", "            pass\n", TIMM),
    Fault("models/timm_backbone.py", "if test_size is not None and test_size != image_size:", "if False:", TIMM),
    Fault("models/timm_backbone.py", 'features[:, getattr(net, "num_prefix_tokens", 0) :]', "features[:, :-1]", TIMM),
    Fault("models/timm_backbone.py", "math.sqrt(count * image_size[0] / image_size[1])", "math.sqrt(count)", TIMM),
    Fault("models/timm_backbone.py", "if grid[0] * grid[1] == count:", "if True:", TIMM),
    Fault(
        "models/timm_backbone.py",
        "if wish == 0 and (tokens or self.output",
        "if wish != 2 and (tokens or self.output",
        TIMM,
    ),
    Fault("models/timm_network.py", "round(k * len(rest) / 4)", "round(k * len(rest) / 5)", TIMM),
    Fault("models/timm_network.py", 'options["img_size"] = image_size', "pass", TIMM),
    Fault("models/timm_network.py", "num_prefix_tokens=prefix)", "num_prefix_tokens=0)", TIMM),
    Fault("models/timm_network.py", "dict(rename(dict(state), net))", "dict(state)", TIMM),
    # ---------------------------------------------------------------------------------------- public layouts
    Fault("models/public_layouts.py", "max(numbers, key=int", "min(numbers, key=int", LAYOUTS),
    Fault("models/public_layouts.py", 'key.replace(".BN_T.", ".")', "key", LAYOUTS),
    Fault("models/public_layouts.py", 'key.removeprefix("mean_net.")', 'key.removeprefix("net.")', LAYOUTS),
    Fault("models/public_layouts.py", "reduction is None or reduction.ndim != 4", "reduction is None", LAYOUTS),
    Fault("models/public_layouts.py", "reduction.flatten(1)", "reduction.flatten(1).T", LAYOUTS),
    Fault("models/public_layouts.py", 'f"blocks.{last}."', '"blocks.0."', LAYOUTS),
    Fault("models/public_layouts.py", "return rest | renamed", "return renamed | rest", LAYOUTS),
    Fault(
        "models/public_layouts.py",
        'hints["MODEL.BACKBONE.LAST_STRIDE"] = 1 if osnet or "embedding.weight" in state else 2',
        'hints["MODEL.BACKBONE.LAST_STRIDE"] = 1',
        LAYOUTS,
    ),
    Fault("models/public_layouts.py", 'if layout == "fastreid" and resnet:', 'if layout == "fastreid":', LAYOUTS),
    Fault("models/public_layouts.py", "scale = 255.0 if max(values) > 1 else 1.0", "scale = 255.0", LAYOUTS),
    Fault("models/public_layouts.py", '{384: "vit_small", 768: "vit_base"}', '{768: "vit_base"}', LAYOUTS),
    Fault("models/public_layouts.py", "and math.prod(state[mark].shape) > 1", "", LAYOUTS),
    Fault(
        "models/public_layouts.py",
        '"bottleneck.running_mean" in state and any(',
        "any(",
        LAYOUTS,
    ),
    Fault(
        "models/public_layouts.py",
        '("fc.0.", "embedding."), ("fc.1.", "bottleneck.")',
        '("fc.0.", "embedding."),',
        LAYOUTS,
    ),
    # ------------------------------------------------------------------------------------- networks of the package
    Fault("utils/shipped_weights.py", "os.path.exists(path) or str(named)", "str(named)", SHIPPED),
    Fault("models/weight_files.py", "path = locate_weights(path)", "path = Path(path)", SHIPPED),
    Fault("engine/checkpoint.py", "load_checkpoint(locate_weights(path))", "load_checkpoint(path)", SHIPPED),
]
