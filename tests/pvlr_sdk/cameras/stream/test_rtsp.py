"""A real RTSP server that is killed, frozen and resized while a stream watches it."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pvlr_sdk import Camera, Stream, Tagger, errors, open_source
from pvlr_sdk.cameras.stream import CameraChange, Observation


def until(events: Iterator[Any], wanted: Callable[[Any], bool], seconds: float) -> float:
    """Read up to the first event that is wanted; returns its time."""
    end = time.monotonic() + seconds
    for event in events:
        if wanted(event):
            return time.monotonic()
        assert time.monotonic() < end, "the event did not arrive"
    raise AssertionError("the stream ended")


def is_observation(event: Any) -> bool:
    return isinstance(event, Observation)


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_it_is_read_and_the_size_may_change(
    rtsp: Callable[..., Any], tagger: Tagger, transport: str
) -> None:
    camera = rtsp("--size", "320x240")
    with Stream(tagger, [Camera("a", camera.uri(), transport=transport)], keep_warm=0.1) as stream:
        until(stream, is_observation, 10)
        camera.resize("160x120")
        until(stream, lambda event: is_observation(event) and event.frame.size == (120, 160), 10)
        seen = [event for event in (next(stream) for _ in range(25)) if is_observation(event)]
        stats = stream.stats()["a"]
    assert stats.state == "live"
    assert stats.reconnects == 0
    assert len(seen) == 25
    times = [event.frame.source_time for event in seen]
    assert times == sorted(times)
    assert max(event.age for event in seen) < 0.5


@pytest.mark.slow
def test_wrong_credentials_are_tried_seldom_and_never_shown(
    rtsp: Callable[..., Any], tagger: Tagger
) -> None:
    camera = rtsp("--user", "bob", "--password", "hunter2")
    assert open_source(camera.uri("bob:hunter2@")).read().size == (240, 320)
    for wrong in ("", "bob:wrong@", "eve:hunter2@"):
        with pytest.raises(errors.SourceDeniedError) as caught:
            open_source(camera.uri(wrong))
        assert "hunter2" not in str(caught.value)
    with Stream(tagger, [Camera("a", camera.uri("bob:wrong@"))], longest_pause=0.01) as stream:
        change = next(stream)
        time.sleep(0.5)
        assert isinstance(change, CameraChange)
        assert change.state == "lost"
        assert "401" in change.reason
        assert stream.stats()["a"].reconnects == 0


HEADER = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=cut\r\n\r\n"
JPEG = cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
FRAMES = HEADER + 4 * (
    b"--cut\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(JPEG), JPEG)
)


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "sends"), [("rtsp", b""), ("http", FRAMES)])
def test_many_reconnects_leave_nothing_behind(tagger: Tagger, scheme: str, sends: bytes) -> None:
    """A server that closes the connection at once, or after four frames; PVLR_RECONNECTS=20000 makes it longer."""
    attempts = int(os.environ.get("PVLR_RECONNECTS", "1000"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def hang_up() -> None:
            while True:
                try:
                    with server.accept()[0] as client:
                        client.recv(4096)
                        client.sendall(sends)
                except ConnectionError:
                    continue
                except OSError:
                    return

        threading.Thread(target=hang_up, daemon=True).start()
        camera = Camera("a", f"{scheme}://127.0.0.1:{port}/x", timeout=1)
        with Stream(tagger, [camera], longest_pause=0, keep_warm=None) as stream:
            reader = threading.Thread(target=lambda: deque(stream, maxlen=0))
            reader.start()
            usage = []
            for part in (0.3, 0.65, 1.0):
                while stream.stats()["a"].reconnects < attempts * part:
                    time.sleep(0.005)
                usage.append(_usage())
            stream.stop()
            reader.join(5)
            stats = stream.stats()["a"]  # how many are tagged depends on what else the machine does
            assert (stats.captured > attempts) == (stats.tagged > 0) == bool(sends)
        server.shutdown(socket.SHUT_RDWR)
    first, last = usage[0], usage[-1]
    assert last["threads"] <= first["threads"]
    # an open connection has both of its ends here
    assert last["descriptors"] <= first["descriptors"] + 4
    assert last["memory"] < first["memory"] + 2_000_000


def _usage() -> dict[str, int]:
    return {
        "threads": len(os.listdir("/proc/self/task")),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "memory": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
    }


@pytest.mark.slow
def test_rtsps_verifies_the_certificate(rtsp: Callable[..., Any], tmp_path: Path) -> None:
    """A real server with a self-signed certificate, which version 0.1 accepted from anyone."""
    pem, key = tmp_path / "camera.pem", tmp_path / "camera.key"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=x",
        "-days",
        "2",
    ]
    names = ["-addext", "subjectAltName=DNS:localhost", "-out", str(pem), "-keyout", str(key)]
    if subprocess.run([*command, *names], capture_output=True, check=False).returncode:
        pytest.skip("openssl is not installed")
    camera = rtsp("--user", "bob", "--password", "hunter2", "--cert", str(pem), "--key", str(key))
    uri = camera.uri("bob:hunter2@", "rtsps", "localhost")
    for attempt in (
        lambda: open_source(uri),
        lambda: open_source(uri.replace("localhost", "127.0.0.1"), ca=pem),
    ):
        with pytest.raises(errors.SourceOpenError, match="certificate must be trusted") as caught:
            attempt()
        assert "hunter2" not in str(caught.value)
    for source in (open_source(uri, ca=pem), open_source(uri, insecure=True)):
        assert source.read().size == (240, 320)
        source.close()
