"""Does a stream grow? Watches cameras that come and go for minutes or days, and fits a line to the memory.

    python benchmarks/soak.py --minutes 20            # in CI, beside the tests
    python benchmarks/soak.py --minutes 1440          # before a release
    python benchmarks/soak.py --minutes 2 --leak      # must fail: the check sees a leak that is planted

Four cameras: a pattern, one that freezes every few seconds, one that changes its size, and a real MJPEG stream over
HTTP that breaks off every few seconds. Exit status 1: the memory grew by more than 2 % after the warm-up, which is the
first quarter, or threads or descriptors did.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer

from pvlr_sdk import Camera, Stream, Tagger
from pvlr_sdk.stream import Backoff, Observation

_PAGE = os.sysconf("SC_PAGE_SIZE")


def main(
    plan: Annotated[Path | None, typer.Argument(help="A plan; the bundled one by default.")] = None,
    minutes: Annotated[float, typer.Option(help="How long.")] = 20.0,
    fps: Annotated[float, typer.Option(help="Frames a second of each camera.")] = 4.0,
    limit: Annotated[float, typer.Option(help="Percent that the memory may grow after the warm-up.")] = 2.0,
    leak: Annotated[bool, typer.Option(help="Keep 64 KiB of each frame, to see that the check catches it.")] = False,
    out: Annotated[Path | None, typer.Option("--json", help="Write the figures here as well.")] = None,
) -> None:
    """Watch cameras that come and go, and fail if memory, threads or descriptors grow."""
    samples: list[dict[str, float]] = []
    kept: list[bytes] = []
    cv2.setNumThreads(1)
    with Tagger(plan, num_threads=1) as tagger, mjpeg_camera(fps) as address:
        cameras = [
            Camera("steady", f"test://?size=640x360&fps={fps:g}"),
            Camera("freezes", f"test://?size=640x360&fps={fps:g}&seed=1&freeze_after=20", timeout=1),
            Camera("resizes", f"test://?size=640x360&fps={fps:g}&seed=2&resize_after=10&frames=1000000"),
            Camera("breaks-off", f"http://{address}/", timeout=2),
        ]
        stream = Stream(tagger, cameras, reconnect=Backoff(most=0.5))
        watch = threading.Thread(target=_watch, args=(stream, 60 * minutes, samples), daemon=True)
        with stream:
            watch.start()
            for event in stream:
                if leak and isinstance(event, Observation):
                    kept.append(event.frame.pixels.tobytes()[: 1 << 16])
        watch.join()
        stats = stream.stats()
    figures = judge(samples)
    for name, camera in stats.items():
        print(
            f"{name}: {camera.tagged} tagged, {camera.dropped} dropped, {camera.late} late, {camera.reconnects} "
            f"reconnects, age p50 {1e3 * (camera.age_p50 or 0):.1f} ms, p99 {1e3 * (camera.age_p99 or 0):.1f} ms"
        )
    print(
        f"memory {figures['memory_mb']:.1f} MB, grown by {figures['growth_percent']:+.2f} % after the warm-up; "
        f"threads {figures['threads']:+.0f}, descriptors {figures['descriptors']:+.0f}"
    )
    if out:
        conditions = {"minutes": minutes, "fps": fps, "leak": leak, "python": platform.python_version()}
        reconnects = {name: camera.reconnects for name, camera in stats.items()}
        out.write_text(json.dumps({"conditions": conditions, **figures, "reconnects": reconnects}, indent=1) + "\n")
    silent = [name for name, camera in stats.items() if not camera.tagged]
    grown = figures["growth_percent"] > limit or figures["threads"] > 0 or figures["descriptors"] > 0
    if silent:
        print(f"not a single frame from {', '.join(silent)}")
    raise typer.Exit(int(grown or bool(silent)))


def judge(samples: list[dict[str, float]]) -> dict[str, float]:
    """What grew after the first quarter: memory by a line through its medians, threads and descriptors by theirs."""
    steady = samples[len(samples) // 4 :]
    memory = np.array([sample["memory"] for sample in steady])
    # Medians of twenty stretches: one frame that is alive at the moment of a sample is no growth.
    medians = np.array([np.median(part) for part in np.array_split(memory, min(20, len(memory)))])
    slope = np.polyfit(np.arange(len(medians)), medians, 1)[0]
    first, last = np.array_split(np.arange(len(steady)), 4)[0], np.array_split(np.arange(len(steady)), 4)[-1]

    def grown(name: str) -> float:
        values = np.array([sample[name] for sample in steady])
        return float(np.median(values[last]) - np.median(values[first]))

    return {
        "memory_mb": float(np.median(memory)) / 1e6,
        "growth_percent": 100 * float(slope) * (len(medians) - 1) / float(np.median(memory)),
        "threads": grown("threads"),
        "descriptors": grown("descriptors"),
    }


def _watch(stream: Stream, seconds: float, samples: list[dict[str, float]]) -> None:
    """Sample the process about 2000 times, then stop the stream."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        samples.append(
            {
                "memory": int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE,
                "threads": len(os.listdir("/proc/self/task")),
                "descriptors": len(os.listdir("/proc/self/fd")),
            }
        )
        time.sleep(max(seconds / 2000, 0.1))
    stream.stop()


@contextmanager
def mjpeg_camera(fps: float) -> Iterator[str]:
    """A camera on a free local port that hangs up after twenty pictures; gives its ``host:port``."""
    pictures = [
        cv2.imencode(
            ".jpg", np.random.default_rng(seed).integers(0, 256, (90, 160, 3), np.uint8).repeat(4, 0).repeat(4, 1)
        )[1]
        for seed in range(20)
    ]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=cut")
            self.end_headers()
            for picture in pictures:
                header = f"--cut\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                self.wfile.write(header.encode() + picture.tobytes() + b"\r\n")
                time.sleep(1 / fps)

        def log_message(self, *_: Any) -> None:
            """Silent."""

        def handle(self) -> None:
            with suppress(OSError):  # the stream was closed
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
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    typer.run(main)
