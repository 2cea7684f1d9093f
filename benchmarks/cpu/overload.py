"""What a server under load or attack still does for others: its cameras, its probes and clients that behave.

    python -m benchmarks.cpu.overload                          # all cases, a fresh server for each
    python -m benchmarks.cpu.overload --case silent --case load --seconds 60 --package ../old-checkout

The server and all clients share this machine's cores.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer

from ..common import ROOT, Json, Table, run, save

CAMERA = "door=test://?fps=15&size=640x480"
PHOTO = (ROOT / "docs/images/chelsea.jpg").read_bytes()

Answer = tuple[int, dict[str, str], bytes]


class Client:
    """One client on one connection, or on a new one for each request."""

    def __init__(self, port: int, keep: bool = True) -> None:
        self._port = port
        self._keep = keep
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: bytes = b"", timeout: float = 20.0) -> Answer:
        """The response; status 0: none."""
        try:
            return await asyncio.wait_for(self._ask(method, path, body), timeout)
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError, ValueError, IndexError):
            self.close()
            return 0, {}, b""

    async def _ask(self, method: str, path: str, body: bytes) -> Answer:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        fields = f"Host: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"{method} {path} HTTP/1.1\r\n{fields}\r\n".encode() + body)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): text.strip()
            for name, _, text in (line.partition(":") for line in lines[1:] if line)
        }
        data = await reader.readexactly(int(headers.get("content-length", 0)))
        if not self._keep or headers.get("connection") == "close":
            self.close()
        return int(lines[0].split()[1]), headers, data

    def close(self) -> None:
        if self._streams:
            self._streams[1].close()
        self._streams = None


class Server:
    """``pvlr serve`` of a checkout."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port

    def memory(self) -> float:
        """Resident megabytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1e3

    async def json(self, path: str) -> Any:
        return json.loads((await Client(self.port, keep=False).ask("GET", path))[2])


@contextmanager
def serving(package: Path, options: list[str]) -> Iterator[Server]:
    command = [
        sys.executable,
        "-c",
        "from pvlr_sdk.cli import main; main()",
        "serve",
        "--port",
        "0",
        *options,
    ]
    words = {**os.environ, "PYTHONPATH": str(package)}
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=words, cwd=package
    ) as process:
        assert process.stderr
        try:
            while "serving on" not in (line := process.stderr.readline()):
                if not line:
                    raise SystemExit("the server did not start")
            # or its pipe fills up
            asyncio.get_running_loop().run_in_executor(None, process.stderr.read)
            yield Server(process, int(line.rpartition(":")[2]))
        finally:
            process.terminate()
            process.wait(10)


async def others(server: Server, seconds: float) -> dict[str, Any]:
    """What a client that behaves gets meanwhile: probes, and an image per tenth of a second."""
    counts: Counter[str] = Counter()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for method, path, body in (
            ("GET", "/healthz", b""),
            ("GET", "/readyz", b""),
            ("POST", "/v1/tag", PHOTO),
        ):
            status = (await Client(server.port, keep=False).ask(method, path, body, 5))[0]
            counts[f"{path} {'ok' if status == 200 else status or 'none'}"] += 1
        await asyncio.sleep(0.1)
    return dict(sorted(counts.items()))


async def idle(server: Server, seconds: float) -> dict[str, Any]:
    await asyncio.sleep(seconds)
    return {}


def silent(count: int) -> Callable[[Server, float], Awaitable[dict[str, Any]]]:
    async def case(server: Server, seconds: float) -> dict[str, Any]:
        held = []
        for _ in range(count):
            with suppress(OSError):
                held.append(await asyncio.open_connection("127.0.0.1", server.port))
        found = await others(server, seconds)
        for _, writer in held:
            writer.close()
        return found

    return case


async def slowloris(server: Server, seconds: float) -> dict[str, Any]:
    """200 connections that send a byte of a header per second."""

    async def drip() -> None:
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
                while not writer.is_closing():
                    writer.write(b"x")
                    await writer.drain()
                    await asyncio.sleep(1)
            await asyncio.sleep(0.1)

    return await beside([drip() for _ in range(200)], server, seconds)


async def slow_uploads(server: Server, seconds: float) -> dict[str, Any]:
    """Eight uploads that send a byte per half second."""

    async def drip() -> None:
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                fields = (
                    b"Host: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: 100000\r\n"
                )
                writer.write(b"POST /v1/tag HTTP/1.1\r\n" + fields + b"\r\n")
                answer = asyncio.create_task(reader.read(1))
                while not answer.done():
                    writer.write(b"x")
                    await writer.drain()
                    await asyncio.wait([answer], timeout=0.5)
                writer.close()
            await asyncio.sleep(0.01)

    return await beside([drip() for _ in range(8)], server, seconds)


async def beside(attack: list[Any], server: Server, seconds: float) -> dict[str, Any]:
    tasks = [asyncio.create_task(one) for one in attack]
    await asyncio.sleep(1)
    found = await others(server, seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return found


def posting(
    clients: int, keep: bool, *images: bytes
) -> Callable[[Server, float], Awaitable[dict[str, Any]]]:
    """Clients that post as fast as they get answers, and ignore Retry-After."""

    async def case(server: Server, seconds: float) -> dict[str, Any]:
        before = server.memory()
        counts = Counter[str]()
        peak = 0.0
        times: list[tuple[float, float]] = []
        end = time.monotonic() + seconds

        async def post(number: int) -> None:
            client = Client(server.port, keep)
            while time.monotonic() < end:
                began = time.monotonic()
                status, headers, data = await client.ask(
                    "POST", "/v1/tag", images[number % len(images)]
                )
                counts[str(status) + (" with Retry-After" if "retry-after" in headers else "")] += 1
                number += 1
                if status == 200:
                    taken = 1e3 * (time.monotonic() - began)
                    times.append((taken, taken - json.loads(data)["timing_ms"]["total"]))
            client.close()

        posts = [asyncio.create_task(post(number)) for number in range(clients)]
        while time.monotonic() < end:
            await asyncio.sleep(0.2)
            peak = max(peak, server.memory())
        await asyncio.gather(*posts)
        await asyncio.sleep(3)
        after = server.memory()
        (p50, around), (p99, _) = np.percentile(times or [(0.0, 0.0)], [50, 99], axis=0)
        rates = {f"{status} per s": round(count / seconds, 1) for status, count in counts.items()}
        memory = {"MB before, peak, after": f"{before:.0f}, {peak:.0f}, {after:.0f}"}
        return {
            **rates,
            "p50 ms": round(p50),
            "p99 ms": round(p99),
            "p50 ms without tagging": round(around),
            **memory,
        }

    return case


def _sizes() -> list[bytes]:
    """Images of few bytes and many sizes, up to 36 megapixels."""
    sizes = np.random.default_rng(0).integers(100, 6000, (24, 2)).tolist()
    return [
        cv2.imencode(".png", np.zeros((height, width, 3), np.uint8))[1].tobytes()
        for height, width in sizes
    ]


CASES: dict[str, Callable[[Server, float], Awaitable[dict[str, Any]]]] = {
    "idle": idle,
    "silent": silent(127),
    "thousand": silent(1000),
    "slowloris": slowloris,
    "slow-uploads": slow_uploads,
    "new-connections": posting(1, False, PHOTO),
    "keep-alive": posting(1, True, PHOTO),
    "load": posting(64, True, PHOTO),
    "tiny": posting(8, False, *_sizes()),
}
WITHOUT_CAMERA = ("new-connections", "keep-alive", "tiny")
"""These measure requests and memory alone."""


async def measure(name: str, seconds: float, package: Path, options: list[str]) -> dict[str, Any]:
    """Run one case against a fresh server."""
    with serving(package, options if name in WITHOUT_CAMERA else [CAMERA, *options]) as server:
        while (await Client(server.port).ask("GET", "/readyz"))[0] != 200:
            await asyncio.sleep(0.1)
        await asyncio.sleep(2)
        before = (await server.json("/v1/cameras"))["cameras"]
        found = await CASES[name](server, seconds)
        await asyncio.sleep(1)
        cameras = (await server.json("/v1/cameras"))["cameras"]
    if not cameras:
        return found
    start = before[0]
    camera = cameras[0]
    ages = {
        key.replace("_", " ") + " ms": round(1e3 * camera[key]) for key in ("age_p50", "age_p99")
    }
    counts = {key: camera[key] - start[key] for key in ("captured", "dropped", "late")}
    return {**found, **ages, **counts}


def main(
    case: Annotated[
        list[str] | None, typer.Option(help=f"One of {', '.join(CASES)}; by default all.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Duration of a case.")] = 20.0,
    package: Annotated[Path, typer.Option(help="The checkout to measure.")] = ROOT,
    option: Annotated[list[str] | None, typer.Option(help="An option for pvlr serve.")] = None,
    out: Json = None,
) -> None:
    """Measure what a server under load or attack still does for others."""
    data = {}
    for name in case or CASES:
        data[name] = asyncio.run(measure(name, seconds, package.resolve(), option or []))
        Table(name, ["", ""], [[key, str(value)] for key, value in data[name].items()]).print()
    save(out, data)


if __name__ == "__main__":
    run(main)
