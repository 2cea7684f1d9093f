"""Cameras that are not what they claim: impostors with other certificates, redirects, and huge frames."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pvlr_sdk import errors, open_source

from .cameras import EXPECTED, PASSWORD, https, listing


def test_a_camera_with_a_certificate_of_its_own(serve, certificates) -> None:
    server = serve("camera")
    ca = certificates["camera"][0]
    assert open_source(https(server), ca=ca).read().size == (48, 64)
    assert server.heard[-1] == ("/video", EXPECTED)


@pytest.mark.parametrize("trusted", [None, "camera"])
def test_an_impostor_gets_no_password(serve, certificates, trusted: str | None) -> None:
    """Version 0.1 sent it."""
    server = serve("impostor")
    with pytest.raises(errors.SourceOpenError, match="certificate must be trusted") as caught:
        open_source(https(server), ca=trusted and certificates[trusted][0], timeout=3)
    assert server.heard == []
    assert PASSWORD not in str(caught.value)
    assert open_source(https(server), insecure=True).read().size == (48, 64)


def test_a_certificate_for_another_host(serve, certificates) -> None:
    server = serve("camera")
    with pytest.raises(errors.SourceOpenError, match="certificate"):
        open_source(https(server, host="127.0.0.1"), ca=certificates["camera"][0], timeout=3)
    assert server.heard == []


def test_certificates_that_are_none(tmp_path: Path, serve) -> None:
    with pytest.raises(errors.OptionError, match="ca"):
        open_source("https://localhost:1/", ca=tmp_path / "missing.pem")
    (tmp_path / "empty.pem").touch()
    server = serve("camera")
    with pytest.raises(errors.SourceOpenError):
        open_source(https(server), ca=tmp_path / "empty.pem", timeout=3)
    assert server.heard == []


@pytest.mark.parametrize("certificate", [None, "camera"])
def test_redirects_are_not_followed(
    serve, certificates, tmp_path: Path, certificate: str | None
) -> None:
    """A camera must not choose an address for this machine to request."""
    target = serve()
    server = serve(certificate, listing(tmp_path))
    path = f"/redirect/http://localhost:{target.server_port}/"
    uri = https(server, path) if certificate else https(server, path).replace("https", "http", 1)
    with pytest.raises(errors.SourceOpenError, match="redirect"):
        open_source(uri, ca=certificate and certificates["camera"][0], timeout=3)
    assert [requested for requested, _ in server.heard] == [path]
    assert target.heard == []


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "http://127.0.0.1:PORT/", "rtsp://127.0.0.1:PORT/"]
)
def test_a_redirect_over_rtsp_leads_to_rtsp_alone(address: str) -> None:
    """FFmpeg has no option against it."""
    with (
        socket.create_server(("127.0.0.1", 0)) as target,
        socket.create_server(("127.0.0.1", 0)) as camera,
    ):
        address = address.replace("PORT", str(target.getsockname()[1]))

        def redirect() -> None:
            connection = camera.accept()[0]
            with connection:
                connection.recv(4096)
                connection.sendall(
                    f"RTSP/1.0 302 Found\r\nCSeq: 1\r\nLocation: {address}\r\n\r\n".encode()
                )

        threading.Thread(target=redirect, daemon=True).start()
        with pytest.raises(errors.SourceOpenError):
            open_source(f"rtsp://127.0.0.1:{camera.getsockname()[1]}/", timeout=1)
        target.setblocking(False)
        if address.startswith("rtsp"):
            target.accept()[0].close()
        with pytest.raises(BlockingIOError):
            target.accept()


def test_no_playlist_is_read(serve, tmp_path: Path) -> None:
    """It would make this machine request any address: neither a camera nor a file has this power."""
    server = serve(None, listing(tmp_path))
    address = f"http://127.0.0.1:{server.server_port}"
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{address}/a.ts\n#EXT-X-ENDLIST\n"
    for name in ("video", "clip.mp4"):
        (tmp_path / name).write_text(playlist)
    for uri in (f"{address}/video", str(tmp_path / "clip.mp4")):
        with pytest.raises(errors.SourceOpenError):
            open_source(uri, timeout=3)
    assert [path for path, _ in server.heard] == ["/video"]


class Hostile(BaseHTTPRequestHandler):
    """Sends a part of 2 GB, or frames of 16000 x 16000."""

    bomb = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=cut")
        self.end_headers()
        try:
            while self.bomb:
                head = (
                    f"--cut\r\nContent-Type: image/jpeg\r\nContent-Length: {len(self.bomb)}\r\n\r\n"
                )
                self.wfile.write(head.encode() + self.bomb + b"\r\n")
                time.sleep(0.05)
            self.wfile.write(
                b"--cut\r\nContent-Type: image/jpeg\r\nContent-Length: 2147483000\r\n\r\n\xff\xd8"
            )
            for _ in range(2048):
                self.wfile.write(bytes(2**20))
        except OSError:
            pass  # the client closed the connection

    def log_message(self, *_: Any) -> None:
        """Silent."""


READ = """
import resource, sys
from pvlr_sdk import errors, open_source

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
open_source("test://").read()
import av
before = peak()
try:
    open_source(sys.argv[1], timeout=4).read()
except errors.SourceError as error:
    print(peak() - before, error)
else:
    print(peak() - before, "a frame")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bomb", "message"), [(True, "a frame of 16000 x 16000, more than max_pixels"), (False, "no ")]
)
def test_a_hostile_camera_costs_little_memory(serve, bomb: bool, message: str) -> None:
    """Version 0.1 took 1.1 GB for the frame, and 1.9 GB for the part of 2 GB."""
    image = (
        cv2.imencode(".jpg", np.zeros((16000, 16000, 3), np.uint8))[1].tobytes() if bomb else b""
    )
    server = serve(None, type("Bomb", (Hostile,), {"bomb": image}))
    uri = f"http://127.0.0.1:{server.server_port}/"
    # Through a shell: a program inherits the peak memory of the process that starts it.
    command = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", READ, uri]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    megabytes, _, said = done.stdout.partition(" ")
    assert message in said
    assert int(megabytes) < 250


def test_max_pixels(serve) -> None:
    server = serve(None, type("Small", (Hostile,), {"bomb": cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()}))  # fmt: skip  # noqa: E501
    uri = f"http://127.0.0.1:{server.server_port}/"
    assert open_source(uri, max_pixels=48 * 64).read().size == (48, 64)
    with pytest.raises(errors.SourceLostError, match="a frame of 64 x 48, more than max_pixels"):
        open_source(uri, max_pixels=48 * 64 - 1).read()
    for wrong in (0, -1, 2**40, 1.5):
        with pytest.raises(errors.OptionError, match="max_pixels"):
            open_source(uri, max_pixels=wrong)  # type: ignore[arg-type]
