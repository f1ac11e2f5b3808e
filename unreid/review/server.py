"""The page's server: one person, this machine, no file but the page's own and pictures of the set, by number."""

from __future__ import annotations

import errno
import importlib.resources
import json
import logging
import secrets
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from unreid.review.export import identities
from unreid.review.guard import HEADERS, Guard
from unreid.review.session import ActionError, Session, StaleError
from unreid.review.thumbnails import SIZES, Thumbnails
from unreid.utils.errors import UserError

logger = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"
MOST_BYTES = 2**20  # of a request's body
MOST_PASSED_OVER = 8 * MOST_BYTES  # of a body that is too long, read before it is refused
PATIENCE = 30.0  # seconds that a connection may say nothing
PAGE = {"app.js": "text/javascript", "app.css": "text/css", "icon.svg": "image/svg+xml"}

Answer = tuple[int, str, bytes]


class RefusedError(Exception):
    """A request that is not answered: a status from 400 to 499, and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class ReviewServer(ThreadingHTTPServer):
    """Serves one session until it is shut down.

    Args:
        port: 0 takes a free one.

    Attributes:
        url: where the page is, with the token.

    Raises:
        UserError: the port is taken or not allowed.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, session: Session, port: int = 0) -> None:
        self.session = session
        self.thumbnails = Thumbnails()
        self.run = secrets.token_hex(4)  # part of the addresses of pictures: another set has others
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            reason = "it is taken" if taken else str(error.strerror or error)
            raise UserError(f"Port {port} cannot be used: {reason}; choose another one with --port.") from None
        self.guard = Guard(self.server_address[1])

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.server_address[1]}/?token={self.guard.token}"

    def close(self) -> None:
        """Ends; an action under way is finished first."""
        self.server_close()
        with self.session.lock:
            pass

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Of a connection: browsers hang up as they like."""
        logger.debug("a connection failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: ReviewServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "unreid", ""
    timeout = PATIENCE
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _answer(self, work: Callable[[], Answer]) -> None:
        extra: dict[str, str] = {}
        try:
            self._check()
            status, kind, content = work()
            if kind == "text/html":
                extra["Set-Cookie"] = self.server.guard.ticket()
        except RefusedError as error:
            status, kind, content = _sentence(error.status, str(error))
        except StaleError as error:
            status, kind, content = _sentence(HTTPStatus.CONFLICT, str(error))
        except ActionError as error:
            status, kind, content = _sentence(HTTPStatus.BAD_REQUEST, str(error))
        except (ConnectionError, TimeoutError):
            self.close_connection = True
            return
        except Exception:
            logger.exception("a request failed")
            status, kind, content = _sentence(HTTPStatus.INTERNAL_SERVER_ERROR, "The server failed; its log says why.")
        if status >= 400:  # a body that was not read must not be taken for the next request
            self.close_connection = True
            extra["Connection"] = "close"
        self._send(status, kind, content, extra)

    def _send(self, status: int, kind: str, content: bytes, extra: dict[str, str]) -> None:
        picture = kind == "image/jpeg" and status == HTTPStatus.OK
        try:
            self.send_response(status)
            text = kind.startswith("text/") or kind == "application/json"
            self.send_header("Content-Type", f"{kind}; charset=utf-8" if text else kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "private, max-age=3600" if picture else "no-store")
            for name, value in (HEADERS | extra).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    # --------------------------------------------------------------------------------------------- requests

    def _check(self) -> None:
        guard = self.server.guard
        if not guard.knows_host(self.headers):
            raise RefusedError(HTTPStatus.MISDIRECTED_REQUEST, "This is not a name of this page.")
        if self.command == "GET" and self._path == "/" and guard.fits(self._query("token", "")):
            return
        if not guard.is_own_origin(self.headers, required=self.command == "POST"):
            raise RefusedError(HTTPStatus.FORBIDDEN, "Requests from other sites are refused.")
        if not guard.is_let_in(self.headers):
            raise RefusedError(
                HTTPStatus.FORBIDDEN, "Open the page with the address that unreid review has printed, token included."
            )

    @property
    def _path(self) -> str:
        return self.path.partition("?")[0]

    def _query(self, name: str, default: str | None = None) -> str:
        try:
            values = parse_qs(urlsplit(self.path).query, max_num_fields=20).get(name)
        except ValueError:
            values = None
        if values is None:
            if default is None:
                raise RefusedError(HTTPStatus.BAD_REQUEST, f"The address lacks {name}.")
            return default
        return values[0]

    def _get(self) -> Answer:
        session, path = self.server.session, self._path
        if path == "/":
            return HTTPStatus.OK, "text/html", _asset("index.html")
        if path.removeprefix("/") in PAGE:
            return HTTPStatus.OK, PAGE[path.removeprefix("/")], _asset(path.removeprefix("/"))
        if path == "/api/state":
            return _json({**session.state(), "run": self.server.run})
        if path == "/api/cluster":
            return _json(session.cluster(_number(self._query("id"))))
        if path == "/api/crop":
            return _json(session.crop(_number(self._query("id"))))
        if path == "/export.csv":
            return HTTPStatus.OK, "text/csv", identities(session).to_csv()
        parts = path.split("/")
        if len(parts) == 3 and parts[1] in SIZES:
            place = session.crop(_number(parts[2]))["id"]
            try:
                return HTTPStatus.OK, "image/jpeg", self.server.thumbnails(session.crops.paths[place], parts[1])
            except UserError as error:
                logger.warning("%s", error)
                raise RefusedError(HTTPStatus.NOT_FOUND, "This image cannot be read.") from None
        raise RefusedError(HTTPStatus.NOT_FOUND, "There is nothing here.")

    def _post(self) -> Answer:
        session, path = self.server.session, self._path
        body = self._body()
        if path == "/api/neighbours":
            return _json(session.neighbours(_numbers(body, "crops")))
        action = _ACTIONS.get(path.removeprefix("/api/"))
        if action is None or not path.startswith("/api/"):
            raise RefusedError(HTTPStatus.NOT_FOUND, "There is nothing here.")
        return _json(action(session, body, _integer(body, "revision")))

    def _body(self) -> dict[str, Any]:
        if self.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send JSON.")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal()) or "Transfer-Encoding" in self.headers:
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "Say how long the request is.")
        if len(length) > 9 or int(length) > MOST_BYTES:
            self._pass_over(MOST_PASSED_OVER if len(length) > 9 else min(int(length), MOST_PASSED_OVER))
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The request is too long.")
        content = self.rfile.read(int(length))
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "The request is no JSON.") from None
        if not isinstance(body, dict):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "The request is no table.")
        return body

    def _pass_over(self, count: int) -> None:
        """Reads what is not wanted: who is still sending when the connection ends does not see the answer."""
        while count > 0 and (part := self.rfile.read(min(count, 2**16))):
            count -= len(part)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class refuses: bad request lines, unknown methods, headers without end."""
        self.close_connection = True
        status = HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else code
        self.command = getattr(self, "command", None) or "GET"
        self.request_version = getattr(self, "request_version", None) or "HTTP/1.0"
        self.requestline = getattr(self, "requestline", "")
        self._send(*_sentence(status, HTTPStatus(status).phrase), {"Connection": "close"})

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug(format, *args)


