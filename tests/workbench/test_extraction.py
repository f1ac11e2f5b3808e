"""Vectors of folders: by any model, in shards that go on, the same file whoever made it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unreid.config import load_config
from unreid.models.checkpoint_format import Checkpoint
from unreid.models.embedding import EmbeddingModel
from unreid.utils.errors import UserError
from unreid.utils.io import atomic_save
from unreid.workbench import extraction, read_features
from unreid.workbench.crops import list_crops
from unreid.workbench.encoder import load_encoder
from unreid.workbench.export import _compare, export, some_pictures
from unreid.workbench.preprocessing import Preprocessing

CONFIG = [
    *("MODEL.BACKBONE.NAME", "resnet_tiny", "MODEL.BACKBONE.WIDTH", 4, "MODEL.BACKBONE.PRETRAIN", False),
    *("INPUT.SIZE_TEST", [32, 16], "MODEL.DEVICE", "cpu"),
]


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    return make_crops(tmp_path)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return make_checkpoint(tmp_path)


def make_crops(folder: Path) -> Path:
    """Twenty images of three cameras, and a broken one."""
    rng = np.random.default_rng(0)
    for number in range(20):
        path = folder / "crops" / f"{number % 4}_c{number % 3}_{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (40, 20, 3), dtype=np.uint8)).save(path)
    (folder / "crops" / "broken_c1.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    return folder / "crops"


def make_checkpoint(folder: Path) -> Path:
    """A tiny network whose norms have seen something."""
    torch.manual_seed(1)
    cfg = load_config(None, CONFIG)
    model = EmbeddingModel.from_config(cfg, pretrained=False)
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2.0)
    atomic_save(Checkpoint(model.state_dict(), cfg.dump(), {}, "embedding").pack(), folder / "checkpoint.pth")
    return folder / "checkpoint.pth"


def test_a_table_that_was_begun_is_gone_on_with(
    tmp_path: Path, crops: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = load_encoder(checkpoint)
    listed = list_crops(crops, camera_regex=r"_(c\d)")
    options = {"batch_size": 4, "shard": 4}
    assert extraction.extract_to_file(encoder, listed, tmp_path / "whole.npz", **options) == 20
    whole = read_features(tmp_path / "whole.npz")
    assert whole.meta.unreadable == ["broken_c1.png"] and set(whole.cameras) == {"c0", "c1", "c2"}
    assert whole.paths == sorted(whole.paths) and not (tmp_path / "whole.npz.parts").exists()
    write, written = extraction._Parts.write, []

    def die(self: extraction._Parts, number: int, found: list) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(number)
        write(self, number, found)

    monkeypatch.setattr(extraction._Parts, "write", die)
    with pytest.raises(KeyboardInterrupt):
        extraction.extract_to_file(encoder, listed, tmp_path / "again.npz", **options)
    assert not (tmp_path / "again.npz").exists()
    with pytest.raises(UserError, match="another batch size"):
        extraction.extract_to_file(encoder, listed, tmp_path / "again.npz", batch_size=2, shard=4)
    second: list[int] = []
    monkeypatch.setattr(extraction._Parts, "write", lambda self, n, found: (second.append(n), write(self, n, found)))
    extraction.extract_to_file(encoder, listed, tmp_path / "again.npz", **options)
    assert not set(second) & set(written) and len(second) + len(written) == 6
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    in_memory = extraction.extract_table(encoder, listed, batch_size=4)
    assert np.array_equal(in_memory.vectors, whole.vectors) and in_memory.meta == whole.meta


@pytest.mark.parametrize(("shard", "size"), [(6, 4), (4, 4), (3, 4), (8, 8)])
def test_a_shard_holds_whole_batches(
    tmp_path: Path, crops: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, shard: int, size: int
) -> None:
    """So that a batch holds the same images, and a vector its bits, wherever a second call begins."""
    batches: list[int] = []
    write = extraction._Parts.write

    def noting(self: extraction._Parts, number: int, found: list) -> None:
        batches.extend(int(owners[0]) for _, owners in found)
        assert self.size == size
        write(self, number, found)

    monkeypatch.setattr(extraction._Parts, "write", noting)
    encoder, listed = load_encoder(checkpoint), list_crops(crops)
    assert extraction.extract_to_file(encoder, listed, tmp_path / "x.npz", batch_size=4, shard=shard) == 20
    assert batches == [0, 4, 8, 12, 16]


def test_vectors_that_overflow_end_an_extraction_at_once(tmp_path: Path, crops: Path, checkpoint: Path) -> None:
    encoder = load_encoder(checkpoint)
    encoder.model.bottleneck.weight.data[3] = float("inf")
    with pytest.raises(UserError, match="gives vectors that are NaN or infinite"):
        extraction.extract_to_file(encoder, list_crops(crops), tmp_path / "x.npz")
    assert not (tmp_path / "x.npz").exists()


def test_a_list_with_other_cameras_is_another_one(crops: Path) -> None:
    plain, known = list_crops(crops), list_crops(crops, camera_regex=r"_(c\d)")
    assert plain.paths == known.paths and plain.fingerprint != known.fingerprint
    assert known.fingerprint == list_crops(crops, camera_regex=r"_(c\d)").fingerprint
    assert replace(known, root="/elsewhere").fingerprint != known.fingerprint
    assert replace(known, paths=known.paths[::-1]).fingerprint != known.fingerprint


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        (r"c\d", r"has no group; put what it should read into parentheses"),
        (r"(c", "is not a regular expression"),
        (r"(x\d)", r"21 of 21 images match no camera \(first: 0_c0_0"),
    ],
)
def test_an_expression_that_finds_no_camera_is_refused(crops: Path, expression: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        list_crops(crops, camera_regex=expression)


def test_one_image_gets_its_camera_as_one_of_a_folder_does(crops: Path, tmp_path: Path) -> None:
    image, manifest = crops / "0_c0_0.png", tmp_path / "cameras.csv"
    manifest.write_text("path,camera\n1_c1_1.png,gate\n0_c0_0.png,yard\n")
    alone = list_crops(image, manifest=manifest)
    assert (alone.paths, alone.cameras) == (["0_c0_0.png"], ["yard"])
    assert list_crops(image, camera_regex=r"_(c\d)").cameras == ["c0"]
    with pytest.raises(UserError, match=r"1 of 1 images match no camera"):
        list_crops(image, camera_regex=r"(x\d)")
    with pytest.raises(UserError, match=r"cameras.csv has no line for .*2_c2_2.png"):
        list_crops(crops / "2_c2_2.png", manifest=manifest)


def test_a_camera_is_text_whatever_the_folder_is_called(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"S\xfcd")
    folder.mkdir()
    Image.new("RGB", (8, 16)).save(folder / "a.png")
    assert list_crops(tmp_path, camera_regex="(.*)/").cameras == [r"S\xfcd"]


def test_a_recorded_preprocessing_comes_back_as_it_was() -> None:
    known = Preprocessing((256, 128), "bilinear", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert Preprocessing.from_dict(known.to_dict(), "x") == known == Preprocessing.of(known.transform())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("color", "BGR"), ("interpolation", "nearest"), ("size", [256]), ("size", [256, 0]), ("size", [9000, 128])),
        *(("size", [2.0, 128]), ("mean", [0.1, 0.2]), ("std", ["x", 0, 0]), ("mean", None)),
    ],
)
def test_another_preprocessing_is_refused(key: str, value: object) -> None:
    content = Preprocessing((256, 128), "bilinear", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)).to_dict() | {key: value}
    with pytest.raises(UserError, match="m.parquet records a preprocessing that this release does not know"):
        Preprocessing.from_dict(content, "m.parquet")


@pytest.mark.parametrize("form", ["torchscript", "safetensors"])
def test_an_exported_file_makes_the_same_vectors(tmp_path: Path, crops: Path, checkpoint: Path, form: str) -> None:
    if form == "safetensors":
        pytest.importorskip("safetensors")
    encoder = load_encoder(checkpoint, overrides=["TEST.FLIP", True])
    path = tmp_path / f"model.{form}"
    assert export(encoder, path, form, some_pictures(list_crops(crops).files)) < 1e-4
    again = load_encoder(path)
    assert again.fingerprint == encoder.fingerprint and again.preprocessing == encoder.preprocessing
    assert again.fingerprint != load_encoder(checkpoint).fingerprint
    listed = list_crops(crops)
    one, other = (extraction.extract_table(model, listed, batch_size=7) for model in (encoder, again))
    assert np.allclose(one.vectors, other.vectors, atol=1e-5)
    assert [file.name for file in tmp_path.glob(".*")] == []


def test_a_network_that_extracts_in_half_precision_is_exported_in_full(tmp_path: Path, checkpoint: Path) -> None:
    encoder = load_encoder(checkpoint, overrides=["TEST.AMP", "bf16"])
    assert export(encoder, tmp_path / "model.torchscript", "torchscript", some_pictures(None)) < 1e-4


def test_a_file_of_others_is_used_as_the_config_says_and_ours_as_it_says(tmp_path: Path, checkpoint: Path) -> None:
    ours, theirs, config = (tmp_path / name for name in ("ours.torchscript", "theirs.torchscript", "config.yaml"))
    export(load_encoder(checkpoint), ours, "torchscript", some_pictures(None))
    torch.jit.save(torch.jit.load(ours), theirs)  # without the record
    config.write_text("INPUT: {SIZE_TEST: [32, 16]}\nTEST: {FLIP: True}\n")
    plain, told = (
        load_encoder(theirs, overrides=["INPUT.SIZE_TEST", [32, 16]]),
        load_encoder(theirs, config_file=config),
    )
    assert told.preprocessing == plain.preprocessing and told.flip and told.fingerprint != plain.fingerprint
    images = torch.randn(2, 3, 32, 16)
    mirrored = torch.nn.functional.normalize(torch.from_numpy(plain.vectors(images) + plain.vectors(images.flip(3))))
    assert np.allclose(told.vectors(images), mirrored, atol=1e-6)
    with pytest.raises(UserError, match="records its preprocessing .*, which nothing changes"):
        load_encoder(ours, config_file=config)


@pytest.mark.parametrize("difference", [1.01e-4, float("nan")])
def test_a_file_that_gives_other_vectors_is_not_written(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, difference: float
) -> None:
    encoder, pictures = load_encoder(checkpoint), some_pictures(None)
    monkeypatch.setattr("unreid.workbench.export._compare", lambda *_: difference)
    with pytest.raises(UserError, match="as torchscript gives other vectors .* so nothing was written"):
        export(encoder, tmp_path / "model.torchscript", "torchscript", pictures)
    assert not list(tmp_path.glob("*.torchscript"))
    monkeypatch.setattr("unreid.workbench.export._compare", lambda *_: 0.99e-4)
    assert export(encoder, tmp_path / "model.torchscript", "torchscript", pictures) == 0.99e-4
    assert (tmp_path / "model.torchscript").exists()


def test_the_difference_is_the_largest_of_any_number_one_by_one_or_together(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, images = load_encoder(checkpoint), torch.randn(3, 3, 32, 16)
    for place, count in ((2, 3), (1, 1)):  # wrong in the batch, or alone

        class Off:
            fingerprint, preprocessing = encoder.fingerprint, encoder.preprocessing

            def vectors(self, asked: torch.Tensor, place: int = place, count: int = count) -> np.ndarray:
                found = encoder.vectors(asked).copy()
                if len(asked) == count and (count > 1 or torch.equal(asked[0], images[place])):
                    found[place if count > 1 else 0, 5] -= 0.25
                return found

        monkeypatch.setattr("unreid.workbench.export.load_encoder", lambda path, off=Off: off())
        assert _compare(encoder, Path("x"), images) == pytest.approx(0.25, abs=1e-4)


def test_the_check_needs_two_pictures_and_takes_some_of_all(crops: Path) -> None:
    files = list_crops(crops).files
    assert len(some_pictures(files)) == 16 and len(some_pictures(None)) == 16
    assert [picture.shape for picture in some_pictures(files[:3])] == [(40, 20, 3)] * 3
    with pytest.raises(UserError, match="needs two images that can be read"):
        some_pictures([files[0], str(crops / "broken_c1.png")])


@pytest.mark.slow
def test_onnx_makes_the_same_vectors(tmp_path: Path, crops: Path, checkpoint: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    encoder = load_encoder(checkpoint)
    assert export(encoder, tmp_path / "model.onnx", "onnx", some_pictures(None)) < 1e-4
    again = load_encoder(tmp_path / "model.onnx")
    listed = list_crops(crops)
    one, other = (extraction.extract_table(model, listed, batch_size=7) for model in (encoder, again))
    assert np.allclose(one.vectors, other.vectors, atol=1e-4) and again.fingerprint == encoder.fingerprint
