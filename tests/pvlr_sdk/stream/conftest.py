"""A tagger, a slow engine, and a real RTSP camera in a process of its own."""

from __future__ import annotations

import functools
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk import Tagger
from pvlr_sdk.result import TagResult

SYSTEM_PYTHON = "/usr/bin/python3"
SERVER = Path(__file__).parent / "rtsp_server.py"


@pytest.fixture(scope="session")
def tagger(plan: Path) -> Iterator[Tagger]:
    """The tiny network; a frame takes well under a millisecond."""
    with Tagger(plan, num_threads=1) as made:
        yield made


class SlowTagger:
    """A tagger whose engine takes ``seconds`` a frame, one after the other; the answers are the real ones."""

    def __init__(self, tagger: Tagger, seconds: float) -> None:
        self.info = tagger.info
        self.predict = tagger.predict
        self._tagger = tagger
        self._seconds = seconds
        self._free = 0.0

    def submit(self, frame: Any, *, color: str = "bgr") -> Any:
        pending = self._tagger.submit(frame, color=color)
        self._free = max(self._free, time.monotonic()) + self._seconds
        return _SlowPending(pending, self._free)


class _SlowPending:
    def __init__(self, pending: Any, done: float) -> None:
        self._pending, self._done = pending, done

    def result(self) -> TagResult:
        time.sleep(max(self._done - time.monotonic(), 0))
        return self._pending.result()


@pytest.fixture
def slow(tagger: Tagger) -> Callable[[float], Any]:
    """Makes a tagger whose engine takes so many seconds a frame."""
    return lambda seconds: SlowTagger(tagger, seconds)


@functools.cache
def _has_rtsp_server() -> bool:
    code = (
        "import gi, numpy; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer; "
    )
    code += "Gst.init(None); assert Gst.ElementFactory.find('x264enc')"
    try:
        return subprocess.run([SYSTEM_PYTHON, "-c", code], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


class RtspCamera:
    """The server of ``rtsp_server.py`` at an address that stays the same when it is killed and started again."""

    def __init__(self, *arguments: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._process: subprocess.Popen[str] | None = None
        self.start(*arguments)

    def uri(self, credentials: str = "") -> str:
        return f"rtsp://{credentials}127.0.0.1:{self._port}/cam"

    def start(self, *arguments: str) -> None:
        command = [SYSTEM_PYTHON, str(SERVER), "--port", str(self._port), *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def resize(self, size: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"size {size}\n")
        self._process.stdin.flush()

    def freeze(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@pytest.fixture
def rtsp() -> Iterator[Callable[..., RtspCamera]]:
    """Starts RTSP cameras; they end with the test."""
    if not _has_rtsp_server():
        pytest.skip("GStreamer's RTSP server is not installed (see rtsp_server.py)")
    cameras: list[RtspCamera] = []

    def start(*arguments: str) -> RtspCamera:
        cameras.append(RtspCamera(*arguments))
        return cameras[-1]

    yield start
    for camera in cameras:
        camera.kill()
