"""A hundred clients of one address on each route that takes a turn, beside four cameras and a client that asks rarely.

By hand, for a minute each, with a report: PVLR_LOAD_SECONDS=60 python -m pytest --slow -n 0 -s FILE
"""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pvlr_sdk.cameras.serve.conftest import JPEG

SECONDS = float(os.environ.get("PVLR_LOAD_SECONDS", "0"))
CLIENTS = 100
CAMERAS = {name: f"test://?fps=3&size=320x240&seed={seed}" for seed, name in enumerate("abcd")}
SHAPES = json.dumps(
    {"regions": {"r": {"polygon": [[0, 0], [1, 0], [1, 1]]}}},
)
ROUTES: dict[str, tuple[str, str, bytes]] = {
    "words": ("POST", "/v1/words", b'{"label": "espresso"}'),
    "doubtful words": ("POST", "/v1/words", b'{"label": "bulldozer"}'),
    "search": ("GET", "/v1/memory/search?words=castle", b""),
    "replay": ("GET", "/v1/memory/replay?label=person&threshold=0.2", b""),
    "review": ("GET", "/v1/memory/review", b""),
    "settings": ("PUT", "/v1/settings", b'{"thresholds": {"person": 0.6}}'),
    "regions": ("PUT", "/v1/cameras/a/regions", SHAPES.encode()),
    "examples": ("POST", "/v1/teach/examples", b'{"camera": "a", "label": "x", "is": true}'),
    "teach": ("POST", "/v1/teach", b'{"label": "x"}'),
    "bank": ("GET", "/v1/bank", b""),
    "reload": ("POST", "/v1/reload", b""),
    "events": ("GET", "/v1/events?limit=1000", b""),
    "pictures": ("GET", "/v1/cameras/a/picture", b""),
    "attention": ("GET", "/v1/cameras/a/attention?label=person", b""),
    "metrics": ("GET", "/metrics", b""),
    "tag": ("POST", "/v1/tag", JPEG),
}


class Server:
    """A ``pvlr serve`` of its own, with four cameras, a memory and the bundled model."""

    def __init__(self, folder: Path, cameras: dict[str, Any]) -> None:
        site = {
            "cameras": cameras,
            "memory": {"folder": str(folder / "memory"), "samples_per_hour": 0},
            "events": {"thresholds": {"person": 0.5}},
            "serve": {"port": 0, "max_connections": 300, "max_connections_per_address": 150},
        }
        path = folder / "site.yaml"
        path.write_text(json.dumps(site))
        command = [
            sys.executable,
            "-m",
            "pvlr_sdk",
            "serve",
            "--config",
            str(path),
            "--state",
            str(folder / "s"),
        ]
        self.log = (folder / "log").open("w+")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        self.port = 0
        end = time.monotonic() + 60
        while not self.port:
            assert time.monotonic() < end, Path(self.log.name).read_text()
            assert self.process.poll() is None, Path(self.log.name).read_text()
            found = re.search(r"http://127\.0\.0\.1:(\d+)", Path(self.log.name).read_text())
            self.port = int(found[1]) if found else 0
            time.sleep(0.2)

    def ask(self, path: str, method: str = "GET", body: bytes = b"") -> tuple[int, bytes, float]:
        """The status and the body of a response to the client that asks rarely, and the seconds until it came."""
        began = time.monotonic()
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=60, source_address=("127.0.0.3", 0)
        )
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read(), time.monotonic() - began
        except TimeoutError:
            return 0, b"", time.monotonic() - began
        finally:
            connection.close()

    def tagged(self) -> dict[str, int]:
        """The number of frames that were tagged, by camera."""
        cameras = json.loads(self.ask("/v1/cameras")[1])["cameras"]
        return {camera["name"]: camera["tagged"] for camera in cameras}

    def watch(self, seconds: float) -> tuple[float, dict[str, float], Counter[int]]:
        """For so long: the slowest picture in seconds, the results per second, and the statuses of pictures."""
        statuses = Counter[int]()
        slowest = 0.0
        before = self.tagged()
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            status, _, lasted = self.ask("/v1/cameras/b/picture")
            statuses[status] += 1
            slowest = max(slowest, lasted)
            time.sleep(0.1)
        after = self.tagged()
        lasted = time.monotonic() - began
        return slowest, {name: (after[name] - before[name]) / lasted for name in after}, statuses

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)
        self.log.close()


FLOOD = """
import asyncio, collections, os, sys, time
port, seconds, clients, method, path = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:6]
body = sys.stdin.buffer.read()
os.nice(5)
kind = "image/jpeg" if path == "/v1/tag" else "application/json"
head = f"{method} {path} HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Type: {kind}\\r\\n"
head += f"Content-Length: {len(body)}\\r\\n\\r\\n"
counts = collections.Counter()

async def client():
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
            while time.monotonic() < end:
                writer.write(head.encode() + body)
                answer = await asyncio.wait_for(reader.readuntil(b"\\r\\n\\r\\n"), end + 5 - time.monotonic())
                length = int(answer.lower().partition(b"content-length: ")[2].split()[0])
                await reader.readexactly(length)
                counts[int(answer.split()[1])] += 1
        except Exception as error:
            counts[type(error).__name__] += 1
            await asyncio.sleep(0.2)

async def main():
    await asyncio.gather(*(client() for _ in range(clients)))

asyncio.run(main())
print(dict(counts))
"""


def flood(
    server: Server, name: str, seconds: float, clients: int = CLIENTS
) -> subprocess.Popen[Any]:
    """Start a process with so many clients that repeat a request."""
    method, path, body = ROUTES[name]
    arguments = [str(server.port), str(seconds), str(clients), method, path]
    process = subprocess.Popen(
        [sys.executable, "-c", FLOOD, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(body)
    process.stdin.close()
    return process


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("load"), CAMERAS)
    try:
        time.sleep(3)
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def alone(server: Server) -> float:
    """Results per second of all cameras without other clients."""
    return sum(server.watch(max(SECONDS, 3))[1].values())


@pytest.mark.slow
@pytest.mark.parametrize("name", ROUTES if SECONDS else ["words", "search", "settings"])
def test_a_hundred_clients_delay_neither_pictures_nor_cameras(
    server: Server, alone: float, name: str
) -> None:
    seconds = SECONDS or 3
    process = flood(server, name, seconds)
    assert process.stdout is not None
    time.sleep(1)
    slowest, rates, statuses = server.watch(seconds - 1)
    answers = process.stdout.read()
    process.wait()
    share = sum(rates.values()) / alone
    print(
        f"\n{name}: slowest picture {slowest:.2f} s, cameras {share:.2f}, {answers.decode().strip()}"
    )
    assert set(statuses) == {200}
    assert slowest < (1 if SECONDS else 3)
    assert share > (0.95 if SECONDS else 0.3)  # the first word takes a second
