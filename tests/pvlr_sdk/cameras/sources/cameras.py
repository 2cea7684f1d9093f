"""Cameras at HTTP for the tests, and what they hear."""

from __future__ import annotations

import base64
import functools
import time
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import cv2
import numpy as np

PASSWORD = "hunter2"
EXPECTED = "Basic " + base64.b64encode(f"bob:{PASSWORD}".encode()).decode()


class Camera(BaseHTTPRequestHandler):
    """Sends ``frames`` gray images as MJPEG, stalls for ``hangs`` seconds and closes the connection.

    With a ``login``, after Basic authentication; ``heard`` has the paths and credentials of all requests.
    """

    server: Any
    login = EXPECTED
    fps, frames, hangs = 50.0, 50, 0.0

    def do_GET(self) -> None:
        given = self.headers.get("Authorization")
        self.server.heard.append((self.path, given))
        if self.login and given != self.login:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=cut")
        self.end_headers()
        began = time.monotonic()
        try:
            for index in range(self.frames):
                time.sleep(max(began + index / self.fps - time.monotonic(), 0))
                encoded = cv2.imencode(".jpg", np.full((48, 64, 3), 5 * (index % 50), np.uint8))[
                    1
                ].tobytes()
                header = (
                    f"--cut\r\nContent-Type: image/jpeg\r\nContent-Length: {len(encoded)}\r\n\r\n"
                )
                self.wfile.write(header.encode() + encoded + b"\r\n")
            time.sleep(self.hangs)
        except OSError:
            pass  # the client closed the connection

    def log_message(self, *_: Any) -> None:
        """Silent."""


def listing(folder: Path) -> Any:
    """A handler that sends the files of a folder."""

    class Files(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            self.server.heard.append((self.path, self.headers.get("Authorization")))
            if self.path.startswith("/redirect"):
                self.send_response(302)
                self.send_header("Location", self.path.removeprefix("/redirect/"))
                self.end_headers()
            else:
                super().do_GET()

        def log_message(self, *_: Any) -> None:
            """Silent."""

    return functools.partial(Files, directory=str(folder))


def https(server: Any, path: str = "/video", host: str = "localhost") -> str:
    return f"https://bob:{PASSWORD}@{host}:{server.server_port}{path}"
