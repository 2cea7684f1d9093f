"""Reading a source to its end, telling its frames apart, and servers that cameras and impostors are made of."""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from .cameras import Camera


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Self-signed certificates and their keys: the camera's and an impostor's, both for ``localhost``."""
    folder, made = tmp_path_factory.mktemp("certificates"), {}
    for name in ("camera", "impostor"):
        made[name] = folder / f"{name}.pem", folder / f"{name}.key"
        command = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            f"/CN={name}",
            "-days",
            "2",
        ]
        names = [
            "-addext",
            "subjectAltName=DNS:localhost",
            "-out",
            str(made[name][0]),
            "-keyout",
            str(made[name][1]),
        ]
        try:
            subprocess.run([*command, *names], capture_output=True, check=True)
        except FileNotFoundError:
            pytest.skip("openssl is not installed")
    return made


@pytest.fixture
def serve(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Starts an HTTP server, with TLS if a certificate is named."""
    servers: list[Any] = []

    def start(certificate: str | None = None, handler: Any = Camera) -> Any:
        server: Any = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads, server.heard = True, []
        server.handle_error = lambda *_: None  # a client that rejects the certificate
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*request.getfixturevalue("certificates")[certificate])
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
