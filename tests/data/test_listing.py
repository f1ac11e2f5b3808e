"""Listing image files: what is an image, what is left out with its reason, and each file once whatever links say."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pytest
from PIL import Image

from unreid.data.datasets import MSMT17, DukeMTMCVideoReID, ImageFolder, Market1501
from unreid.data.datasets.files import ImageListing, image_names, image_tree
from unreid.data.formats import image_suffixes
from unreid.utils.errors import UserError

JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0"


def touch(root: Path, *names: str, data: bytes = b"") -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def left_out(folder: Path) -> dict[str, int]:
    listing = ImageListing()
    listing.tree(folder)
    return dict(listing.left_out)


def test_whatever_pillow_reads_is_taken_in_any_case(tmp_path: Path) -> None:
    names = [
        "a.gif",
        "b.JFIF",
        "c.ppm",
        "d.pgm",
        "e.jpe",
        "f.bmp",
        "g.TIF",
        "h.webp",
        "i.jp2",
        "j.PNG",
        "k.mpo",
        "l.tga",
    ]
    touch(tmp_path, *names)
    assert image_tree(tmp_path, "T") == image_names(tmp_path, "T") == sorted(names)
    Image.init()
    assert image_suffixes() >= {suffix for suffix, name in Image.EXTENSION.items() if name in ("AVIF", "JPEG2000")}
    assert not image_suffixes() & {".pdf", ".eps", ".ps", ".mpg", ".h5", ".wmf"}


def test_what_is_left_out_is_counted_with_its_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(
        tmp_path, "1.jpg", "a.txt", "b.TXT", "c.heic", "d.eps", ".e.jpg", "._1.jpg", ".DS_Store", "Thumbs.db", "README"
    )
    touch(tmp_path, "1.jpg.bak", data=JPEG)
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "self.jpg").symlink_to("self.jpg")
    expected = {
        ".txt": 2,
        ".heic (no decoder)": 1,
        ".eps (no decoder)": 1,
        "hidden": 3,
        ".db": 1,
        "without suffix": 1,
        ".bak with the content of an image": 1,
        "special file: named pipe": 1,
        "link to nothing": 1,
        "link to a device": 1,
        "link that cannot be followed (Too many levels of symbolic links)": 1,
    }
    assert left_out(tmp_path) == expected
    with caplog.at_level(logging.INFO):
        assert image_tree(tmp_path, "Owner") == ["1.jpg"]
    assert len(caplog.records) == 1 and caplog.records[0].levelno == logging.WARNING
    assert "Owner: ignored 14 entries of" in caplog.text and "1 .heic (no decoder)" in caplog.text


def test_what_nobody_takes_for_an_image_is_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "1.jpg", "1.txt", ".DS_Store")
    with caplog.at_level(logging.INFO):
        image_tree(tmp_path, "T")
    assert [record.levelno for record in caplog.records] == [logging.INFO]
    caplog.clear()
    (tmp_path / "1.txt").unlink()
    (tmp_path / ".DS_Store").unlink()
    image_tree(tmp_path, "T")
    assert not caplog.records


def test_a_file_without_suffix_is_an_image_by_its_content(tmp_path: Path) -> None:
    touch(tmp_path, "0001_c1", data=JPEG)
    touch(tmp_path, "notes", data=b"no image")
    assert image_tree(tmp_path, "T") == ["0001_c1"]


def test_a_folder_named_like_an_image(tmp_path: Path) -> None:
    touch(tmp_path, "x.jpg/y.png", "z.png")
    assert image_tree(tmp_path, "T") == ["x.jpg/y.png", "z.png"]
    listing = ImageListing()
    assert listing.names(tmp_path) == ["z.png"]
    assert dict(listing.left_out) == {"folder named like an image": 1}


def test_links_do_not_multiply_images(tmp_path: Path) -> None:
    split = touch(tmp_path, "top/train/a/1.png", "top/train/b/2.png", "top/other/3.png", "else/4.png") / "top" / "train"
    (split / "up").symlink_to("..")
    (split / "a" / "here").symlink_to(".")
    (split / "a" / "root").symlink_to("/")
    (split / "0_again").symlink_to("b")
    (split / "0_first.png").symlink_to("a/1.png")
    (split / "outside").symlink_to(tmp_path / "else")
    (split / "outside_too").symlink_to(tmp_path / "else")
    (tmp_path / "else" / "loop").symlink_to(tmp_path / "else")
    (split / "one.png").symlink_to(tmp_path / "top" / "other" / "3.png")
    (split / "two.png").symlink_to(tmp_path / "top" / "other" / "3.png")
    assert image_tree(split, "T") == ["a/1.png", "b/2.png", "one.png", "outside/4.png"]
    assert left_out(split) == {
        "link that leads upwards": 2,
        "link to a folder that is listed already": 4,
        "link to a file that is listed already": 2,
    }


def test_a_split_that_is_a_link_itself(tmp_path: Path) -> None:
    touch(tmp_path, "store/x/1.png")
    (tmp_path / "train").symlink_to("store")
    assert image_tree(tmp_path / "train", "T") == ["x/1.png"]


def test_links_into_a_store_whose_files_have_no_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "store/0a1b2c")
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "1.jpg").symlink_to("../store/0a1b2c")
    assert image_names(tmp_path / "train", "T") == ["1.jpg"]


def test_deep_and_unreadable_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = touch(tmp_path, "1.png")
    names = ["d"] * 1100 + ["d" * 200] * 20  # beyond Python's recursion, then beyond the longest path
    monkeypatch.chdir(base)
    for name in names:
        os.mkdir(name)
        os.chdir(name)
    bottom = os.open(".", os.O_RDONLY)
    try:
        os.chdir(base)
        listing = ImageListing()
        assert listing.tree(base) == ["1.png"]
        assert dict(listing.left_out) == {"unreadable folder (File name too long)": 1}
    finally:
        os.fchdir(bottom)
        os.close(bottom)
        for name in reversed(names):  # too deep for shutil.rmtree
            os.chdir("..")
            os.rmdir(name)
    real = os.scandir

    def denied(path: str):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    (tmp_path / "two" / "locked").mkdir(parents=True)
    monkeypatch.setattr(os, "scandir", denied)
    assert left_out(tmp_path / "two") == {"unreadable folder (Permission denied)": 1}
    with pytest.raises(UserError, match="locked cannot be read: Permission denied"):
        image_tree(tmp_path / "two" / "locked", "T")


def test_names_that_are_no_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\xe9.png")
    touch(tmp_path, name)
    assert image_tree(tmp_path, "T") == [name]


def test_many_files_are_listed_quickly(tmp_path: Path) -> None:
    for i in range(3000):
        os.close(os.open(tmp_path / f"{i}.jpg", os.O_CREAT))
    started = time.process_time()
    assert len(image_tree(tmp_path, "T")) == 3000
    assert time.process_time() - started < 0.3, "a hundred thousand would take more than ten seconds"


def test_market_says_what_it_leaves_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    base = tmp_path / "Market-1501-v15.09.15"
    touch(base, "query/0001_c1s1_1.jpg", "bounding_box_test/0001_c2s1_1.jpg", "bounding_box_train/0002_c1s1_1.gif")
    touch(base, "bounding_box_train/0002_c2s1_1.heic")
    (base / "bounding_box_train" / "0003_c1s1_1.jpg").symlink_to("0002_c1s1_1.gif")
    os.mkfifo(base / "bounding_box_train" / "0004_c1s1_1.jpg")
    assert [Path(t.paths[0]).name for t in Market1501(tmp_path).train.tracklets] == ["0002_c1s1_1.gif"]
    assert "Market1501: ignored 3 entries of" in caplog.text and "1 .heic (no decoder)" in caplog.text


def test_video_tracklets_that_are_linked_twice_count_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    base = tmp_path / "DukeMTMC-VideoReID"
    for split in ("train", "query", "gallery"):
        touch(base, *(f"{split}/0001/0001/0001_C1_F{i:04d}_X{i}.jpg" for i in range(3)))
    touch(base, "train/0001/0001/notes.txt", "train/0001/0001/0001_C1_F0009_X9.heic")
    (base / "train" / "0001" / "0002").symlink_to("0001")
    dataset = DukeMTMCVideoReID(tmp_path)
    assert len(dataset.train) == 1 and len(dataset.train.tracklets[0].paths) == 3
    assert "1 link to a folder that is listed already" in caplog.text
    assert caplog.text.count("entries of") == 1, "one line a split, not one a folder"


def test_msmt17_takes_a_listed_link_once(tmp_path: Path) -> None:
    base = tmp_path / "MSMT17_V1"
    real = "0000/0000_000_01_0303morning_0008_0.jpg"
    links = ["0000/0000_001_02_0303morning_0008_0.jpg", "0000/0000_002_02_0303morning_0008_0.jpg"]
    touch(base, f"train/{real}", "test/0000/0000_000_01_0303morning_0008_0.jpg")
    for link in links:
        (base / "train" / link).symlink_to(base / "train" / real)
    touch(base, "list_val.txt")
    for name in ("list_query.txt", "list_gallery.txt"):
        (base / name).write_text(f"{real} 0\n")
    (base / "list_train.txt").write_text("".join(f"{link} 0\n" for link in links))
    assert [t.camid for t in MSMT17(tmp_path).train.tracklets] == [1], "only the links are listed: the first one stays"
    (base / "list_train.txt").write_text("".join(f"{name} 0\n" for name in (real, *links)))
    assert [t.camid for t in MSMT17(tmp_path).train.tracklets] == [0]


def test_image_folder_counts_once_a_split(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "train/1.jpg", "train/2.heic", "train/3.heic", "train/sub/4.png")
    (tmp_path / "train" / "sub" / "up").symlink_to("..")
    dataset = ImageFolder(tmp_path)
    assert len(dataset.train) == 2
    lines = [record.getMessage() for record in caplog.records if "entries of" in record.getMessage()]
    assert len(lines) == 1 and "2 .heic (no decoder)" in lines[0] and "1 link that leads upwards" in lines[0]
