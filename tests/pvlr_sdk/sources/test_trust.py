"""Cameras that are not what they claim: impostors with other certificates, redirects, playlists, and huge frames."""

from __future__ import annotations

import base64
import functools
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pvlr_sdk import errors, open_source

PASSWORD = "hunter2"
EXPECTED = "Basic " + base64.b64encode(f"bob:{PASSWORD}".encode()).decode()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Self-signed certificates and their keys: the camera's and an impostor's, both for ``localhost``."""
    folder, made = tmp_path_factory.mktemp("certificates"), {}
    for name in ("camera", "impostor"):
        made[name] = folder / f"{name}.pem", folder / f"{name}.key"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-days", "2"]
        names = ["-addext", "subjectAltName=DNS:localhost", "-out", str(made[name][0]), "-keyout", str(made[name][1])]
        try:
            subprocess.run([*command, *names], capture_output=True, check=True)
        except FileNotFoundError:
            pytest.skip("openssl is not installed")
    return made


class Camera(BaseHTTPRequestHandler):
    """Sends MJPEG after Basic authentication; ``heard`` has the paths and credentials of all requests."""

    server: Any
    frames = 50

    def do_GET(self) -> None:
        given = self.headers.get("Authorization")
        self.server.heard.append((self.path, given))
        if given is None:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=cut")
        self.end_headers()
        encoded = cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
        try:
            for _ in range(self.frames):
                self.wfile.write(b"--cut\r\nContent-Type: image/jpeg\r\n\r\n" + encoded + b"\r\n")
                time.sleep(0.02)
        except OSError:
            pass  # the client closed the connection

    def log_message(self, *_: Any) -> None:
        """Silent."""


@pytest.fixture
def serve(certificates: dict[str, tuple[Path, Path]]) -> Iterator[Callable[..., Any]]:
    """Starts an HTTP server, with TLS if a certificate is named."""
    servers: list[Any] = []

    def start(certificate: str | None = None, handler: Any = Camera) -> Any:
        server: Any = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads, server.heard = True, []
        server.handle_error = lambda *_: None  # a client that rejects the certificate
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificates[certificate])
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def https(server: Any, path: str = "/video", host: str = "localhost") -> str:
    return f"https://bob:{PASSWORD}@{host}:{server.server_port}{path}"


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


@pytest.fixture(scope="module")
def hls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A playlist ``a.m3u8`` of three segments."""
    av = pytest.importorskip("av")
    folder = tmp_path_factory.mktemp("hls")
    with av.open(str(folder / "a.m3u8"), "w", format="hls") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(30):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="bgr24")))
        container.mux(stream.encode(None))
    return folder


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


def test_hls_over_https_is_not_half_verified(serve, certificates, hls: Path) -> None:
    """FFmpeg verifies the certificate of the playlist's server only; segments may come from an impostor."""
    server = serve("camera", listing(hls))
    with pytest.raises(errors.SourceOpenError, match="verifies the playlist only"):
        open_source(https(server, "/a.m3u8"), ca=certificates["camera"][0])
    assert server.heard == []
    assert open_source(https(server, "/a.m3u8"), insecure=True).read().size == (48, 64)


@pytest.mark.parametrize("certificate", [None, "camera"])
def test_redirects_are_not_followed(serve, certificates, tmp_path: Path, certificate: str | None) -> None:
    """A camera must not choose an address for this machine to request."""
    target = serve()
    server = serve(certificate, listing(tmp_path))
    path = f"/redirect/http://localhost:{target.server_port}/"
    uri = https(server, path) if certificate else https(server, path).replace("https", "http", 1)
    with pytest.raises(errors.SourceOpenError, match="redirect"):
        open_source(uri, ca=certificate and certificates["camera"][0], timeout=3)
    assert [requested for requested, _ in server.heard] == [path]
    assert target.heard == []


def test_a_camera_that_answers_with_a_playlist(serve, hls: Path, tmp_path: Path) -> None:
    server = serve(None, listing(hls))
    (hls / "video").write_bytes((hls / "a.m3u8").read_bytes())
    address = f"http://127.0.0.1:{server.server_port}"
    with pytest.raises(errors.SourceOpenError):
        open_source(f"{address}/video", timeout=3)
    assert [path for path, _ in server.heard] == ["/video"]
    assert open_source(f"{address}/a.m3u8").read().size == (48, 64)
    # Nor does a file on this machine.
    (tmp_path / "clip.mp4").write_text((hls / "a.m3u8").read_text().replace("a0.ts", f"{address}/a0.ts"))
    server.heard.clear()
    with pytest.raises(errors.SourceOpenError):
        open_source(str(tmp_path / "clip.mp4"))
    assert server.heard == []


class Hostile(BaseHTTPRequestHandler):
    """Sends a part of 2 GB, or frames of 16000 x 16000."""

    bomb = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=cut")
        self.end_headers()
        try:
            while self.bomb:
                head = f"--cut\r\nContent-Type: image/jpeg\r\nContent-Length: {len(self.bomb)}\r\n\r\n"
                self.wfile.write(head.encode() + self.bomb + b"\r\n")
                time.sleep(0.05)
            self.wfile.write(b"--cut\r\nContent-Type: image/jpeg\r\nContent-Length: 2147483000\r\n\r\n\xff\xd8")
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
    image = cv2.imencode(".jpg", np.zeros((16000, 16000, 3), np.uint8))[1].tobytes() if bomb else b""
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
