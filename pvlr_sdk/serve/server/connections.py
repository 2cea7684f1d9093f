"""The connections of a listener: how many may be open, for how long, and which ends first when there are too many."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .problems import MEDIA_TYPE, problem

if TYPE_CHECKING:
    from asyncio import BaseTransport

Stage: TypeAlias = Literal["head", "body", "response", "websocket"]
"""What a connection waits for: the head of a request, its body, the response; or it is a WebSocket."""

HEAD_SECONDS = 10.0
"""Seconds for the TLS handshake and the head of a request to arrive."""
_SECONDS: dict[Stage, float] = {"head": HEAD_SECONDS, "body": 60.0, "response": 60.0, "websocket": float("inf")}
"""The application's own limits are shorter; these end what it does not wait for, such as a client that never reads."""
_DISCARDED, _DISCARDED_REFUSED = 20_000_000, 1_000_000
"""Bytes of a body read and discarded after the response, such as that to an image that is too large, and after that to
a request without access: without that, a client that still sends would get a reset connection instead of it."""


@dataclass(slots=True)
class _Open:
    socket: socket.socket
    address: str
    stage: Stage
    since: float

    def end(self) -> None:
        """The event loop reads the end of the stream, and closes the connection, with or without TLS."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)


class Connections(socket.socket):
    """A listening socket that keeps its open connections within limits.

    A process can open about a thousand files, and connections must not take them from the cameras and the sinks. A new
    connection beyond a limit takes the place of the one that has waited longest for its request, of the same address
    or else of the address with the most connections: who holds connections and stays silent keeps nobody out. If each
    has a complete request, the new connection is closed. Call all methods in the event loop's thread.

    Args:
        listening: a bound socket, which is taken over.
        most: maximum number of open connections.
        most_per_address: maximum number of one IPv4 address, or of one IPv6 network (/64).
    """

    def __init__(self, listening: socket.socket, most: int, most_per_address: int) -> None:
        super().__init__(listening.family, listening.type, listening.proto, listening.detach())
        self._most, self._most_per_address = most, most_per_address
        self._open: dict[int, _Open] = {}

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection. If there is no room it is closed; the event loop continues after the exception."""
        connection, address = super().accept()
        client = network_of(address[0])
        if not self._make_room(client):
            connection.close()
            raise ConnectionAbortedError("too many connections")
        # Headers and body of a response are two segments: Nagle's algorithm would delay the second by 40 ms.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open[connection.fileno()] = _Open(connection, client, "head", time.monotonic())
        return connection, address

    def protocol(self) -> Any:
        """The protocol of these connections, for uvicorn."""
        return partial(_Connection, self)

    def enter(self, descriptor: int, stage: Stage) -> None:
        """Note that the connection with this file descriptor has entered a stage."""
        known = self._open.get(descriptor)
        if known is not None and known.stage != stage:
            known.stage, known.since = stage, time.monotonic()

    def expire(self) -> None:
        """End what has been in a stage for too long; call it regularly."""
        now = time.monotonic()
        for known in self._current():
            if now - known.since > _SECONDS[known.stage]:
                known.end()

    def abort(self) -> None:
        """End all connections."""
        for known in self._current():
            known.end()

    def _current(self) -> list[_Open]:
        self._open = {number: known for number, known in self._open.items() if known.socket.fileno() == number}
        return list(self._open.values())

    def _make_room(self, address: str) -> bool:
        current = self._current()
        counts = Counter(known.address for known in current)
        if counts[address] >= self._most_per_address:
            return self._evict([known for known in current if known.address == address])
        if len(current) >= self._most:
            largest = max(counts.values())
            return self._evict([known for known in current if counts[known.address] == largest]) or self._evict(current)
        return True

    def _evict(self, among: list[_Open]) -> bool:
        for stage in ("head", "body"):
            waiting = [known for known in among if known.stage == stage]
            if waiting:
                oldest = min(waiting, key=lambda known: known.since)
                del self._open[oldest.socket.fileno()]
                oldest.end()
                return True
        return False


def network_of(address: str) -> str:
    """An IPv4 address, or the /64 network of an IPv6 address, of which one machine can have any number."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((int(parsed), 64), strict=False))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


class _Connection(H11Protocol):
    """uvicorn's connection, which also notes its stage, and reads no body that nobody waits for."""

    def __init__(self, connections: Connections, **options: Any) -> None:
        super().__init__(**options)
        self._limits = connections
        self._descriptor = -1
        self._to_discard: int | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        self._descriptor = transport.get_extra_info("socket").fileno()

    def data_received(self, data: bytes) -> None:
        if self._to_discard is None:
            super().data_received(data)
            self._note_stage()
            return
        self._to_discard -= len(data)
        if self._to_discard < 0:
            self.transport.close()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY and not self.transport.is_closing():
            # Closed by the timer for kept connections, or by the client when it has read the response.
            self._to_discard = _DISCARDED_REFUSED if self.scope["state"].get("refused") else _DISCARDED
            if self.transport.can_write_eof():
                self.transport.write_eof()
        self._note_stage()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        super().handle_websocket_upgrade(event)
        self._limits.enter(self._descriptor, "websocket")

    def send_400_response(self, msg: str) -> None:
        if self.cycle is not None:  # its body is not valid: the application must not respond as well
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        answer = problem(400, "The request is not valid HTTP.")
        headers = [("content-type", MEDIA_TYPE), ("content-length", str(len(answer.body))), ("connection", "close")]
        with suppress(h11.LocalProtocolError):  # a response is under way already
            for part in (
                h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                h11.Data(data=bytes(answer.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(part) or b"")
        self.transport.close()

    def _note_stage(self) -> None:
        if self.transport.get_protocol() is not self:
            return  # a WebSocket by now
        theirs = self.conn.their_state
        stage: Stage = "response"
        if self.conn.our_state is h11.IDLE:
            stage = "head"
        elif theirs is h11.SEND_BODY:
            stage = "body"
        self._limits.enter(self._descriptor, stage)
