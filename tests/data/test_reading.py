"""Reading images: every depth, colour space and orientation to the right values, everything else one sentence."""

from __future__ import annotations

import os
import socket
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from unreid.data.decoding import MAX_PIXELS, grey_levels
from unreid.data.formats import why_not_an_image
from unreid.data.reading import CorruptImages, read_image
from unreid.utils.errors import UserError

TURN = Image.Transpose
STORED = {  # how a picture is stored so that the orientation turns it upright
    1: None,
    2: TURN.FLIP_LEFT_RIGHT,
    3: TURN.ROTATE_180,
    4: TURN.FLIP_TOP_BOTTOM,
    5: TURN.TRANSPOSE,
    6: TURN.ROTATE_90,
    7: TURN.TRANSVERSE,
    8: TURN.ROTATE_270,
}


def picture() -> Image.Image:
    coarse = np.random.default_rng(0).integers(0, 256, (4, 3, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((20, 40), Image.Resampling.BICUBIC)


def pixels(path: Path) -> np.ndarray:
    image = read_image(str(path))
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


GREY = np.asarray(picture().convert("L"))


@pytest.mark.parametrize(
    ("name", "values", "tolerance"),
    [
        ("u16.png", GREY.astype(np.uint16) * 257, 0),
        ("shifted.png", GREY.astype(np.uint16) << 8, 1),
        ("u16.tif", GREY.astype(np.uint16) * 257, 0),
        ("big_endian.tif", (GREY.astype(np.uint16) * 257).astype(">u2"), 0),
        ("u16.pgm", GREY.astype(np.int32) * 257, 0),
        ("i32.tif", GREY.astype(np.int32) * 257, 0),
        ("i24.tif", GREY.astype(np.int32) << 16, 1),
        ("i31.tif", GREY.astype(np.int32) << 23, 1),
        ("u8_in_i32.tif", GREY.astype(np.int32), 0),
        ("u8_in_u16.png", GREY.astype(np.uint16), 0),
        ("f1.tif", (GREY / 255).astype(np.float32), 0),
        ("f255.tif", GREY.astype(np.float32), 0),
        ("f65535.tif", (GREY * 257.0).astype(np.float32), 0),
        ("f1.pfm", (GREY / 255).astype(np.float32), 0),
    ],
)
def test_deep_grey_keeps_its_contents(tmp_path: Path, name: str, values: np.ndarray, tolerance: int) -> None:
    if values.dtype == np.dtype(">u2"):
        Image.frombytes("I;16B", values.shape[::-1], values.tobytes()).save(tmp_path / name)
    else:
        Image.fromarray(values).save(tmp_path / name)
    found = pixels(tmp_path / name)
    assert abs(found - GREY[..., None]).max() <= tolerance


def test_a_tiff_of_twelve_bits_and_one_where_white_is_zero(tmp_path: Path) -> None:
    twelve = np.array([[0, 2048], [4095, 16]], dtype=np.uint16)
    assert grey_levels(twelve, bits=12).tolist() == [[0, 128], [255, 1]]
    path = tmp_path / "inverse.tif"
    Image.fromarray(65535 - GREY.astype(np.uint16) * 257).save(path, tiffinfo={262: 0})
    data = path.read_bytes()
    assert Image.open(path).tag_v2[262] == 0, data[:40]
    assert abs(pixels(path) - GREY[..., None]).max() == 0


@given(st.binary(min_size=1, max_size=40))
def test_eight_and_sixteen_bits_of_one_crop_are_the_same(grey: bytes) -> None:
    eight = np.frombuffer(grey, dtype=np.uint8)
    assert np.array_equal(grey_levels(eight.astype(np.uint16) * 257), eight)
    assert abs(grey_levels(eight.astype(np.int32) << 8).astype(int) - eight).max() <= 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.5, 1.03, 300.0, 1e9])
def test_floats_of_no_clear_range_are_refused(tmp_path: Path, value: float) -> None:
    values = np.full((4, 4), 0.5, dtype=np.float32)
    values[1, 1] = value
    Image.fromarray(values).save(tmp_path / "x.tif")
    with pytest.raises(UserError, match=r"Cannot read image .*x\.tif: its? .*(finite|range)"):
        read_image(str(tmp_path / "x.tif"))


