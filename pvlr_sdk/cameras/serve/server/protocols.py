"""Uvicorn's HTTP and WebSocket connections, with short reads, and with what they wait for."""

from __future__ import annotations

import asyncio
import time
from typing import Literal, TypeAlias

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol

Stage: TypeAlias = Literal["head", "body", "response", "websocket"]
"""What a connection waits for: the head of a request, its body, the response; or it is a WebSocket."""

READ = 1 << 14
"""Bytes that are read from a connection before others have their turn: many chunks or frames of some bytes each take
long to parse."""


class _ShortReads(asyncio.BufferedProtocol):
    def get_buffer(self, sizehint: int) -> memoryview:
        # With TLS, asyncio also writes to slices of the buffer; those of a bytearray would be copies.
        self.buffer = memoryview(bytearray(READ))
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self.buffer[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Parse; uvicorn's protocols have it."""
        raise NotImplementedError


class HttpProtocol(H11Protocol, _ShortReads):
    """A connection that sends requests."""

    responded = 0.0
    """When the last response was complete, in seconds of the monotonic clock."""

    @property
    def stage(self) -> Stage:
        if self.cycle is None or self.cycle.response_complete:
            return "head"
        return "body" if self.cycle.more_body else "response"

    def on_response_complete(self) -> None:
        self.responded = time.monotonic()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Respond to what is not HTTP. If it is the body of a request, this is also the response to that request."""
        if self.cycle is not None:
            self.cycle.disconnected = True  # the application's response is not sent
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:  # that response has begun, or has no body: HEAD
            self.transport.close()


class WebSocketProtocol(AutoWebSocketsProtocol, _ShortReads):  # type: ignore[misc, valid-type]
    """A connection after its upgrade."""

    stage: Stage = "websocket"
    responded = 0.0
