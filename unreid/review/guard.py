"""Who may talk to the page: a browser that was given the token, under the page's own name, from the page itself."""

from __future__ import annotations

import hmac
import secrets
from email.message import Message
from http.cookies import CookieError, SimpleCookie

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Of every answer."""


class Guard:
    """Checks requests to a server on this machine.

    Other sites can make a browser send requests here (CSRF), and can give their name this machine's address (DNS
    rebinding): the name in ``Host``, the origin, and a cookie that is never sent from another site stop both. Other
    users of the machine can connect: they lack the token.

    Args:
        port: of the server.
        token: fresh by default.
    """

    def __init__(self, port: int, token: str | None = None) -> None:
        self.token = token or secrets.token_urlsafe(32)
        self.cookie = f"unreid_review_{port}"  # cookies do not tell ports apart
        self.hosts = (f"127.0.0.1:{port}", f"localhost:{port}")

    def knows_host(self, headers: Message) -> bool:
        """The request was made under one of the page's names."""
        return headers.get_all("Host", []) in [[host] for host in self.hosts]

    def is_own_origin(self, headers: Message, *, required: bool) -> bool:
        """The request does not come from another site; ``required``: it says where it comes from."""
        site = headers.get("Sec-Fetch-Site")
        if site not in (None, "same-origin", "none"):
            return False
        origin = headers.get("Origin")
        if origin is None:
            return not required
        return origin == f"http://{headers.get('Host', '')}"

    def fits(self, token: str) -> bool:
        """The token is the right one; takes the same time for every wrong one."""
        return hmac.compare_digest(token.encode("utf-8", "replace"), self.token.encode())

    def is_let_in(self, headers: Message) -> bool:
        """The request carries the cookie."""
        try:
            cookie = SimpleCookie(headers.get("Cookie", "")).get(self.cookie)
        except CookieError:
            return False
        return cookie is not None and self.fits(cookie.value)

    def ticket(self) -> str:
        """``Set-Cookie`` for a browser that came with the token."""
        return f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict"
