"""Functions that the tests run in isolated processes."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

from pvlr_sdk.frames.isolated import child, sandbox
from pvlr_sdk.frames.isolated.process import MAX_MESSAGE

FLAGS = {"w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC, "a": os.O_WRONLY | os.O_APPEND, "r+": os.O_RDWR}


def attempt(action: str, folder: str) -> Any:
    """What a process taken over by its input would try."""
    actions = {
        "connect": socket.socket,
        "write": lambda: os.close(os.open(f"{folder}/new", FLAGS["w"])),
        "append": lambda: os.close(os.open(f"{folder}/old", FLAGS["a"])),
        "change": lambda: os.close(os.open(f"{folder}/old", FLAGS["r+"])),
        "remove": lambda: os.unlink(f"{folder}/old"),
        "rename": lambda: os.rename(f"{folder}/old", f"{folder}/new"),
        "folder": lambda: os.mkdir(f"{folder}/new"),
        "link": lambda: os.symlink("/", f"{folder}/new"),
        "program": lambda: subprocess.run(["true"], check=False),
        "fork": os.fork,
        "kill": lambda: os.kill(os.getppid(), 0),
        "read": lambda: Path(f"{folder}/old").read_text(),
        "thread": lambda: threading.Thread(target=len, args=("",)).start(),
        "environment": lambda: sorted(os.environ),
        "memory": lambda: len(bytes(2**30)),
        "crash": os.abort,
        "forever": lambda: [0 for _ in iter(int, 1)],
    }
    return actions[action]()


def attempt_all(channel: socket.socket, memory_bytes: int, *, compute: bool) -> None:
    """Report the result of each action that comes as a message, or the name of its exception."""
    child.ready(channel, sandbox.restrict(memory_bytes, compute=compute))
    while message := channel.recvmsg(MAX_MESSAGE)[0]:
        try:
            answer = attempt(*json.loads(message))
        except (OSError, RuntimeError, MemoryError) as error:  # RuntimeError: no thread can be started
            answer = type(error).__name__
        channel.send(json.dumps(answer).encode())


def as_decoder(channel: socket.socket, memory_bytes: int) -> None:
    attempt_all(channel, memory_bytes, compute=False)


def as_runtime(channel: socket.socket, memory_bytes: int) -> None:
    attempt_all(channel, memory_bytes, compute=True)


def crash_on_demand(channel: socket.socket, memory_bytes: int) -> None:
    """A decoding process with a defect: it crashes for an image with a certain text in it, and hangs for another."""
    decode = child._decode

    def defective(memory: Any, room: int, size: int, factor: int) -> bytes:
        data = memory[room : room + size]
        if b"crash" in data:
            ctypes.string_at(0)
        while b"forever" in data:
            pass
        if b"lie" in data:
            return child.PIXELS.pack(2**40, 2**40)
        return decode(memory, room, size, factor)

    child._decode = defective
    child.decode_images(channel, memory_bytes)
