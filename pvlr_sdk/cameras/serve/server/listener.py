"""A listening socket, served by uvicorn: how many connections may be open, for how long, and which ends first."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import uvicorn

from .audit import RepeatFilter, address_of
from .problems import problem
from .protocols import HttpProtocol, Stage, WebSocketProtocol
from .settings import parse_address

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_SECONDS: dict[Stage, float] = {
    "head": 10.0,  # with the TLS handshake
    "body": 90.0,
    "response": 90.0,
    "websocket": float("inf"),
}
"""Seconds since the last response, or since the connection was accepted. The application's own limits are shorter;
these end what it does not wait for, such as a client that never reads."""
_POLL = 0.1
"""Seconds between two searches for connections that have waited for too long."""
_BACKLOG = 128
_REPEATS = RepeatFilter()


@dataclass(frozen=True, slots=True, eq=False)
class _Connection:
    socket: socket.socket
    address: tuple[str, int]
    network: str
    accepted: float

    def end(self) -> None:
        """The event loop reads the end of the stream, and closes the connection, with or without TLS."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)


class _ListeningSocket(socket.socket):
    """Asks ``admits`` about each connection before its TLS handshake, since that takes a place, too."""

    def __init__(
        self, listening: socket.socket, admits: Callable[[socket.socket, tuple[Any, ...]], bool]
    ) -> None:
        super().__init__(fileno=listening.detach())
        self.admits = admits

    def accept(self) -> tuple[socket.socket, Any]:
        connection, address = super().accept()
        if not self.admits(connection, address):
            connection.close()
            raise ConnectionAbortedError  # the event loop asks again
        return connection, address


class Listener:
    """Serves an application at a socket, and keeps its open connections within limits.

    A process can open about a thousand files, and connections must not take them from the cameras and the sinks. A new
    connection beyond a limit takes the place of the one that has waited longest for its request, of the same address
    or else of the address with the most connections: who holds connections and stays silent keeps nobody out. If each
    has a complete request, the new connection is closed.

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
        self._most = most
        self._most_per_address = most_per_address
        self._open: list[_Connection] = []
        self.config = uvicorn.Config(
            self._serve,
            http=HttpProtocol,
            ws=WebSocketProtocol,
            interface="asgi3",
            backlog=_BACKLOG,
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
        self.config.load()
        self._server = uvicorn.Server(self.config)
        # One filter for all servers: adding it again changes nothing.
        logging.getLogger("uvicorn.error").addFilter(_REPEATS)
        self._socket = _ListeningSocket(listening, self._admit)
        # Headers and body of a response are two segments: Nagle's algorithm would delay the second by 40 ms. Accepted
        # sockets inherit the option.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def started(self) -> bool:
        """Whether requests are answered."""
        return self._server.started

    async def run(self) -> None:
        """Serve until :meth:`stop`; then responses in progress end, until they are no longer waited for."""
        serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not serving.done() and not self._server.force_exit:
            await asyncio.wait({serving}, timeout=_POLL)
            self._expire()
        # What is left would be cancelled by asyncio and answered with a 500.
        for connection in self.connections():
            connection.end()
        await serving
        await asyncio.sleep(0)

    def stop(self, *, wait: bool = True) -> None:
        """Start to end; safe in any thread and in a signal handler. ``wait``: for responses in progress."""
        self._server.should_exit = True
        self._server.force_exit = not wait

    def connections(self) -> list[_Connection]:
        """The open connections, oldest first."""
        self._open = [connection for connection in self._open if connection.socket.fileno() >= 0]
        return self._open

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application, with a limit for the WebSockets of an address: they are never closed to make room."""
        if scope["type"] == "websocket":
            network = network_of(address_of(scope) or "")
            count = sum(
                stage == "websocket" and connection.network == network
                for connection, (stage, _) in self._waits().items()
            )
            if count > self._most_per_address // 2:
                await receive()
                await problem(503, "Too many WebSockets from this address.")(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _waits(self) -> dict[_Connection, tuple[Stage, float]]:
        """What each connection waits for, and since when."""
        protocols = {
            protocol.client: protocol
            for protocol in self._server.server_state.connections
            if isinstance(protocol, (HttpProtocol, WebSocketProtocol))
        }
        waits: dict[_Connection, tuple[Stage, float]] = {}
        for connection in self.connections():
            protocol = protocols.get(connection.address)
            if protocol is None:  # during the TLS handshake
                waits[connection] = "head", connection.accepted
            else:
                waits[connection] = protocol.stage, max(connection.accepted, protocol.responded)
        return waits

    def _expire(self) -> None:
        now = time.monotonic()
        for connection, (stage, since) in self._waits().items():
            if now - since > _SECONDS[stage]:
                connection.end()

    def _admit(self, accepted: socket.socket, address: tuple[Any, ...]) -> bool:
        network = network_of(address[0])
        if not self._make_room(network):
            return False
        self._open.append(
            _Connection(accepted, (address[0], address[1]), network, time.monotonic())
        )
        return True

    def _make_room(self, network: str) -> bool:
        counts = Counter(connection.network for connection in self.connections())
        is_crowded = counts[network] >= self._most_per_address
        if not is_crowded and counts.total() < self._most:
            return True
        ranks = {
            connection: (-counts[connection.network], stage == "body", since)
            for connection, (stage, since) in self._waits().items()
            if stage in ("head", "body") and (connection.network == network or not is_crowded)
        }
        if not ranks:
            return False
        first = min(ranks, key=ranks.__getitem__)
        self._open.remove(first)
        first.end()
        return True


def network_of(address: str) -> str:
    """An IPv4 address, or the /64 network of an IPv6 address, of which one machine can have any number."""
    parsed = parse_address(address.partition("%")[0])
    if parsed is None:
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((int(parsed), 64), strict=False))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)
