"""Who may come in: the Host and Origin of a request, and its token. Stands before everything else."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import socket
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response

from .problems import problem
from .settings import ServeSettings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "pvlr_session"
SIGN_IN = "/signin"

_PROBES = frozenset({"/healthz", "/readyz"})
"""They say next to nothing, and who asks has no token and no name for this machine."""
_BEFORE_SIGNING_IN = frozenset({SIGN_IN, "/page/style.css", "/page/icon.svg"})
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with no-referrer a form's Origin would be null
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Knows the token, and the names of this machine."""

    def __init__(self, settings: ServeSettings) -> None:
        self._token = settings.token
        host_name = socket.gethostname().lower()
        self._names = {"localhost", host_name, f"{host_name}.local", *(name.lower() for name in settings.names)}
        if not _is_address(settings.host):
            self._names.add(settings.host.lower())
        # The cookie is made from the token, so that sessions live through a restart and end with the token.
        self._session = _digest(settings.token) if settings.token else ""

    def check_token(self, given: str) -> str | None:
        """The cookie of a session, if the token is the right one. Takes the same time whatever is wrong with it."""
        return self._session if self._token and _equal(given, self._token) else None

    def judge(self, scope: Scope) -> Response | None:
        """What to answer in place of the application; None: the request may pass."""
        path, headers = scope["path"], Headers(scope=scope)
        if path in _PROBES:
            return None
        if not self._is_our_name(headers.getlist("host")):
            return problem(421, "Call this machine by its address or its host name, or name it with --name.")
        origin = headers.get("origin")
        # A page of another site may send requests here, and open WebSockets; it can't take back its Origin.
        if origin is not None and urlsplit_netloc(origin) != headers["host"].lower():
            return problem(403, "Pages of other sites may not use this one.")
        if self._token is None or path in _BEFORE_SIGNING_IN or self._is_known(headers):
            return None
        if scope["type"] == "http" and scope["method"] == "GET" and path == "/":
            return RedirectResponse(SIGN_IN, 303)
        return problem(401, "Send the header Authorization: Bearer TOKEN.", {"WWW-Authenticate": "Bearer"})

    def _is_our_name(self, hosts: list[str]) -> bool:
        """Against DNS rebinding: a foreign name that was made to lead here. It takes a name, so addresses are fine."""
        match = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if match is None:
            return False
        host = match[1].strip("[]").lower()
        return _is_address(host) or host.rstrip(".") in self._names

    def _is_known(self, headers: Headers) -> bool:
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self.check_token(token.strip()):
            return True
        return any(_equal(session, self._session) for session in _sessions(headers.getlist("cookie")))


class Access:
    """Middleware: asks the guard first, and adds the headers that keep browsers strict."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return

        async def strictly(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        refusal = self._guard.judge(scope)
        if refusal is None:
            await self._app(scope, receive, strictly)
        elif scope["type"] == "http":
            await refusal(scope, receive, strictly)
        elif "websocket.http.response" in scope.get("extensions", {}):
            await receive()
            await refusal(scope, receive, strictly)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1008})


def urlsplit_netloc(origin: str) -> str:
    """Host and port of an Origin, as a Host header has them; empty for ``null`` and nonsense."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _digest(token: str) -> str:
    return hmac.new(token.encode(), b"pvlr session", hashlib.sha256).hexdigest()


def _equal(given: str, known: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), known.encode())


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _sessions(cookies: Iterable[str]) -> list[str]:
    found = []
    for cookie in cookies:
        try:
            parsed = SimpleCookie(cookie)
        except CookieError:
            continue
        if COOKIE in parsed:
            found.append(parsed[COOKIE].value)
    return found
