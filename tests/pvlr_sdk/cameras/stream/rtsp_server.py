"""A camera to test against: GStreamer's RTSP server, which sends a moving box as H.264.

    /usr/bin/python3 rtsp_server.py --port 8554 [--size 640x360] [--fps 25]
        [--user u --password p [--cert cert.pem --key key.pem]]

Runs under the system's Python, which has GStreamer's bindings (Debian: python3-gi, python3-numpy,
gir1.2-gst-rtsp-server-1.0, gstreamer1.0-plugins-base, -good and -ugly). Listens on 127.0.0.1 only
and prints ``ready`` once it does. A line ``size 320x180`` on stdin changes the resolution in mid-stream.
"""

from __future__ import annotations

import argparse
import sys
import threading
from typing import Any

import gi
import numpy as np

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtspServer  # noqa: E402


class Frames:
    """Raw I420 frames without an end, of a size that may change at any time."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self._count = 0

    def next(self) -> tuple[bytes, tuple[int, int]]:
        """The bytes of a frame and its width and height."""
        size, self._count = self.size, self._count + 1
        return _box(size, self._count), size


def _box(size: tuple[int, int], count: int) -> bytes:
    width, height = size
    luma = np.empty((height, width), np.uint8)
    luma[:] = np.linspace(40, 160, width).astype(np.uint8)
    left = 5 * count % (width - width // 4)
    luma[height // 4 : height // 2, left : left + width // 4] = 235
    return luma.tobytes() + bytes([128]) * (width * height // 2)


class Camera(GstRtspServer.RTSPMediaFactory):
    """One encoder for all clients."""

    def __init__(self, frames: Frames, fps: int) -> None:
        super().__init__()
        self._frames, self._fps = frames, fps
        self.set_shared(True)
        self.set_launch(
            "( appsrc name=in is-live=true format=time block=true max-buffers=2 ! queue max-size-buffers=2 "
            f"! x264enc tune=zerolatency speed-preset=ultrafast bitrate=1000 key-int-max={fps} threads=1 "
            "! rtph264pay name=pay0 pt=96 config-interval=-1 )"
        )

    def do_configure(self, media: Any) -> None:
        """Each time the first client comes."""
        GstRtspServer.RTSPMediaFactory.do_configure(self, media)
        state = {"index": 0}

        def feed(source: Any, length: int) -> None:
            data, (width, height) = self._frames.next()
            buffer = Gst.Buffer.new_wrapped(data)
            buffer.pts = buffer.dts = state["index"] * Gst.SECOND // self._fps
            buffer.duration = Gst.SECOND // self._fps
            state["index"] += 1
            caps = f"video/x-raw,format=I420,width={width},height={height},framerate={self._fps}/1"
            source.emit(
                "push-sample", Gst.Sample.new(buffer, Gst.Caps.from_string(caps), None, None)
            )

        media.get_element().get_by_name_recurse_up("in").connect("need-data", feed)


def _demand_password(
    server: Any, factory: Any, user: str, password: str, cert: str | None, key: str | None
) -> None:
    auth = GstRtspServer.RTSPAuth()
    if cert:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_files(cert, key))
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    structure = Gst.Structure.new_empty("viewer")
    structure.set_value("media.factory.access", True)
    structure.set_value("media.factory.construct", True)
    factory.add_role_from_structure(structure)


def _size(text: str) -> tuple[int, int]:
    width, height = text.split("x")
    return int(width), int(height)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", required=True)
    parser.add_argument("--size", type=_size, default=(320, 240))
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--user")
    parser.add_argument("--password", default="")
    parser.add_argument("--cert", help="for rtsps, with --key and --user")
    parser.add_argument("--key")
    given = parser.parse_args()

    Gst.init(None)
    frames = Frames(given.size)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(given.port)
    factory = Camera(frames, given.fps)
    if given.user:
        _demand_password(server, factory, given.user, given.password, given.cert, given.key)
    server.get_mount_points().add_factory("/cam", factory)
    if not server.attach(None):
        sys.exit(f"port {given.port} is taken")

    def listen() -> None:
        for line in sys.stdin:
            command, _, value = line.strip().partition(" ")
            if command == "size":
                frames.size = _size(value)

    threading.Thread(target=listen, daemon=True).start()
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
