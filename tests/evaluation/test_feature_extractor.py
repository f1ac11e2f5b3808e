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
    for missing in ("x" * 300, "y" * 5000):  # longer than a name may be
        with pytest.raises(UserError, match="no file or folder"):
            extractor(missing)
        with pytest.raises(UserError, match="There is no weight file"):
            FeatureExtractor.from_checkpoint(missing)
    pixels = np.zeros((4, 4, 3), np.uint8)
    for wrong in (np.zeros((4, 4)), pixels / 255, [pixels[:, :, :1]], None, 3, b"abc", ["a.png", pixels]):
        with pytest.raises(ValueError, match="images are paths"):
            extractor(wrong)
    with pytest.raises(ValueError, match="transformed images"):
        extractor(torch.zeros(3, 4, 4))
    assert FeatureExtractor(EmbeddingModel(TinyResNet()))([]).shape == (0, 128)


def test_a_pillow_image_and_what_gives_one_after_the_other(extractor, tmp_path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (2, 40, 20, 3)).astype(np.uint8)
    expected = extractor(pixels)
    images = [Image.fromarray(array) for array in pixels]
    paths = [tmp_path / f"{number}.png" for number in range(2)]
    for image, path in zip(images, paths):
        image.save(path)
    assert torch.equal(extractor(images[0]), extractor(pixels[0]))
    for several in (images, iter(images), iter(pixels), iter(paths)):
        assert torch.allclose(extractor(several), expected, atol=1e-6)


def test_the_docstring_example_runs() -> None:
    import doctest

    from unreid.evaluation import distance, evaluator, extract, feature_extractor, selection

    for module in (distance, evaluator, extract, feature_extractor, selection):
        assert doctest.testmod(module).failed == 0


def test_bare_weights_need_a_config(cfg, crops, tmp_path) -> None:
    model = EmbeddingModel.from_config(cfg)
    torch.save({f"_orig_mod.{key}": value for key, value in model.state_dict().items()}, tmp_path / "bare.pth")
    with pytest.raises(UserError, match=r"bare\.pth holds weights and no config"):
        FeatureExtractor.from_checkpoint(tmp_path / "bare.pth", device="cpu")
    (tmp_path / "config.yml").write_text(cfg.dump())
    extractor = FeatureExtractor.from_checkpoint(
        tmp_path / "bare.pth", config_file=tmp_path / "config.yml", device="cpu"
    )
    torch.testing.assert_close(extractor(crops), FeatureExtractor.from_config(cfg, model)(crops))


def test_the_features_of_all_methods_are_those_of_their_classes() -> None:
    from unreid.evaluation.feature_extractor import retrieval_feature
    from unreid.methods import METHODS

    for name in METHODS:
        if not METHODS.get(name).__module__.startswith("unreid."):
            continue  # of another test's plug-in
        assert retrieval_feature(name) == METHODS.get(name).retrieval_feature
    assert retrieval_feature("3c") == retrieval_feature("cc") == "embedding"


def save(cfg, path: Path, model: EmbeddingModel, **more: object) -> Path:
    torch.save({"format": "unreid", "version": 1, "model": model.state_dict(), "config": cfg.dump(), **more}, path)
    return path


def test_the_feature_of_a_plug_in_method_stands_in_its_checkpoint(cfg, tmp_path) -> None:
    cfg.merge_from_list(["METHOD.NAME", "OfAPlugIn"])
    model = EmbeddingModel.from_config(cfg)
    path = save(cfg, tmp_path / "x.pth", model, feature="pooled")
    image = torch.randn(2, 3, 32, 16)
    with torch.no_grad():
        pooled = model.eval()(image).pooled
    torch.testing.assert_close(FeatureExtractor.from_checkpoint(path, device="cpu")(image), pooled)
    old = save(cfg, tmp_path / "old.pth", model)
    with pytest.raises(UserError, match=r"OfAPlugIn.*feature="):
        FeatureExtractor.from_checkpoint(old, device="cpu")
    told = FeatureExtractor.from_checkpoint(old, feature="pooled", device="cpu")
    torch.testing.assert_close(told(image), pooled)


def test_plug_ins_that_a_checkpoint_names_are_not_run(cfg, tmp_path) -> None:
    plugin, trace = tmp_path / "net.py", tmp_path / "trace"
    plugin.write_text(
        f"open({str(trace)!r}, 'w').close()\nfrom unreid.models.base import register_backbone\n"
        "from unreid.models.resnet_tiny import TinyResNet\n"
        "@register_backbone('net_of_a_plugin')\ndef build(width=4):\n    return TinyResNet(width=width)\n"
    )
    model = EmbeddingModel.from_config(cfg)
    cfg.MODEL.BACKBONE.NAME, cfg.PLUGINS = "net_of_a_plugin", [str(plugin)]  # a merge would import it
    path = save(cfg, tmp_path / "x.pth", model)
    with pytest.raises(UserError, match=r"net_of_a_plugin.*plugins=\["):
        FeatureExtractor.from_checkpoint(path, device="cpu")
    assert not trace.exists()
    FeatureExtractor.from_checkpoint(path, plugins=[str(plugin)], device="cpu")
    assert trace.exists()


def test_a_damaged_config_is_named(cfg, tmp_path) -> None:
    model = EmbeddingModel.from_config(cfg)
    for text, complaint in (
        ("A: &a [1]\nB: *a", "refers to parts of itself"),
        ("{" * 5000, "not readable"),
        ("- 1", "no table of keys"),
        ("SOLVER: {LR: 1}", "does not fit this release.*SOLVER"),
        ("MODEL: 3", "does not fit this release.*MODEL is a section"),
    ):
        torch.save({"format": "unreid", "version": 1, "model": model.state_dict(), "config": text}, tmp_path / "x.pth")
        with pytest.raises(UserError, match=complaint):
            FeatureExtractor.from_checkpoint(tmp_path / "x.pth", device="cpu")
