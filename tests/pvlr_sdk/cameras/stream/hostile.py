"""Hostile cameras of each transport that the SDK opens."""

from __future__ import annotations

import io
import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from functools import cache, partial

import av
import cv2
import numpy as np

Serve = Callable[[socket.socket], None]
HTTP = b"HTTP/1.1 200 OK\r\n"
MULTIPART = HTTP + b"Content-Type: multipart/x-mixed-replace; boundary=cut\r\n"
MPEGTS = HTTP + b"Content-Type: video/mp2t\r\n\r\n"
PAUSE = 0.05
"""Seconds between two bytes of what drips."""


def part(data: bytes) -> bytes:
    """A part of an MJPEG stream."""
    return b"--cut\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n" % (
        len(data),
        data,
    )


@cache
def jpeg() -> bytes:
    """A frame of 64 x 48."""
    return cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8))[
        1
    ].tobytes()


@cache
def transport_stream(seconds: float = 1.0) -> tuple[bytes, bytes]:
    """MPEG-TS with a second of video and of sound, and packets of the sound alone."""
    file = io.BytesIO()
    with av.open(file, "w", format="mpegts") as container:
        video = container.add_stream("mpeg2video", rate=25, width=64, height=48, pix_fmt="yuv420p")
        sound = container.add_stream("mp2", rate=48000, layout="mono")
        for index in range(round(25 * seconds)):
            pixels = np.full((48, 64, 3), 5 * index, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1920), np.int16), "s16", "mono")
            samples.sample_rate, samples.pts, samples.time_base = (
                48000,
                1920 * index,
                Fraction(1, 48000),
            )
            container.mux(sound.encode(samples))
        container.mux([*video.encode(None), *sound.encode(None)])
    data = file.getvalue()
    packets = [data[at : at + 188] for at in range(0, len(data), 188)]
    return data, b"".join(packet for packet in packets if packet[1] & 0x1F == 1 and packet[2] == 1)


def drip(connection: socket.socket, first: bytes, again: bytes) -> None:
    for byte in itertools.chain(first, itertools.cycle(again)):
        connection.sendall(bytes([byte]))
        time.sleep(PAUSE)


