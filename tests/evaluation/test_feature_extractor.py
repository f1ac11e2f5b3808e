from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unreid.config import get_cfg
from unreid.data.build import build_test_transform
from unreid.evaluation.feature_extractor import FeatureExtractor
from unreid.models.checkpoint_keys import export_state_dict
from unreid.models.embedding import EmbeddingModel
from unreid.models.resnet_tiny import TinyResNet
from unreid.utils.errors import UserError


@pytest.fixture
def cfg():
    cfg = get_cfg()
    cfg.merge_from_list(
        ["MODEL.BACKBONE.NAME", "resnet_tiny", "MODEL.BACKBONE.PRETRAIN", False, "MODEL.BACKBONE.WIDTH", 4]
        + ["INPUT.SIZE_TEST", [32, 16], "DATALOADER.NUM_WORKERS", 0, "DATALOADER.TEST_BATCH_SIZE", 2]
    )
    return cfg


@pytest.fixture
def crops(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = [tmp_path / "crops" / name for name in ("b/1.png", "a.png", "b/0.png")]
    for i, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (40 + i, 20, 3), dtype=np.uint8)).save(path)
    (tmp_path / "crops" / "notes.txt").write_text("no image")
    return paths


@pytest.fixture
def extractor(cfg) -> FeatureExtractor:
    return FeatureExtractor.from_config(cfg, EmbeddingModel.from_config(cfg))


def test_every_kind_of_input_gives_the_same_rows(extractor, crops) -> None:
    expected = extractor(crops)
    assert expected.shape == (3, 32) and expected.dtype == torch.float32
    torch.testing.assert_close(expected.norm(dim=1), torch.ones(3))
    arrays = [np.array(Image.open(path)) for path in crops]
    close = {"atol": 1e-5, "rtol": 1e-5}
    torch.testing.assert_close(extractor(arrays), expected, **close)
    torch.testing.assert_close(extractor(str(crops[1])), expected[1:2], **close)
    torch.testing.assert_close(extractor(arrays[2]), expected[2:], **close)
    torch.testing.assert_close(extractor(torch.from_numpy(arrays[0]).permute(2, 0, 1)), expected[:1], **close)
    torch.testing.assert_close(extractor(np.stack([arrays[0]] * 3)), expected[:1].expand(3, -1), **close)
    ready = torch.stack([extractor.transform(Image.open(path)) for path in crops])
    torch.testing.assert_close(extractor(ready), expected, **close)


def test_a_folder_says_what_it_leaves_out_and_counts_a_file_once(extractor, crops, caplog) -> None:
    folder = crops[1].parent
    (folder / "x.heic").touch()
    (folder / "again.png").symlink_to("a.png")
    (folder / "up").symlink_to("..")
    assert len(extractor(folder)) == 3
    assert "FeatureExtractor: ignored 4 entries of" in caplog.text and "1 .heic (no decoder)" in caplog.text


def test_a_folder_is_read_in_the_listed_order(extractor, crops) -> None:
    folder = crops[1].parent
    assert extractor.list_images(folder) == [crops[1], crops[2], crops[0]]
    torch.testing.assert_close(extractor(folder), extractor(crops)[[1, 2, 0]], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("overrides", [[], ["TEST.FLIP", True]])
def test_from_a_checkpoint_of_a_run(cfg, crops, tmp_path, overrides) -> None:
    cfg.merge_from_list(["MODEL.BN_CHUNKS", 2])
    model = EmbeddingModel.from_config(cfg)
    path = tmp_path / "model.pth"
    torch.save({"format": "unreid", "version": 1, "model": model.state_dict(), "config": cfg.dump()}, path)
    extractor = FeatureExtractor.from_checkpoint(path, overrides=overrides, device="cpu")
    cfg.merge_from_list(overrides)
    torch.testing.assert_close(extractor(crops), FeatureExtractor.from_config(cfg, model)(crops))
    with pytest.raises(UserError, match="does not fit the model"):
        FeatureExtractor.from_checkpoint(path, overrides=["MODEL.BACKBONE.WIDTH", 8], device="cpu")


def test_from_a_published_checkpoint(crops, tmp_path) -> None:
    cfg = get_cfg()
    cfg.merge_from_list(["MODEL.BACKBONE.NAME", "resnet18", "MODEL.BACKBONE.PRETRAIN", False])
    cfg.merge_from_list(["MODEL.BACKBONE.LAST_STRIDE", 2, "INPUT.SIZE_TEST", [32, 16]])
    model = EmbeddingModel.from_config(cfg)
    path = tmp_path / "model_best.pth.tar"
    torch.save(export_state_dict(model.state_dict(), "cc"), path)
    overrides = ["INPUT.SIZE_TEST", [32, 16], "DATALOADER.NUM_WORKERS", 0]
    extractor = FeatureExtractor.from_checkpoint(path, overrides=overrides, device="cpu")
    expected = FeatureExtractor(model, build_test_transform(cfg))(crops)
    torch.testing.assert_close(extractor(crops), expected)


def test_buc_retrieves_with_the_pooled_feature(cfg) -> None:
    cfg.merge_from_list(["METHOD.NAME", "BUC"])
    model = EmbeddingModel.from_config(cfg)
    image = torch.randn(2, 3, 32, 16)
    got = FeatureExtractor.from_config(cfg, model)(image)
    with torch.no_grad():
        pooled = model.eval()(image).pooled
    torch.testing.assert_close(got, torch.nn.functional.normalize(pooled))


def test_bad_input(extractor, tmp_path) -> None:
    with pytest.raises(UserError, match="no file or folder"):
        extractor(tmp_path / "missing.jpg")
    with pytest.raises(UserError, match="There is no image below"):
        extractor(tmp_path)
    with pytest.raises(UserError, match="There is no image "):
        extractor([tmp_path / "missing.jpg"])
    os.mkfifo(tmp_path / "pipe.jpg")
    for pipe in (tmp_path / "pipe.jpg", [tmp_path / "pipe.jpg"]):
        with pytest.raises(UserError, match="pipe.jpg: it is a named pipe"):
            extractor(pipe)
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")
    with pytest.raises(UserError, match="Cannot read image"):
        extractor(tmp_path / "broken.jpg")
    for wrong in (np.zeros((4, 4)), np.zeros((4, 4, 3)), [np.zeros((4, 4, 1), np.uint8)]):
        with pytest.raises(ValueError, match="images are paths"):
            extractor(wrong)
    with pytest.raises(ValueError, match="transformed images"):
        extractor(torch.zeros(3, 4, 4))
    assert FeatureExtractor(EmbeddingModel(TinyResNet()))([]).shape == (0, 128)


def test_the_docstring_example_runs() -> None:
    import doctest

    from unreid.evaluation import distance, evaluator, extract, feature_extractor, selection

    for module in (distance, evaluator, extract, feature_extractor, selection):
        assert doctest.testmod(module).failed == 0
