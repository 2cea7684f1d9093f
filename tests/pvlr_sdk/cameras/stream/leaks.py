"""Soak test of a stream: watches cameras that fail and return, and fits a line to the memory.

    python -m tests.pvlr_sdk.cameras.stream.leaks --minutes 12            # in CI, together with the tests
    python -m tests.pvlr_sdk.cameras.stream.leaks --minutes 1440 --json soak.json    # 24 hours, before a release
    python -m tests.pvlr_sdk.cameras.stream.leaks --minutes 2 --leak      # must fail: the check detects a planted leak

Four cameras: a pattern, one that freezes, one that changes its size, and an MJPEG stream whose connection breaks every
few seconds. Exit status 1: memory, threads or descriptors grew after the warm-up, which is the first quarter.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer

from benchmarks.common import Json, Plan, conditions, run, save
from pvlr_sdk import Camera, Stream, Tagger
from pvlr_sdk.cameras.stream import Observation
from pvlr_sdk.cli.site import return_freed_memory


def main(
    plan: Plan = None,
    minutes: Annotated[float, typer.Option(help="Duration.")] = 20.0,
    fps: Annotated[float, typer.Option(help="Frames per second of each camera.")] = 4.0,
    limit: Annotated[
        float, typer.Option(help="Growth of memory after the warm-up that is allowed, in percent.")
    ] = 2.0,
    every: Annotated[
        float, typer.Option(help="Seconds between two writes of the result so far.")
    ] = 60.0,
    leak: Annotated[bool, typer.Option(help="Leak 64 KiB per frame, to test the check.")] = False,
    out: Json = None,
) -> int:
    """Watch cameras that fail and return; fail if memory, threads or descriptors grow."""
    return_freed_memory()  # as pvlr watch does; otherwise glibc's heaps grow by some megabytes per hour
    samples: list[list[float]] = []
    kept: list[bytes] = []
    cv2.setNumThreads(1)
    facts = {**conditions(1), "minutes": minutes, "fps": fps, "leak": leak}
    with Tagger(plan, num_threads=1) as tagger, mjpeg_camera(fps) as address:
        cameras = [
            Camera("steady", f"test://?size=640x360&fps={fps:g}"),
            Camera(
                "freezes", f"test://?size=640x360&fps={fps:g}&seed=1&freeze_after=20", timeout=1
            ),
            Camera(
                "resizes", f"test://?size=640x360&fps={fps:g}&seed=2&resize_after=10&frames=1000000"
            ),
            Camera("breaks-off", f"http://{address}/", timeout=2),
        ]
        stream = Stream(tagger, cameras, longest_pause=0.5)

        def report(complete: bool) -> dict[str, float]:
            figures = judge(samples)
            reconnects = {name: camera.reconnects for name, camera in stream.stats().items()}
            save(
                out,
                {"conditions": facts, "complete": complete, **figures, "reconnects": reconnects},
            )
            return figures

        watch = threading.Thread(
            target=_watch, args=(stream, 60 * minutes, samples, every, report), daemon=True
        )
        with stream:
            watch.start()
            for event in stream:
                if leak and isinstance(event, Observation):
                    kept.append(event.frame.pixels.tobytes()[: 1 << 16])
        watch.join()
        stats = stream.stats()
        figures = report(True)
    for name, camera in stats.items():
        print(
            f"{name}: {camera.tagged} tagged, {camera.dropped} dropped, {camera.late} late, {camera.reconnects} "
            f"reconnects, age p50 {1e3 * (camera.age_p50 or 0):.1f} ms, p99 {1e3 * (camera.age_p99 or 0):.1f} ms"
        )
    print(
        f"memory {figures['memory_mb']:.1f} MB, {figures['growth_percent']:+.2f} % after the warm-up; "
        f"threads {figures['threads']:+.0f}, descriptors {figures['descriptors']:+.0f}"
    )
    print(
        f"per hour: memory {figures['memory_mb_per_hour']:+.2f} MB, threads {figures['threads_per_hour']:+.2f}, "
        f"descriptors {figures['descriptors_per_hour']:+.2f}, over {figures['hours']:.2f} hours"
    )
    silent = [name for name, camera in stats.items() if not camera.tagged]
    if silent:
        print(f"no frame from {', '.join(silent)}")
    grown = (
        figures["growth_percent"] > limit or figures["threads"] > 0 or figures["descriptors"] > 0
    )
    return int(grown or bool(silent))


def resident_bytes() -> int:
    """Memory that this process holds; 0 where the system has no /proc."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0