def flood(connection: socket.socket, first: bytes, again: bytes) -> None:
    connection.sendall(first)
    block = again * max(1, 65536 // len(again))
    while True:
        connection.sendall(block)


def hang(connection: socket.socket, data: bytes = b"") -> None:
    connection.sendall(data)
    while connection.recv(65536):
        pass


def reset(connection: socket.socket, data: bytes = b"") -> None:
    connection.sendall(data)
    time.sleep(PAUSE)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def then(data: bytes, serve: Serve) -> Serve:
    """Sends data, and goes on as ``serve``."""
    return lambda connection: (connection.sendall(data), serve(connection))[1]


def rtsp(media: Serve) -> Serve:
    """An RTSP server that sends MPEG-TS over TCP; ``media`` follows the response to PLAY."""

    def serve(connection: socket.socket) -> None:
        with connection.makefile("rb") as lines:
            while True:
                head = [line.strip() for line in iter(lines.readline, b"\r\n") if line]
                method = head[0].split()[0]
                number = next(line for line in head if line.lower().startswith(b"cseq"))
                body = b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:0\r\n"
                more = {
                    b"DESCRIBE": b"Content-Type: application/sdp\r\nContent-Length: %d\r\n"
                    % len(body),
                    b"SETUP": b"Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n",
                    b"OPTIONS": b"Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n",
                }.get(method, b"Session: 1\r\n")
                end = body if method == b"DESCRIBE" else b""
                connection.sendall(b"RTSP/1.0 200 OK\r\n%b\r\n%b\r\n%b" % (number, more, end))
                if method == b"PLAY":
                    media(connection)
                    return

    return serve


@cache
def rtp(data: bytes) -> bytes:
    """RTP packets of MPEG-TS, interleaved."""
    blocks = [data[at : at + 7 * 188] for at in range(0, len(data), 7 * 188)]
    heads = [
        struct.pack(">BBHII", 0x80, 33, index, 3600 * index, 1) for index in range(len(blocks))
    ]
    return b"".join(b"$\0" + struct.pack(">H", 12 + len(block)) + head + block
                    for head, block in zip(heads, blocks, strict=True))  # fmt: skip


def hostile() -> dict[str, tuple[str, Serve]]:
    """The scheme and the behaviour of each."""
    frames = MULTIPART + b"\r\n" + 5 * part(jpeg())
    clip, sound = transport_stream()
    media = rtp(clip)
    chunked = MULTIPART + b"Transfer-Encoding: chunked\r\n\r\n"
    return {
        "silent": ("http", hang),
        "reset": ("http", reset),
        "drip-head": ("http", partial(drip, first=HTTP + b"X: ", again=b"y")),
        "drip-heads": ("http", partial(drip, first=MULTIPART, again=b"X: y\r\n")),
        "endless-head": ("http", partial(flood, first=HTTP, again=b"X: y\r\n")),
        "endless-continue": (
            "http",
            partial(flood, first=b"", again=b"HTTP/1.1 100 Continue\r\n\r\n"),
        ),
        "drip-chunk": ("http", then(chunked, partial(drip, first=b"", again=b"0"))),
        "drip-body": (
            "http",
            then(MULTIPART + b"\r\n", partial(drip, first=b"--cut\r\nX: ", again=b"y")),
        ),
        "frames-drip": ("http", then(frames, partial(drip, first=part(bytes(10**5)), again=b" "))),
        "frames-hang": ("http", partial(hang, data=frames)),
        "frames-reset": ("http", partial(reset, data=frames)),
        "parts-without-frame": ("http", partial(flood, first=frames, again=part(b"no image"))),
        "endless-part-head": (
            "http",
            partial(flood, first=frames + b"--cut\r\n", again=b"X: y\r\n"),
        ),
        "endless-body": (
            "http",
            partial(flood, first=HTTP + b"\r\n", again=b"#EXTINF:1,\nhttp://127.0.0.1:9/\n"),
        ),
        "flood": ("http", partial(flood, first=frames, again=part(jpeg()))),
        "ts-sound-alone": ("http", partial(flood, first=MPEGTS + clip, again=sound)),
        "ts-drip": ("http", then(MPEGTS + clip, partial(drip, first=b"", again=clip))),
        "tls-drip": ("https", partial(drip, first=b"\x16\x03\x03\x40\x00", again=b"\0")),
        "rtsp-silent": ("rtsp", hang),
        "rtsp-reset": ("rtsp", reset),
        "rtsp-drip": ("rtsp", partial(drip, first=b"RTSP/1.0 200 OK\r\n", again=b"y")),
        "rtsp-endless": ("rtsp", partial(flood, first=b"RTSP/1.0 200 OK\r\n", again=b"X: y\r\n")),
        "rtsp-frames-hang": ("rtsp", rtsp(partial(hang, data=media))),
        "rtsp-frames-drip": (
            "rtsp",
            rtsp(then(media, partial(drip, first=b"$\0\xff\xff", again=b"\0"))),
        ),
        "rtsp-frames-junk": (
            "rtsp",
            rtsp(partial(flood, first=media, again=b"$\1\0\x08" + bytes(8))),
        ),
        "rtsp-frames-reset": ("rtsp", rtsp(partial(reset, data=media))),
    }


@contextmanager
def served(behaviours: dict[str, tuple[str, Serve]]) -> Iterator[dict[str, str]]:
    """Serves each on a port of its own; yields their URIs by name."""
    listening: list[socket.socket] = []
    uris = {}

    def accept(server: socket.socket, serve: Serve) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(
                    target=answer, args=(server.accept()[0], serve), daemon=True
                ).start()

    def answer(connection: socket.socket, serve: Serve) -> None:
        with suppress(OSError, IndexError, StopIteration), connection:
            if serve is not hang:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            serve(connection)

    for name, (scheme, serve) in behaviours.items():
        server = socket.create_server(("127.0.0.1", 0))
        listening.append(server)
        threading.Thread(target=accept, args=(server, serve), daemon=True).start()
        uris[name] = f"{scheme}://127.0.0.1:{server.getsockname()[1]}/"
    try:
        yield uris
    finally:
        for server in listening:
            server.shutdown(socket.SHUT_RDWR)
            server.close()
