"""pvlrtag at full speed, for PVLR_GSTREAMER_MINUTES: memory, threads and descriptors of gst-launch-1.0 stay flat."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from pvlr_sdk._util.cores import available_cores

from ..library import ROOT
from .conftest import Plugin

pytestmark = pytest.mark.slow

MINUTES = float(os.environ.get("PVLR_GSTREAMER_MINUTES", "0.06"))
PLAN = ROOT / "models/pvlr-lite0-open/engine.plan"
VIDEO = Path(os.environ.get("PVLR_DATA", "/none")) / "video/car-detection.mp4"


def observe(process: int) -> tuple[float, int, int]:
    """Resident megabytes, threads and open descriptors."""
    status = Path(f"/proc/{process}/status").read_text()
    resident, threads = (
        int(status.partition(f"{name}:")[2].split()[0]) for name in ("VmRSS", "Threads")
    )
    return resident / 1e3, threads, len(list(Path(f"/proc/{process}/fd").iterdir()))


@pytest.mark.skipif(not VIDEO.is_file(), reason="no $PVLR_DATA/video")
def test_a_pipeline_at_full_speed_does_not_grow(plugin: Plugin, tmp_path: Path) -> None:
    """The video's frames as JPEGs, which multifilesrc can repeat without an end; every frame is tagged."""
    files = f"{tmp_path}/%05d.jpg"
    convert = (
        f"filesrc location={VIDEO} ! decodebin ! videoconvert ! identity eos-after=150 ! jpegenc"
    )
    done = plugin.launch(*f"{convert} ! multifilesink location={files}".split())
    assert done.returncode == 0, done.stderr
    count = len(list(tmp_path.iterdir()))
    assert count > 100

    source = f"multifilesrc location={files} loop=true stop-index={count - 1} caps=image/jpeg,framerate=25/1"
    pipeline = f"{source} ! jpegdec ! videoconvert ! pvlrtag plan={PLAN} ! fakesink"
    command = ["gst-launch-1.0", "-m", *pipeline.split()]
    samples, frames, labels = [], 0, 0
    with (tmp_path / "stderr").open("w") as errors:
        process = subprocess.Popen(
            command, env=plugin.environment, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        assert process.stdout is not None
        began = last = time.monotonic()
        for line in process.stdout:
            if "pvlr-tags" not in line:
                continue
            frames, labels = frames + 1, labels + ("< car" in line)
            now = time.monotonic()
            # a hundred times; the end is late enough for the last
            if now - last >= max(0.2, MINUTES * 0.6):
                last = now
                samples.append(observe(process.pid))
            if now - began > 60 * MINUTES and frames >= count:  # all of them at least once
                break
        seconds = time.monotonic() - began
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert "ERROR" not in (tmp_path / "stderr").read_text()
    resident, threads, descriptors = (list(column) for column in zip(*samples, strict=True))
    quarter = len(samples) // 4
    grown = max(resident[-quarter:]) - max(resident[quarter : 2 * quarter])
    print(
        f"{frames} frames in {seconds:.0f} s ({frames / seconds:.0f} per second), cars in {labels}; "
        f"MB {resident[:: max(1, len(samples) // 10)]}, grown by {grown:.1f}; threads {set(threads)}, "
        f"descriptors {set(descriptors)}"
    )
    assert labels > frames / 20
    assert grown < 2
    late = available_cores()  # TBB may start the workers of its pool late
    assert max(threads[-quarter:]) <= max(threads[: 2 * quarter]) + late
    assert max(descriptors[-quarter:]) <= max(descriptors[: 2 * quarter])