_ACTIONS: dict[str, Callable[[Session, dict[str, Any], int], dict[str, Any]]] = {
    "merge": lambda session, body, at: session.merge(_integer(body, "into"), _integer(body, "other"), at),
    "apart": lambda session, body, at: session.apart(_integer(body, "one"), _integer(body, "other"), at),
    "confirm": lambda session, body, at: session.confirm(_integer(body, "cluster"), _numbers(body, "crops"), at),
    "split": lambda session, body, at: session.split(_numbers(body, "crops"), at),
    "move": lambda session, body, at: session.move(_numbers(body, "crops"), _integer(body, "to"), at),
    "refuse": lambda session, body, at: session.refuse(_numbers(body, "crops"), _integer(body, "cluster"), at),
    "noise": lambda session, body, at: session.noise(_numbers(body, "crops"), at),
    "undo": lambda session, body, at: session.undo(at),
    "redo": lambda session, body, at: session.redo(at),
}


def _asset(name: str) -> bytes:
    return importlib.resources.files("unreid.review").joinpath("page", name).read_bytes()


def _json(value: Any) -> Answer:
    return HTTPStatus.OK, "application/json", json.dumps(value, separators=(",", ":")).encode("ascii")


def _sentence(status: int, sentence: str) -> Answer:
    return status, "application/json", json.dumps({"error": sentence}).encode("ascii")


def _number(text: str) -> int:
    if not text.removeprefix("-").isdecimal() or not text.isascii() or len(text) > 12:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "The address needs a number.")
    return int(text)


def _integer(body: dict[str, Any], name: str) -> int:
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > 10**12:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"The request needs a number as {name}.")
    return value


def _numbers(body: dict[str, Any], name: str) -> list[int]:
    values = body.get(name)
    whole = isinstance(values, list) and all(type(value) is int and abs(value) < 10**12 for value in values)
    if not whole:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"The request needs a list of numbers as {name}.")
    assert isinstance(values, list)
    return values
