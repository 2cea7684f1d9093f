"""Access control, applied to every request: its Host, its Origin and its token."""

from __future__ import annotations

import base64
import re
import socket
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response

from .audit import Attempts, Audit, address_of
from .listener import network_of
from .problems import problem
from .settings import ServeSettings, parse_address
from .tokens import Tokens, session_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "pvlr_session"
SIGN_IN = "/signin"

_PROBES = frozenset({"/healthz", "/readyz"})
"""Open to all: they reveal next to nothing, and an orchestrator has neither a token nor a name for this machine."""
_BEFORE_SIGNING_IN = frozenset({SIGN_IN, "/page/style.css", "/page/icon.svg"})
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")

_DISCARDED = 1_000_000
"""Bytes of the body of a refused request that are read."""

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


class AccessControl:
    """Checks requests against the tokens and the names of this machine."""

    def __init__(self, settings: ServeSettings, audit: Audit) -> None:
        self.tokens = Tokens(settings.token, settings.token_file)
        self.audit = audit
        self._attempts = Attempts()
        self._accepted: set[tuple[str, str]] = set()
        host_name = socket.gethostname().lower()
        self._names = {
            "localhost",
            host_name,
            f"{host_name}.local",
            *(name.lower() for name in settings.names),
        }
        if parse_address(settings.host) is None:
            self._names.add(settings.host.lower())

    def sign_in(self, scope: Scope, token: str) -> str | None:
        """The session cookie of a token; None: it is not valid. The request is then its owner's."""
        self._refresh()
        session = session_of(token)
        name = scope.setdefault("state", {})["who"] = self.tokens.name_of_session(session)
        if name:
            self._accept(network_of(address_of(scope) or ""), name)
        return session if name else None

    def judge(self, scope: Scope) -> Response | None:
        """The response that rejects a request; None: the request may pass, and ``state`` has the token's name."""
        path = scope["path"]
        headers = Headers(scope=scope)
        if _has_two_lengths(headers):
            return problem(
                400, "Send either Content-Length or Transfer-Encoding.", {"Connection": "close"}
            )
        if path in _PROBES:
            return None
        if not self._is_our_name(headers.getlist("host")):
            return problem(
                421,
                "Use the address or the host name of this machine, or add this name to serve: names in the site file.",
            )
        if _is_from_another_site(headers):
            return problem(403, "Pages of other sites may not use this server.")
        self._refresh()
        if not self.tokens.required or path in _BEFORE_SIGNING_IN:
            return None
        return self._judge_session(scope, _session_in(headers))

    def _judge_session(self, scope: Scope, session: str | None) -> Response | None:
        """The response that rejects the session of a request; None: it is valid, and ``state`` has its name."""
        network = network_of(address_of(scope) or "")
        name = self.tokens.name_of_session(session) if session else None
        # A token that was accepted from this address is never refused, whatever else this address guesses.
        was_accepted = name is not None and (network, name) in self._accepted
        seconds = self._attempts.add(network, session) if session and not was_accepted else 0
        if name is None or seconds:
            self.audit.refused(scope)
            return _not_signed_in(scope, seconds)
        scope.setdefault("state", {})["who"] = name
        if not was_accepted:
            self._accept(network, name)
        return None

    def _is_our_name(self, hosts: list[str]) -> bool:
        """Protects against DNS rebinding, another site's name that resolves to this machine; addresses are safe."""
        match = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if match is None:
            return False
        host = match[1].strip("[]").lower()
        return parse_address(host) is not None or host.rstrip(".") in self._names

    def _refresh(self) -> None:
        result = self.tokens.refresh()
        if result:
            self.audit.record("tokens", result)

    def _accept(self, network: str, name: str) -> None:
        self._accepted.add((network, name))
        self._attempts.forget(network)


class AccessMiddleware:
    """Middleware that asks the access first and adds security headers to each response."""

    def __init__(self, app: ASGIApp, access: AccessControl) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return

        async def strictly(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        refusal = self._access.judge(scope)
        if scope.get("method") == "HEAD":
            scope = {**scope, "method": "GET"}  # the web server sends the headers alone
        if refusal is None:
            await self._app(scope, receive, strictly)
        elif scope["type"] == "http":
            await _refuse(refusal, scope, receive, strictly)
        else:  # uvicorn has the extension "websocket.http.response"
            await receive()
            await refusal(scope, receive, strictly)


async def _refuse(refusal: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Send a refusal, and read a little of the request's body before the connection ends: a client that still sends
    would get a reset connection instead."""
    names = {name for name, value in scope["headers"] if value != b"0"}
    if names.isdisjoint((b"content-length", b"transfer-encoding")):
        await refusal(scope, receive, send)
        return
    refusal.headers["Connection"] = "close"

    async def unfinished(message: Message) -> None:
        await send(
            {**message, "more_body": True} if message["type"] == "http.response.body" else message
        )

    await refusal(scope, receive, unfinished)
    left = _DISCARDED
    while left > 0 and (message := await receive()).get("more_body"):
        left -= len(message["body"])
    await send({"type": "http.response.body"})


def _has_two_lengths(headers: Headers) -> bool:
    """Whether a proxy may take the other length of the body, and what follows for a request of its own."""
    return "content-length" in headers and "transfer-encoding" in headers


def _is_from_another_site(headers: Headers) -> bool:
    """Whether a page of another site sends a request or opens a WebSocket, which it cannot without its Origin.

    Its images have no Origin, but browsers say whose page it is; only its links may be followed.
    """
    is_cross_site = headers.get("sec-fetch-site") in ("cross-site", "same-site")
    if is_cross_site and headers.get("sec-fetch-mode") != "navigate":
        return True
    origins = [_netloc(origin) for origin in headers.getlist("origin")]
    return bool(origins) and origins != [headers["host"].lower()]


def _not_signed_in(scope: Scope, seconds: int) -> Response:
    """The response to a request without a valid token; ``seconds``: until its address may try again, 0: now."""
    is_get = scope["type"] == "http" and scope["method"] == "GET"
    if is_get and scope["path"] in ("/", "/docs"):
        return RedirectResponse(SIGN_IN, 303)
    if seconds:
        return problem(
            429,
            f"Too many wrong tokens. Try again in {seconds} s.",
            {"Retry-After": str(seconds)},
        )
    return problem(
        401, "Send the header Authorization: Bearer TOKEN.", {"WWW-Authenticate": "Bearer"}
    )


def _session_in(headers: Headers) -> str | None:
    """The session of a request: of its bearer token or its password, or else its cookie."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return session_of(token.strip())
    # for clients that have no other way, such as Label Studio: the token is the password
    if kind.lower() == "basic":
        with suppress(ValueError):
            return session_of(base64.b64decode(token, validate=True).decode().partition(":")[2])
    return cookie_parser("; ".join(headers.getlist("cookie"))).get(COOKIE)


def _netloc(origin: str) -> str:
    """Host and port of an Origin, as in a Host header; empty if it is ``null`` or invalid."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
