"""Functions that the tests run in isolated processes."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

from pvlr_sdk.frames.isolated import child, sandbox
from pvlr_sdk.frames.isolated.process import MAX_MESSAGE

_SYSCALL = ctypes.CDLL(None, use_errno=True).syscall
_SYSCALL.restype = ctypes.c_long
FLAGS = {
    "w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "a": os.O_WRONLY | os.O_APPEND,
    "r+": os.O_RDWR,
}


def call(number: int, *arguments: int) -> int:
    """The error number of a system call, 0 if it succeeds."""
    failed = _SYSCALL(number, *(ctypes.c_ulong(argument) for argument in arguments)) == -1
    return ctypes.get_errno() if failed else 0


def attempt(action: str, folder: str, parent: int, *arguments: Any) -> Any:
    """What a process taken over by its input would try; it cannot ask for the number of its parent."""
    actions = {
        "calls": lambda: [call(*one) for one in arguments],
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
        "kill": lambda: os.kill(parent, 0),
        "read": lambda: Path(f"{folder}/old").read_text(),
        "thread": lambda: threading.Thread(target=len, args=("",)).start(),
        "parent": lambda: os.open(f"/proc/{parent}/{arguments[0]}", os.O_RDONLY),
        "pin": lambda: os.sched_setaffinity(parent, {0}),
        "pin itself": lambda: os.sched_setaffinity(0, os.sched_getaffinity(0)),
        "memory": lambda: len(bytes(2**30)),
        "crash": os.abort,
        "forever": lambda: [0 for _ in iter(int, 1)],
    }
    return actions[action]()


def attempt_all(channel: socket.socket, memory_bytes: int, *, compute: bool) -> None:
    """Report the result of each action that comes as a message, or the name of its exception."""
    child.ready(channel, sandbox.restrict(memory_bytes, 600, compute=compute))
    while message := channel.recvmsg(MAX_MESSAGE)[0]:
        try:
            answer = attempt(*json.loads(message))
        except (
            OSError,
            RuntimeError,
            MemoryError,
        ) as error:  # RuntimeError: no thread can be started
            answer = type(error).__name__
        channel.send(json.dumps(answer).encode())


def as_decoder(channel: socket.socket, memory_bytes: int) -> None:
    attempt_all(channel, memory_bytes, compute=False)


def as_runtime(channel: socket.socket, memory_bytes: int) -> None:
    attempt_all(channel, memory_bytes, compute=True)


def deaf(channel: socket.socket, memory_bytes: int) -> None:
    """A decoding process that was taken over: it ignores signals and the end of its channel."""
    child.ready(channel, sandbox.restrict(memory_bytes, child.CPU_SECONDS))
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    while True:
        pass


def crash_on_demand(channel: socket.socket, memory_bytes: int) -> None:
    """A decoding process with a defect: an image with a certain text in it makes it crash, hang, or answer anything."""
    decode = child._decode

    def defective(memory: Any, room: int, size: int, factor: int) -> bytes:
        data = memory[room : room + size]
        if b"crash" in data:
            ctypes.string_at(0)
        while b"forever" in data:
            pass
        if b"shout" in data:
            return b"\0\x1b]0;title\x07\r\n\xe2\x80\xae\xff" + 60_000 * b"\n"
        if b"lie" in data:
            return child.PIXELS.pack(2**40, 2**40)
        return decode(memory, room, size, factor)

    child._decode = defective
    child.decode_images(channel, memory_bytes)
