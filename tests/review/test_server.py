"""Who gets an answer from the page's server, and what requests get that nobody should send."""

from __future__ import annotations

import http.client
import json
import re
from pathlib import Path
from typing import Any

import pytest

from unreid.review import CropSet, ReviewServer
from unreid.utils.errors import UserError


def ask(server: ReviewServer, path: str, body: Any = None, *, method: str = "", **headers: str) -> tuple[int, Any, Any]:
    """Status, headers and content of a request; with the cookie and, for a body, as the page would send it."""
    port = server.server_address[1]
    sent = {"Cookie": f"{server.guard.cookie}={server.guard.token}"}
    if body is not None:
        sent |= {"Origin": f"http://127.0.0.1:{port}", "Content-Type": "application/json"}
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(
            method or ("GET" if body is None else "POST"), path, body, {k: v for k, v in sent.items() if v}
        )
        answer = connection.getresponse()
        content = answer.read()
        if answer.getheader("Content-Type", "").startswith("application/json"):
            content = json.loads(content)
        return answer.status, answer.headers, content
    finally:
        connection.close()


def test_the_token_opens_the_page_and_nothing_else_does(server: ReviewServer) -> None:
    path = server.url.partition(str(server.server_address[1]))[2]
    status, headers, content = ask(server, path, Cookie="")
    assert status == 200 and b"<title>unreid review" in content
    cookie = headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert ask(server, "/api/state", Cookie=cookie.partition(";")[0])[0] == 200
    for wrong in (
        "/",
        "/?token=",
        "/?token=x",
        "/?token=" + "\u00e9".encode().hex(),
        "/api/state",
        "/thumb/0",
        "/app.js",
    ):
        status, _, content = ask(server, wrong, Cookie="")
        assert status == 403 and "address" in content["error"]
    assert ask(server, "/api/state", Cookie=f"{server.guard.cookie}=x")[0] == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}"])
def test_another_name_of_this_machine_is_refused(server: ReviewServer, host: str) -> None:
    """DNS rebinding: the browser would send the cookie of nobody, but an attacker's page could ask for the page."""
    path = server.url.partition(str(server.server_address[1]))[2]
    assert ask(server, path, Host=host.format(port=server.server_address[1]))[0] == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_requests_of_other_sites_change_nothing(server: ReviewServer, headers: dict[str, str]) -> None:
    assert ask(server, "/api/noise", {"crops": [1], "revision": 0}, **headers)[0] == 403
    assert server.session.store.revision == 0
    if "Origin" not in headers or headers["Origin"]:
        assert ask(server, "/api/state", **headers)[0] == 403


def test_every_answer_carries_the_policies(server: ReviewServer) -> None:
    for path in ("/api/state", "/thumb/1", "/nothing", "/app.js"):
        headers = ask(server, path)[1]
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
        assert "Python" not in headers["Server"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/thumb/90", 400),
        ("/thumb/-1", 400),
        ("/thumb/x", 400),
        ("/thumb/1e3", 400),
        ("/thumb/" + "9" * 400, 400),
        ("/thumb/../app.js", 404),
        ("/../../etc/passwd", 404),
        ("/%2e%2e/%2e%2e/etc/passwd", 404),
        ("/page/index.html", 404),
        ("/index.html", 404),
        ("/thumb/30", 404),
        ("/api/cluster", 400),
        ("/api/cluster?id=99", 400),
        ("/api/cluster?id=-3", 400),
        ("/api/cluster?" + "&".join(["x=1"] * 100), 400),
        ("/api/crop?id=%00", 400),
        ("//evil.example/", 404),
        ("/api/merge", 404),
    ],
)
def test_wrong_addresses_get_a_sentence(server: ReviewServer, path: str, status: int) -> None:
    found, _, content = ask(server, path)
    assert found == status
    assert re.fullmatch(r"[A-Z][^\n]*\.", content["error"]) and "Traceback" not in content["error"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/noise", {"crops": [1]}, 400),
        ("/api/noise", {"crops": [1], "revision": "0"}, 400),
        ("/api/noise", {"crops": [1], "revision": True}, 400),
        ("/api/noise", {"crops": [10**30], "revision": 0}, 400),
        ("/api/noise", {"crops": [1.5], "revision": 0}, 400),
        ("/api/noise", {"crops": "all", "revision": 0}, 400),
        ("/api/noise", {"crops": [], "revision": 0}, 400),
        ("/api/noise", {"crops": [90], "revision": 0}, 400),
        ("/api/noise", {"crops": [1], "revision": 7}, 409),
        ("/api/merge", {"into": 1, "other": 1, "revision": 0}, 400),
        ("/api/merge", {"into": 1, "other": 77, "revision": 0}, 400),
        ("/api/split", {"crops": [0, 80], "revision": 0}, 400),
        ("/api/undo", {"revision": 0}, 400),
        ("/api/nothing", {"revision": 0}, 404),
        ("/nothing", {"revision": 0}, 404),
        ("/api/noise", [], 400),
        ("/api/noise", b"{", 400),
        ("/api/noise", b"\xff\xfe", 400),
        ("/api/noise", b"[" * 100_000, 400),
        ("/api/noise", b"0" * (2**20 + 1), 413),
    ],
)
def test_wrong_actions_get_a_sentence_and_do_nothing(server: ReviewServer, path: str, body: Any, status: int) -> None:
    found, _, content = ask(server, path, body)
    assert found == status and content["error"].endswith(".")
    assert server.session.store.revision == 0


def test_other_methods_and_types_are_refused(server: ReviewServer) -> None:
    assert ask(server, "/", method="PUT")[0] == 405
    assert ask(server, "/api/noise", b"crops=1", Content_Type="application/x-www-form-urlencoded")[0] == 415
    assert ask(server, "/api/noise", b"{}", Content_Type="text/plain")[0] == 415


def test_pictures_are_made_anew(server: ReviewServer) -> None:
    status, headers, content = ask(server, "/thumb/1")
    assert status == 200 and headers["Content-Type"] == "image/jpeg" and content.startswith(b"\xff\xd8")
    assert ask(server, "/image/1")[0] == 200


def test_an_action_is_there_before_it_is_answered(server: ReviewServer) -> None:
    status, _, change = ask(server, "/api/merge", {"into": 0, "other": 1, "revision": 0})
    assert status == 200 and change["gone"] == [1] and change["revision"] == 1
    assert 1 not in {row[0] for row in ask(server, "/api/state")[2]["rows"]}
    table = ask(server, "/export.csv")[2].decode().splitlines()
    assert table[0] == "path,camera,pid,confidence" and len(table) == 91


def test_a_port_that_is_taken_is_one_sentence(server: ReviewServer, crops: CropSet, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Port \d+ cannot be used: it is taken; choose another one with --port"):
        ReviewServer(server.session, server.server_address[1])