def test_whole_numbers_below_zero_are_refused_and_rounding_is_not() -> None:
    with pytest.raises(ValueError, match="-5 to 3"):
        grey_levels(np.array([-5, 3]))
    assert grey_levels(np.array([-1e-7, 1.0 + 1e-6])).tolist() == [0, 255]


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_images_have_their_level(value: float) -> None:
    assert set(grey_levels(np.full((3, 3), value)).ravel()) == {round(255 * value)}


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif"])
@pytest.mark.parametrize("orientation", STORED)
def test_every_orientation_is_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    turn, exif, path = STORED[orientation], Image.Exif(), tmp_path / f"x.{suffix}"
    exif[0x0112] = orientation
    if f".{suffix}" not in Image.registered_extensions():
        pytest.skip("this Pillow has no such format")
    (picture() if turn is None else picture().transpose(turn)).save(path, exif=exif, quality=95)
    found = pixels(path)
    assert found.shape == (40, 20, 3)
    assert abs(found - np.asarray(picture()).astype(int)).mean() < 4


@pytest.mark.parametrize(
    "block",
    [
        b"garbage",
        b"II*\0\xff\xff\xff\xff",
        b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01",
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0abcd",
        b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x63\0\0\0\0\0\0",
    ],
)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_broken_exif_counts_as_upright(tmp_path: Path, suffix: str, block: bytes) -> None:
    path = tmp_path / f"x.{suffix}"
    picture().save(path, exif=b"Exif\0\0" + block)
    assert pixels(path).shape == (40, 20, 3)


