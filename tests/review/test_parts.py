"""Parts of the page on their own: kept neighbours, pictures, who is let in."""

from __future__ import annotations

import io
from email.message import Message
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unreid.review.guard import Guard
from unreid.review.neighbours import NEIGHBOURS, near_lists
from unreid.review.thumbnails import SIZES, Thumbnails
from unreid.utils.errors import UserError


def rows(seed: int, n: int = 50) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(n, 6)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def nearest(content: np.ndarray) -> np.ndarray:
    similar = content @ content.T
    np.fill_diagonal(similar, -np.inf)
    return np.argsort(-similar, axis=1)[:, : min(NEIGHBOURS, len(content) - 1)]


def test_neighbours_are_kept_for_the_same_rows_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept = tmp_path / "near.npz"
    for seed in (0, 1):  # of the same shape
        assert np.array_equal(near_lists(rows(seed), kept), nearest(rows(seed)))
    monkeypatch.setattr("unreid.review.neighbours.knn", lambda *_, **__: pytest.fail("looked for twice"))
    found = near_lists(rows(1), kept)
    assert found.dtype == np.int64 and np.array_equal(found, nearest(rows(1)))
    monkeypatch.undo()
    kept.write_bytes(b"damaged")
    assert np.array_equal(near_lists(rows(1), kept), nearest(rows(1))) and "is damaged" in caplog.text
    assert near_lists(rows(0, 5)).shape == (5, 4) and near_lists(rows(0, 1)).shape == (1, 0)


def picture(path: Path, size: tuple[int, int]) -> str:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)).save(path)
    return str(path)


def test_pictures_fit_into_their_box_and_are_kept_until_there_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [picture(tmp_path / f"{number}.png", (400, 400)) for number in range(4)]
    size = len(Thumbnails()(paths[0], "thumb"))
    made: list[str] = []
    monkeypatch.setattr(
        "unreid.review.thumbnails.read_image", lambda path: (made.append(path), Image.open(path).convert("RGB"))[1]
    )
    pictures = Thumbnails(capacity=2 * size + size // 2)
    for number in (0, 1, 0, 2, 0, 1, 2):  # 1 was used longest ago when 2 comes, then 2 and 0 go
        assert Image.open(io.BytesIO(pictures(paths[number], "thumb"))).size == (176, 176)
    assert [int(Path(path).stem) for path in made] == [0, 1, 2, 1, 2]
    single = Thumbnails(capacity=1)
    assert single(paths[3], "thumb") == single(paths[3], "thumb") and made.count(paths[3]) == 1, "the last one is kept"
    assert Image.open(io.BytesIO(pictures(paths[0], "image"))).size == (400, 400), "no larger than it is"
    assert all(side >= 176 for side in SIZES["thumb"])
    (tmp_path / "x.png").write_bytes(b"no image")
    monkeypatch.undo()
    with pytest.raises(UserError):
        pictures(str(tmp_path / "x.png"), "thumb")


def headers(**values: str) -> Message:
    found = Message()
    for name, value in values.items():
        found[name.replace("_", "-")] = value
    return found


def test_the_guard_lets_in_who_has_the_token_from_the_pages_own_origin() -> None:
    guard = Guard(8080, "secret")
    assert guard.fits("secret") and not guard.fits("secrets") and not guard.fits("") and not guard.fits("\u00e9")
    assert Guard(1).token != Guard(1).token and len(Guard(1).token) > 30
    assert guard.ticket() == "unreid_review_8080=secret; Path=/; HttpOnly; SameSite=Strict"
    for cookie, let_in in (
        ("unreid_review_8080=secret", True),
        ("other=1; unreid_review_8080=secret", True),
        ("unreid_review_8080=secre", False),
        ("unreid_review_8081=secret", False),
        ("", False),
    ):
        assert guard.is_let_in(headers(Cookie=cookie)) is let_in
    assert guard.is_let_in(headers()) is False
    assert guard.is_let_in(headers(Cookie="unreid review=x")) is False
    for host in ("127.0.0.1:8080", "localhost:8080"):
        assert guard.knows_host(headers(Host=host))
        assert guard.is_own_origin(headers(Host=host, Origin=f"http://{host}"), required=True)
        assert not guard.is_own_origin(headers(Host=host, Origin=f"https://{host}"), required=True)
    assert not guard.knows_host(headers()) and not guard.knows_host(headers(Host="127.0.0.1"))
    both = headers(Host="127.0.0.1:8080")
    both["Host"] = "evil.example"
    assert not guard.knows_host(both)
    assert guard.is_own_origin(headers(), required=False) and not guard.is_own_origin(headers(), required=True)
    for site, own in (("same-origin", True), ("none", True), ("same-site", False), ("cross-site", False)):
        assert guard.is_own_origin(headers(Sec_Fetch_Site=site), required=False) is own