def judge(samples: list[list[float]]) -> dict[str, float]:
    """Growth after the first quarter: of memory by a line through medians, of threads and descriptors by medians.

    Args:
        samples: seconds, bytes of memory, threads and descriptors at each moment.

    Returns:
        ``memory_mb`` the median, ``growth_percent``, ``threads`` and ``descriptors`` the growth over the steady part,
        ``*_per_hour`` the slopes of lines through its samples, and ``hours``, its length.
    """
    all_steady = np.array(samples[len(samples) // 4 :], float)
    hours, steady = (all_steady[:, 0] - all_steady[0, 0]) / 3600, all_steady[:, 1:]
    # Medians of twenty intervals: a frame that is alive at the moment of a sample is not growth.
    medians = [np.median(part) for part in np.array_split(steady[:, 0], min(20, len(steady)))]
    slope, level = np.polyfit(range(len(medians)), medians, 1)[0], np.median(steady[:, 0])
    first, *_, last = (np.median(part, axis=0) for part in np.array_split(steady, 4))
    _, threads, descriptors = (last - first).tolist()
    growth = 100 * float(slope * (len(medians) - 1) / level)
    slopes = np.polyfit(hours, steady, 1)[0] if len(steady) > 1 else np.zeros(3)
    return {
        "hours": float(hours[-1]),
        "memory_mb": level / 1e6,
        "growth_percent": growth,
        "threads": threads,
        "descriptors": descriptors,
        "memory_mb_per_hour": float(slopes[0]) / 1e6,
        "threads_per_hour": float(slopes[1]),
        "descriptors_per_hour": float(slopes[2]),
    }


def _watch(
    stream: Stream,
    seconds: float,
    samples: list[list[float]],
    every: float,
    report: Callable[[bool], object],
) -> None:
    """Sample memory, threads and descriptors up to 2000 times, report at intervals, then stop the stream."""
    end, written = time.monotonic() + seconds, time.monotonic()
    while (now := time.monotonic()) < end:
        counts = (len(os.listdir(f"/proc/self/{kind}")) for kind in ("task", "fd"))
        samples.append([now, resident_bytes(), *counts])
        if now - written > every and len(samples) > 8:
            written = now
            report(False)
        time.sleep(max(seconds / 2000, 0.1))
    stream.stop()


@contextmanager
def mjpeg_camera(fps: float) -> Iterator[str]:
    """A camera on a free local port that closes each connection after twenty frames; yields its ``host:port``."""
    noise = (
        np.random.default_rng(0)
        .integers(0, 256, (20, 90, 160, 3), np.uint8)
        .repeat(4, 1)
        .repeat(4, 2)
    )
    frames = [cv2.imencode(".jpg", frame)[1] for frame in noise]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=cut")
            self.end_headers()
            for frame in frames:
                header = (
                    f"--cut\r\nContent-Type: image/jpeg\r\nContent-Length: {len(frame)}\r\n\r\n"
                )
                self.wfile.write(header.encode() + frame.tobytes() + b"\r\n")
                time.sleep(1 / fps)

        def log_message(self, *_: Any) -> None:
            """Silent."""

        def handle(self) -> None:
            with suppress(OSError):  # the client closed the connection
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    run(main, passive=True)