@pytest.mark.parametrize(("mode", "suffix"), [("CMYK", "jpg"), ("CMYK", "tif"), ("YCbCr", "tif"), ("LAB", "tif")])
def test_other_colour_spaces(tmp_path: Path, mode: str, suffix: str) -> None:
    from PIL import ImageCms

    if mode == "LAB":
        profiles = (ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"))
        image = ImageCms.profileToProfile(picture(), *profiles, outputMode="LAB")
        assert image is not None
    else:
        image = picture().convert(mode)
    image.save(tmp_path / f"x.{suffix}")
    assert abs(pixels(tmp_path / f"x.{suffix}") - np.asarray(picture()).astype(int)).mean() < 4


@pytest.mark.parametrize("kind", ["RGBA", "LA", "P"])
def test_transparent_pixels_are_black_whatever_lies_under_them(tmp_path: Path, kind: str) -> None:
    alpha = Image.new("L", (20, 40), 255)
    alpha.paste(0, (0, 0, 20, 20))
    image = picture()
    if kind == "P":
        image = Image.new("P", (20, 40), 1)
        image.putpalette([200, 10, 10, 30, 40, 50])
        image.paste(0, (0, 0, 20, 20))
        image.save(tmp_path / "x.png", transparency=0)
        lower = np.full((20, 20, 3), (30, 40, 50))
    else:
        image = image.convert(kind)
        image.putalpha(alpha)
        image.save(tmp_path / "x.png")
        lower = np.asarray(image.convert("RGB"))[20:]
    found = pixels(tmp_path / "x.png")
    assert not found[:20].any()
    assert np.array_equal(found[20:], lower)


def test_the_first_frame_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (6, 8), colour) for colour in ((250, 0, 0), (0, 250, 0))]
    for name in ("x.gif", "x.png", "x.webp", "x.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
        assert pixels(tmp_path / name)[0, 0].tolist() == [250, 0, 0]


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", "gif", "bmp", "jp2", "ppm"])
def test_a_cut_file_is_unreadable_and_not_half_grey(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    picture().save(path)
    data = path.read_bytes()
    for part in (0, 1, len(data) // 4, len(data) // 2, len(data) * 3 // 4):
        path.write_bytes(data[:part])
        with pytest.raises(UserError, match="Cannot read image"):
            read_image(str(path))


def test_a_damaged_tiff_takes_the_way_of_all_unreadable_files(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    picture().save(path)
    path.write_bytes(path.read_bytes()[:6] + b"\xff" * 30)
    with pytest.raises(UserError, match=r"x\.tif") as caught:
        CorruptImages().report([str(path)])
    assert "SKIP_CORRUPT" in str(caught.value) and "\n" not in str(caught.value)


def huge_png(path: Path, side: int) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)))


@pytest.mark.parametrize("side", [8193, 12_000, 60_000])
def test_one_limit_one_sentence(tmp_path: Path, side: int, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "large.png"
    huge_png(path, side)
    with pytest.raises(UserError, match=rf"large\.png: it has more than {MAX_PIXELS:,} pixels"):
        read_image(str(path))
    policy = CorruptImages(skip=True)
    policy.report([str(path), str(path)])
    assert len(caplog.records) == 1 and f"{MAX_PIXELS:,}" in caplog.text and "left out (1 so far)" in caplog.text


def test_decoders_do_not_warn(tmp_path: Path) -> None:
    picture().save(tmp_path / "x.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\xff\xff\xff\x00")
    huge_png(tmp_path / "x.png", 11_000)
    picture().save(tmp_path / "x.tif")
    tiff = bytearray((tmp_path / "x.tif").read_bytes())
    tiff[10:14] = b"\xff\xff\x02\0"
    (tmp_path / "x.tif").write_bytes(tiff)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for name in ("x.jpg", "x.png", "x.tif"):
            try:
                read_image(str(tmp_path / name))
            except UserError:
                continue
    assert not caught


@pytest.mark.parametrize("kind", ["folder", "named pipe", "socket", "device", "missing", "dangling"])
def test_what_is_no_file_is_not_opened(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("x.jpg")
    if kind == "folder":
        path.mkdir()
    elif kind == "named pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "dangling":
        path.symlink_to("nowhere.jpg")
    word = {"missing": "does not exist", "dangling": "is a link to a file that does not exist"}.get(
        kind, f"is a {kind}"
    )
    assert why_not_an_image(path) == word
    with pytest.raises(UserError, match=rf"Cannot read image x\.jpg: it {word}"):
        read_image("x.jpg")


def test_formats_without_signature_do_not_take_damaged_files(tmp_path: Path) -> None:
    """TGA has no magic number: bytes of any file could be its pixels."""
    picture().save(tmp_path / "x.tga")
    assert np.array_equal(pixels(tmp_path / "x.tga"), np.asarray(picture()))
    (tmp_path / "x.jpg").write_bytes((tmp_path / "x.tga").read_bytes())
    with pytest.raises(UserError, match="no format that is read"):
        read_image(str(tmp_path / "x.jpg"))


def test_no_other_program_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture().save(tmp_path / "x.eps")
    (tmp_path / "x.jpg").write_bytes((tmp_path / "x.eps").read_bytes())
    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: pytest.fail("Ghostscript"))
    for name in ("x.eps", "x.jpg"):
        with pytest.raises(UserError, match="no format that is read"):
            read_image(str(tmp_path / name))


def test_names_that_are_no_text(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xe9.png")
    picture().save(path)
    assert np.array_equal(np.asarray(read_image(path)), np.asarray(picture()))


def test_why_not_an_image(tmp_path: Path) -> None:
    (tmp_path / "x.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "x.txt").write_text("no image")
    picture().save(tmp_path / "crop.bin", "PNG")
    picture().save(tmp_path / "crop.JPE", "JPEG")
    assert why_not_an_image(tmp_path / "x.heic") == "is a .heic file, for which there is no decoder"
    assert why_not_an_image(tmp_path / "x.txt") == "is not an image"
    assert why_not_an_image(tmp_path / "crop.bin") is None, "who names it knows what it is"
    assert why_not_an_image(tmp_path / "crop.JPE") is None
    assert why_not_an_image(tmp_path / ("x" * 300)) == "cannot be opened (File name too long)"
    assert why_not_an_image("a\0b.jpg") == "cannot be opened (embedded null byte)"
