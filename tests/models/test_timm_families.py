"""One small network of every family of timm goes through what a training asks of a backbone (slow)."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import nn

from unreid.models.embedding import EmbeddingModel
from unreid.models.pretrained import fill_backbone
from unreid.models.timm_backbone import TimmBackbone
from unreid.utils.errors import UserError

timm = pytest.importorskip("timm")

UPRIGHT = (256, 128)
FAMILIES = {
    "beit": "beit_base_patch16_224",
    "byoanet": "eca_botnext26ts_256",
    "byobnet": "mobileone_s1",
    "cait": "cait_xxs24_224",
    "coat": "coat_tiny",
    "convmixer": "convmixer_768_32",
    "convnext": "convnext_atto_rms",
    "cpubone": "cpubone_nano",
    "csatv2": "csatv2",
    "cspnet": "cs3darknet_focus_s",
    "cspnext": "cspnext_tiny",
    "davit": "davit_tiny",
    "deit": "deit_tiny_patch16_224",
    "densenet": "densenet121",
    "dla": "dla46_c",
    "dpn": "dpn48b",
    "edgenext": "edgenext_xx_small",
    "efficientformer_v2": "efficientformerv2_s0",
    "efficientnet": "mobilenetv2_035",
    "efficientvim": "efficientvim_m1",
    "efficientvit_mit": "efficientvit_b0",
    "efficientvit_msra": "efficientvit_m0",
    "fasternet": "fasternet_t0",
    "fastvit": "fastvit_t8",
    "focalnet": "focalnet_tiny_srf",
    "gcvit": "gcvit_xxtiny",
    "ghostnet": "ghostnet_050",
    "hardcorenas": "hardcorenas_b",
    "hgnet": "hgnetv2_b0",
    "hiera": "hiera_tiny_224",
    "hieradet_sam2": "sam2_hiera_tiny",
    "hrnet": "hrnet_w18_small",
    "iformer": "iformer_t",
    "inception_next": "inception_next_atto",
    "inception_resnet_v2": "inception_resnet_v2",
    "inception_v3": "inception_v3",
    "inception_v4": "inception_v4",
    "lcnetv2": "lcnetv2_small",
    "lowformer": "lowformer_b0",
    "mambaout": "mambaout_femto",
    "maxxvit": "test_maxvit",
    "metaformer": "poolformerv2_s12",
    "mlp_mixer": "gmlp_ti16_224",
    "mobilenetv3": "mobilenetv3_small_050",
    "mobilevit": "mobilevit_xxs",
    "mobilenetv5": "mobilenetv5_base",
    "naflexvit": "naflexvit_base_patch16_gap",
    "nasnet": "nasnetalarge",
    "nextvit": "nextvit_small",
    "nfnet": "test_nfnet",
    "pit": "pit_ti_224",
    "pnasnet": "pnasnet5large",
    "pvt_v2": "pvt_v2_b0",
    "rdnet": "rdnet_tiny",
    "regnet": "regnetx_002",
    "repghost": "repghostnet_050",
    "repvit": "repvit_m1",
    "res2net": "res2next50",
    "resnest": "resnest14d",
    "resnet": "test_resnet",
    "resnetv2": "resnetv2_18",
    "rexnet": "rexnet_100",
    "selecsls": "selecsls42",
    "senet": "legacy_seresnet18",
    "sequencer": "sequencer2d_s",
    "shvit": "shvit_s1",
    "sknet": "skresnet18",
    "starnet": "starnet_s050",
    "swiftformer": "swiftformer_xs",
    "swin_transformer": "swin_tiny_patch4_window7_224",
    "swin_transformer_v2": "swinv2_tiny_window8_256",
    "swin_transformer_v2_cr": "swinv2_cr_tiny_224",
    "tiny_vit": "tiny_vit_5m_224",
    "tnt": "tnt_s_legacy_patch16_224",
    "tresnet": "tresnet_m",
    "twins": "twins_svt_small",
    "vgg": "vgg11",
    "visformer": "visformer_tiny",
    "vision_transformer": "vit_tiny_patch16_224",
    "vision_transformer_hybrid": "vit_tiny_r_s16_p8_224",
    "vision_transformer_relpos": "test_vit_relpos",
    "vision_transformer_sam": "samvit_base_patch16_224",
    "vitamin": "vitamin_small_224",
    "volo": "volo_d1_224",
    "vovnet": "ese_vovnet19b_slim_dw",
    "xception": "xception",
    "xception_aligned": "xception41p",
    "xcit": "xcit_nano_12_p8_224",
}
OWN_SIZE = {
    "convit": ("convit_tiny", (224, 224)),
    "crossvit": ("crossvit_tiny_240", (240, 240)),
    "efficientformer": ("efficientformer_l1", (224, 224)),
    "eva": ("eva02_tiny_patch14_224", (252, 126)),
    "levit": ("levit_128s", (224, 224)),
    "mvitv2": ("mvitv2_tiny", (224, 224)),
    "nest": ("jx_nest_tiny", (224, 224)),
}
"""Families whose networks do not take 256 x 128, and say so."""
HUGE = {"deepseek_vit", "gemma4_vit", "qwen3_vit"}
"""Families whose smallest network has more than 160 M parameters."""


def test_no_family_is_left_out() -> None:
    from timm.models import list_modules

    assert {*FAMILIES, *OWN_SIZE, *HUGE} == set(list_modules())


@pytest.mark.slow
@pytest.mark.parametrize("family", [*FAMILIES, *OWN_SIZE])
def test_a_network_of_the_family_can_be_trained(family: str) -> None:
    name, size = OWN_SIZE.get(family) or (FAMILIES[family], UPRIGHT)
    if family in OWN_SIZE:
        with pytest.raises(
            UserError, match=rf"timm/{name} (does not take images of 256 x 128|takes images whose sides)"
        ):
            TimmBackbone(name, image_size=UPRIGHT)
    torch.manual_seed(0)
    backbone = TimmBackbone(name, image_size=size)
    donor = timm.create_model(name, pretrained=False)
    bound = family == "mlp_mixer"  # layers across the patches, whose number is that of the weights' images
    report = fill_backbone(backbone, donor.state_dict(), min_match=0.75 if bound else 0.9)
    assert bound or len(report.misshaped) <= 0.1 * len(report.loaded)
    del donor
    stages = backbone.stages()
    parts = [part for parts in stages.values() for part in parts]
    held = [id(p) for part in parts for p in ([part] if isinstance(part, nn.Parameter) else part.parameters())]
    assert sorted(held) == sorted(id(p) for p in backbone.parameters())
    model = EmbeddingModel(backbone).train()
    output = model(torch.randn(2, 3, *size))
    assert output.embedding.shape == (2, backbone.feature_dim) and bool(torch.isfinite(output.embedding).all())
    output.embedding.square().sum().backward()
    idle = [
        name for name, parameter in backbone.named_parameters() if parameter.requires_grad and parameter.grad is None
    ]
    assert not idle
    backbone.eval()
    if backbone.output == "pooled":
        backbone.output = "map"
    try:
        with torch.no_grad():
            maps = backbone(torch.randn(1, 3, *size))
        assert maps.shape[0] == 1 and maps.ndim == 4
    except UserError as error:
        assert "has no feature map" in str(error)
    gc.collect()
