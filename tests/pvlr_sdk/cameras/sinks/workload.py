"""A sink or a queue that a test runs under strace.

Events FIRST to FIRST + COUNT - 1 are written; a failed one is tried again, as a worker does. The numbers of delivered
events go to a socket, whose system calls no fault is injected into. A queue has SECONDS to store an event: many where
the fault passes, however slow the machine is, and few where it stays.
"""

from __future__ import annotations

import ctypes
import gc
import resource
import socket
import time
from collections.abc import Callable
from pathlib import Path

from pvlr_sdk import errors
from pvlr_sdk.cameras.events import Event
from pvlr_sdk.cameras.sinks.jsonl import JsonlFile
from pvlr_sdk.cameras.sinks.queues import DiskQueue
from pvlr_sdk.cameras.sinks.sqlite import SqliteSink

_ATTEMPTS = 5


def event(number: int) -> Event:
    return Event(
        "on", f"event-{number:03}", "door", "car", 1.75e9 + number, 0.5, 0.5, 1.75e9, 1.75e9
    )


def stored_by(queue: DiskQueue, seconds: float) -> Callable[[Event], None]:
    """Puts an event once, and waits until it is on disk. Raises OutputError if that takes long."""
    events: list[Event] = []

    def write(item: Event) -> None:
        if item not in events:
            queue.put(item)
            events.append(item)
        end = time.monotonic() + seconds
        while queue._new():
            if time.monotonic() > end:
                raise errors.OutputError(
                    "queue", expected="a disk with space", got=str(queue.error), hint="Wait."
                )
            time.sleep(0.001)

    return write


def main(kind: str, path: Path, count: int, report: socket.socket, seconds: float) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            if kind == "queue":
                write = stored_by(DiskQueue(path), seconds)
            else:
                sinks = {
                    "jsonl": JsonlFile,
                    "sqlite": SqliteSink,
                    "rotating": lambda path: JsonlFile(path, 400, 9),
                }
                write = sinks[kind](path).write
            break
        except errors.OutputError:
            if attempt == _ATTEMPTS - 1:
                raise
    for number in range(count):
        for _ in range(_ATTEMPTS):
            try:
                write(event(number))
            except errors.OutputError:
                continue
            report.send(f"{number}\n".encode())
            break
        else:
            report.send(b"gave up\n")


def begin(kind: str, path: Path, count: int, report: socket.socket, file_limit: int | None) -> None:
    """The workload, in a process of its own, once the other end of ``report`` says so."""
    # any process may trace it: PR_SET_PTRACER
    ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1 & 2**64 - 1))
    report.recv(1)
    if file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    main(kind, path, count, report, 60 if file_limit is None else 0.1)
    gc.collect()  # closes the files, as the end of an interpreter does
