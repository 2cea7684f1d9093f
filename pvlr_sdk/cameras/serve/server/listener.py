"""A listening socket, served by uvicorn: how many connections may be open, for how long, and which ends first."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import time
import traceback
from asyncio import selector_events, sslproto
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import h11
import uvicorn

from .audit import RepeatFilter
from .problems import problem
from .settings import parse_address

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

Stage: TypeAlias = Literal["head", "body", "response", "websocket"]
"""What a connection waits for: the head of a request, its body, the response; or it is a WebSocket."""

HEAD_SECONDS = 10.0
"""Seconds for the TLS handshake and the head of a request to arrive."""
_SECONDS: dict[Stage, float] = {
    "head": HEAD_SECONDS,
    "body": 60.0,
    "response": 60.0,
    "websocket": float("inf"),
}
"""The application's own limits are shorter; these end what it does not wait for, such as a client that never reads."""
_POLL = 0.1
"""Seconds between two searches for connections that have waited for too long, and until a stop is noticed."""
_READ = 1 << 14
"""Bytes that are read from a connection before others have their turn: many chunks or frames of some bytes each take
long to parse."""
_REPEATS = RepeatFilter()


@dataclass(slots=True)
class _Open:
    socket: socket.socket
    network: str
    stage: Stage
    since: float

    def enter(self, stage: Stage) -> None:
        self.stage = stage
        self.since = time.monotonic()

    def end(self) -> None:
        """The event loop reads the end of the stream, and closes the connection, with or without TLS."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)


class Listener:
    """Serves an application at a socket, and keeps its open connections within limits.

    A process can open about a thousand files, and connections must not take them from the cameras and the sinks. A new
    connection beyond a limit takes the place of the one that has waited longest for its request, of the same address
    or else of the address with the most connections: who holds connections and stays silent keeps nobody out. If each
    has a complete request, the new connection is closed.

    Uvicorn parses and answers requests. It has no limit for connections without a request, so they are accepted here.

    Args:
        listening: a bound socket, which is taken over.
        most: maximum number of open connections.
        most_per_address: maximum number of one IPv4 address, or of one IPv6 network (/64).
        options: further options of uvicorn.
    """

    def __init__(
        self,
        app: ASGIApp,
        listening: socket.socket,
        most: int,
        most_per_address: int,
        **options: Any,
    ) -> None:
        self._app = app
        self._socket = listening
        self._most = most
        self._most_per_address = most_per_address
        self._open: dict[tuple[str, int], _Open] = {}
        self._connecting: set[asyncio.Future[None]] = set()
        self._config = uvicorn.Config(
            self._serve,
            http="h11",
            interface="asgi3",
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            ws_max_size=4096,
            ws_max_queue=8,
            ws_per_message_deflate=False,  # JPEG does not compress further
            **options,
        )
        self._config.load()
        self._server = uvicorn.Server(self._config)
        # one for all servers; adding it again changes nothing
        logging.getLogger("uvicorn.error").addFilter(_REPEATS)
        # For all connections of the process: asyncio has no option for it.
        selector_events._SelectorSocketTransport.max_size = _READ  # type: ignore[attr-defined]
        sslproto.SSLProtocol.max_size = _READ
        listening.setblocking(False)

    @property
    def started(self) -> bool:
        """Whether requests are answered."""
        return self._server.started

    async def run(self) -> None:
        """Serve until :meth:`stop`; then responses in progress end, until they are no longer waited for."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_report)
        serving = asyncio.create_task(self._server.serve(sockets=[]))
        self._listen()
        while not self._server.should_exit and not serving.done():
            await asyncio.wait({serving}, timeout=_POLL)
            self._expire()
        loop.remove_reader(self._socket)
        self._socket.close()
        await serving
        # What is left would be cancelled by asyncio and answered with a 500.
        for connection in self._current():
            connection.end()
        await asyncio.sleep(0)

    def stop(self, *, wait: bool = True) -> None:
        """Start to end; safe in any thread and in a signal handler. ``wait``: for responses in progress."""
        self._server.should_exit = True
        self._server.force_exit = not wait

    def _listen(self) -> None:
        if self._socket.fileno() >= 0:
            asyncio.get_running_loop().add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        """Take the connection that waits, or leave it for later if the process has too many files."""
        try:
            connection, address = self._socket.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket)
            loop.call_later(1, self._listen)
            return
        network = network_of(address[0])
        if not self._make_room(network):
            connection.close()
            return
        connection.setblocking(False)
        # Headers and body of a response are two segments: Nagle's algorithm would delay the second by 40 ms.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open[address[0], address[1]] = _Open(connection, network, "head", time.monotonic())
        task = asyncio.ensure_future(self._connect(connection))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, connection: socket.socket) -> None:
        tls = self._config.ssl
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol,
                connection,
                ssl=tls,
                ssl_handshake_timeout=HEAD_SECONDS if tls else None,
            )
        except OSError:  # TLS failed, or took too long
            connection.close()

    def _protocol(self) -> asyncio.Protocol:
        make: Any = self._config.http_protocol_class  # as uvicorn.Server makes it
        protocol: asyncio.Protocol = make(
            config=self._config, server_state=self._server.server_state, app_state={}
        )
        return protocol

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application for uvicorn, which also notes the stage of the connection."""
        # if the body that came with the head is not HTTP, the connection has ended by now
        await asyncio.sleep(0)
        opened = self._open.get(scope["client"])
        if opened is None:
            await self._app(scope, receive, send)
            return
        fields = {name for name, value in scope["headers"] if value != b"0"}
        has_body = not fields.isdisjoint((b"content-length", b"transfer-encoding"))
        if scope["type"] == "websocket":
            stages = [
                connection.stage
                for connection in self._current()
                if connection.network == opened.network
            ]
            # which are never closed to make room
            if stages.count("websocket") >= self._most_per_address // 2:
                await receive()
                await problem(503, "Too many WebSockets from this address.")(scope, receive, send)
                return
        opened.enter(
            "websocket" if scope["type"] == "websocket" else "body" if has_body else "response"
        )

        async def noted() -> Message:
            message = await receive()
            if opened.stage == "body" and not message.get("more_body"):
                opened.enter("response")
            return message

        try:
            await self._app(scope, noted, send)
        finally:
            opened.enter("head")

    def _expire(self) -> None:
        now = time.monotonic()
        for connection in self._current():
            if now - connection.since > _SECONDS[connection.stage]:
                connection.end()

    def _current(self) -> list[_Open]:
        self._open = {
            key: connection
            for key, connection in self._open.items()
            if connection.socket.fileno() >= 0
        }
        return list(self._open.values())

    def _make_room(self, network: str) -> bool:
        current = self._current()
        counts = Counter(connection.network for connection in current)
        if counts[network] >= self._most_per_address:
            return self._evict(
                [connection for connection in current if connection.network == network]
            )
        if len(current) >= self._most:
            largest = max(counts.values())
            return self._evict(
                [connection for connection in current if counts[connection.network] == largest]
            ) or self._evict(current)
        return True

    def _evict(self, among: list[_Open]) -> bool:
        for stage in ("head", "body"):
            waiting = [connection for connection in among if connection.stage == stage]
            if waiting:
                oldest = min(waiting, key=lambda connection: connection.since)
                self._open = {
                    key: connection
                    for key, connection in self._open.items()
                    if connection is not oldest
                }
                oldest.end()
                return True
        return False


def network_of(address: str) -> str:
    """An IPv4 address, or the /64 network of an IPv6 address, of which one machine can have any number."""
    parsed = parse_address(address.partition("%")[0])
    if parsed is None:
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((int(parsed), 64), strict=False))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # Uvicorn answers what is not HTTP with a 400, also after the response to the request that it belongs to; it asserts
    # that a WebSocket has no frames before the response to its handshake.
    error = context.get("exception")
    asserted = (
        isinstance(error, AssertionError)
        and "uvicorn" in traceback.extract_tb(error.__traceback__)[-1].filename
    )
    if not asserted and not isinstance(error, h11.LocalProtocolError):
        loop.default_exception_handler(context)
