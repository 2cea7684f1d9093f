"""A fuzz target for requests: python tests/pvlr_sdk/cameras/serve/server/fuzz_http.py -max_total_time=600

The whole application in this thread, behind a connection without a socket. Whatever arrives, each response is HTTP and
none is a 500, nothing is logged as an exception, and every request ends when its client leaves. ``PVLR_FUZZ_PLAN`` is
the plan whose labels it serves.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import sys
from typing import Any

import atheris
import h11

with atheris.instrument_imports(include=["pvlr_sdk.cameras.serve", "h11"]):
    from pvlr_sdk import Tagger
    from pvlr_sdk.cameras.control.control import Control
    from pvlr_sdk.cameras.serve import ServeSettings, web
    from pvlr_sdk.cameras.serve.server import access

from raw_requests import BODIES, ENDS, HEADERS, METHODS, PATHS, TOKEN, VERSIONS
from uvicorn.server import ServerState

SECONDS = 20


class Client(asyncio.Transport):
    """A client of the server: collects what is sent to it."""

    def __init__(self, socket_: socket.socket) -> None:
        super().__init__({"socket": socket_})
        self.answer, self.closing = b"", False
        self.protocol: Any = None

    def write(self, data: bytes) -> None:
        self.answer += data

    def close(self) -> None:
        self.closing = True

    abort = close

    def is_closing(self) -> bool:
        return self.closing

    def can_write_eof(self) -> bool:
        return False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def pause_reading(self) -> None:
        """There is no flow to control."""

    resume_reading = pause_reading


class Records(logging.Handler):
    """The messages of exceptions that nobody has handled."""

    found: list[str]

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or "xception" in record.getMessage():
            self.found.append(self.format(record))


LOOP = asyncio.new_event_loop()
LOOP.set_exception_handler(lambda _, context: Records.found.append(str(context)))
WEB = web.WebServer(
    Control(Tagger(os.environ["PVLR_FUZZ_PLAN"], num_threads=1)),
    ServeSettings(port=0, token=TOKEN),
    lambda error: None,
)
CONFIG = WEB._listeners[0].config
SOCKET = socket.socket()
Records.found = []
logging.getLogger().addHandler(Records())


def request(provider: atheris.FuzzedDataProvider) -> bytes:
    """A request with known parts, perhaps with some bytes replaced."""
    line = b" ".join(provider.PickValueInList(part) for part in (METHODS, PATHS, VERSIONS))
    fields = [b"Host: localhost"] * provider.ConsumeBool()
    fields += [provider.PickValueInList(HEADERS) for _ in range(provider.ConsumeIntInRange(0, 4))]
    data = (
        b"\r\n".join((line, *fields))
        + provider.PickValueInList(ENDS)
        + provider.PickValueInList(BODIES)
    )
    if provider.ConsumeBool():
        at = provider.ConsumeIntInRange(0, len(data))
        new = provider.ConsumeBytes(4)
        data = data[:at] + new + data[at + provider.ConsumeIntInRange(0, 4) :]
    return data


async def exchange(parts: list[bytes]) -> bytes:
    """What is answered to a client that sends these parts and leaves."""
    state, client = ServerState(), Client(SOCKET)
    client.protocol = CONFIG.http_protocol_class(
        config=CONFIG, server_state=state, app_state={}, _loop=LOOP
    )
    client.protocol.connection_made(client)
    for part in filter(None, parts):  # the event loop never passes an empty one
        try:
            client.protocol.data_received(part)
        except (
            h11.LocalProtocolError
        ):  # as when uvicorn answers a second time; the event loop ends the connection
            break
        if client.closing:
            break
        for _ in range(3):
            await asyncio.sleep(0)
    client.protocol.connection_lost(None)
    if state.tasks:
        _, hanging = await asyncio.wait(state.tasks, timeout=SECONDS)
        if hanging:
            raise AssertionError(
                f"a request is still running {SECONDS} s after its client left: {parts}"
            )
    return client.answer


def check(data: bytes) -> None:
    """One input: bytes as they are, or up to three requests on one connection."""
    provider = atheris.FuzzedDataProvider(data)
    if provider.ConsumeBool():
        parts = [request(provider) for _ in range(provider.ConsumeIntInRange(1, 3))]
    else:
        parts = [provider.ConsumeBytes(provider.remaining_bytes())]
    answer = LOOP.run_until_complete(exchange(parts))
    if answer and not answer.startswith(b"HTTP/1.1 "):
        raise AssertionError(f"no HTTP: {answer[:200]!r}")
    if re.search(rb"^HTTP/1.1 500", answer, re.MULTILINE):
        raise AssertionError(f"a 500 to {parts!r:.500}")
    if Records.found:
        raise AssertionError(f"{Records.found} at {parts!r:.500}")


if "PVLR_PLANTED_BUG" in os.environ:  # a cookie that is not ASCII ends in an error, which is a 500
    access.cookie_parser = lambda cookies: {access.COOKIE: cookies.encode("ascii").decode()}

if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
