"""Functions that the tests run in isolated processes."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

from pvlr_sdk import errors
from pvlr_sdk.frames.isolated import child

FLAGS = {"w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC, "a": os.O_WRONLY | os.O_APPEND, "r+": os.O_RDWR}


def echo(*arguments: Any) -> list[Any]:
    return [f"{len(value)} bytes" if isinstance(value, bytes) else value for value in arguments]


def sizes(*arguments: Any) -> list[int]:
    return [len(value) for value in arguments]


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
        "crash": lambda: os.abort(),
        "forever": lambda: [0 for _ in iter(int, 1)],
        "error": _raise_typed,
        "nothing JSON": lambda: b"",
    }
    return actions[action]()


def attempt_all(actions: list[str], folder: str) -> dict[str, Any]:
    """The result of each action, or the name of its exception."""
    found: dict[str, Any] = {}
    for action in actions:
        try:
            found[action] = attempt(action, folder)
        except OSError as error:
            found[action] = type(error).__name__
    return found


def _raise_typed() -> None:
    raise errors.ModelError("plan", expected="a", got="b", hint="c")


def inference(data: bytes, threads: int) -> list[list[int]]:
    """Shapes of what a network computes for zeros."""
    import numpy as np
    import openvino

    network = openvino.Core()
    compiled = network.compile_model(network.read_model(data, b""), "CPU", {"INFERENCE_NUM_THREADS": threads})
    shape = [side.get_length() if side.is_static else 1 for side in compiled.inputs[0].partial_shape]
    return [list(value.shape) for value in compiled([np.zeros(shape, np.float32)]).values()]


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
