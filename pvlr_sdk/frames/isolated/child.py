"""What an isolated process runs: it loads its code, restricts itself, and only then receives untrusted bytes."""

from __future__ import annotations

import importlib
import mmap
import os
import socket
import struct

from .sandbox import end_with, restrict

CPU_SECONDS = 600
"""Processor time of a process that decodes images, in all: it is replaced when images took half of it."""
DECODE = struct.Struct("<QQB")
"""A request to decode: bytes reserved for the pixels, bytes of the image behind them, and reduction of a JPEG. The
memory for both comes as a descriptor."""
PIXELS = struct.Struct("<QQ")
"""Its answer: height and width; any other length is the reason of a failure, as UTF-8 text after a zero byte."""


def main(serve: str, descriptor: str, memory_bytes: str, parent: str) -> None:
    """Run ``serve``, a function given as ``module:function``, with the channel and the limit of memory."""
    end_with(int(parent))
    module, name = serve.split(":")
    with socket.socket(fileno=int(descriptor)) as channel:
        getattr(importlib.import_module(module), name)(channel, int(memory_bytes))


def decode_images(channel: socket.socket, memory_bytes: int) -> None:
    """Decode images until the channel is closed."""
    import cv2
    import numpy as np

    from ..images import decode_pixels

    cv2.setNumThreads(0)
    # Once, for what OpenCV loads or allocates on first use.
    decode_pixels(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes(), 1, 64)
    ready(channel, restrict(memory_bytes, CPU_SECONDS))
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, DECODE.size, 1)
        if not message:
            return
        room, size, factor = DECODE.unpack(message)
        with mmap.mmap(descriptors[0], room + size) as memory:
            os.close(descriptors[0])
            channel.send(_decode(memory, room, size, factor))


def _decode(memory: mmap.mmap, room: int, size: int, factor: int) -> bytes:
    import numpy as np

    from ..images import decode_pixels

    try:
        pixels, reason = decode_pixels(memory[room : room + size], factor, room // 3)
    except MemoryError:
        pixels = None
        reason = "too little memory"
    if pixels is None:
        return b"\0" + reason.encode()[:1000]
    np.frombuffer(memory, np.uint8, pixels.size).reshape(pixels.shape)[:] = pixels
    return PIXELS.pack(*pixels.shape[:2])


def ready(channel: socket.socket, filtered: bool) -> None:
    """Tell the parent that this process has restricted itself."""
    channel.send(b"filtered" if filtered else b"limited")
