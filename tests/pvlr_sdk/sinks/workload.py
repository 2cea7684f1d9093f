"""A sink or a queue that a test runs under strace: python workload.py KIND PATH COUNT DESCRIPTOR

Events FIRST to FIRST + COUNT - 1 are written; a failed one is tried again, as a worker does. The numbers of delivered
events go to a socket, whose system calls no fault is injected into.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from pvlr_sdk import errors
from pvlr_sdk.events import Event
from pvlr_sdk.sinks.jsonl import JsonlFile, RotatingJsonl
from pvlr_sdk.sinks.queues import DiskQueue
from pvlr_sdk.sinks.sqlite import SqliteSink

_ATTEMPTS = 5


def event(number: int) -> Event:
    return Event("on", f"event-{number:03}", "door", "car", 1.75e9 + number, 0.5, 0.5, 1.75e9, 1.75e9)


def main(kind: str, path: Path, count: int, report: socket.socket) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            if kind == "queue":
                queue = DiskQueue(path)
                write = queue.put
            else:
                sinks = {"jsonl": JsonlFile, "sqlite": SqliteSink, "rotating": lambda path: RotatingJsonl(path, 700, 9)}
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


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), socket.socket(fileno=int(sys.argv[4])))
