"""Is our OSNet the published one? Features of an exported file through ONNX Runtime and through the engine's network.

    python benchmarks/osnet_onnx.py osnet_x0_25_msmt17.onnx

The file is one that torchreid's OSNet was exported to (public: osnet_x0_25_msmt17.onnx). Random images will do: every
layer takes part. Needs the packages onnx and onnxruntime. Ends with 1 if a feature differs by more than 1e-4.
"""

from __future__ import annotations

import argparse
import sys

import checkout  # noqa: F401
import torch

from unreid.models.base import create_backbone
from unreid.models.checkpoint_keys import convert_checkpoint
from unreid.models.convert import load_weights
from unreid.models.embedding import EmbeddingModel
from unreid.models.folded_norms import settle
from unreid.models.weight_files import read_file

TOLERANCE = 1e-4


def largest_difference(path: str, images: torch.Tensor) -> tuple[float, float, float]:
    """Largest differences of a feature before and after the folded norms got statistics, and the largest feature."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    expected = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: images.numpy()})[0])
    content = read_file(path)
    name = convert_checkpoint(content, origin=path).hints["MODEL.BACKBONE.NAME"]
    model = EmbeddingModel(create_backbone(name), embed_dim=expected.shape[1], bn_bias=True, neck_relu=True).eval()
    load_weights(content, model, path)
    differences = []
    with torch.inference_mode():
        differences.append(float((model(images).neck - expected).abs().max()))
        settle(model, [images])
        differences.append(float((model(images).neck - expected).abs().max()))
    return differences[0], differences[1], float(expected.abs().max())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", help="the ONNX file")
    parser.add_argument("--images", type=int, default=8)
    arguments = parser.parse_args()
    images = torch.randn(arguments.images, 3, 256, 128, generator=torch.Generator().manual_seed(1))
    before, after, largest = largest_difference(arguments.path, images)
    print(f"largest difference {before:.1e}, with settled norms {after:.1e}; largest feature {largest:.2f}")
    return int(max(before, after) > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
