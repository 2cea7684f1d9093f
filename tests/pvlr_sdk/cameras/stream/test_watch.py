"""``pvlr watch`` on a real RTSP camera that goes away: the open event is closed with a reason, and events resume."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

AWAY = float(os.environ.get("PVLR_CAMERA_AWAY", "3"))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_events_resume_within_five_seconds(
    rtsp: Callable[..., Any], plan: Path, tmp_path: Path, how: str
) -> None:
    camera = rtsp("--size", "160x120")
    timeout = min(AWAY / 3, 5.0)
    (tmp_path / "site.yaml").write_text(
        f"plan: {plan}\nthreads: 1\ncameras: {{door: {{uri: '{camera.uri()}', timeout: {timeout}}}}}\n"
        "events: {thresholds: {cat: 0}, labels: [cat], min_duration: 0.2}\n"
    )
    command = [sys.executable, "-c", "from pvlr_sdk.cli import main; main()", "watch", "-c"]
    with subprocess.Popen(
        [*command, str(tmp_path / "site.yaml")], stdout=subprocess.PIPE, text=True
    ) as process:
        notices: queue.Queue[tuple[float, dict[str, Any]]] = queue.Queue()

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                notices.put((time.monotonic(), json.loads(line)))

        reader = threading.Thread(target=read)
        reader.start()
        try:
            _, on = notices.get(timeout=30)
            (camera.kill if how == "killed" else camera.freeze)()
            gone = time.monotonic()
            moment, off = notices.get(timeout=timeout + 10)
            assert moment - gone < timeout + 2
            assert (off["id"], off["event"]) == (on["id"], "off")
            assert off["reason"].startswith("camera lost: ")
            time.sleep(max(0.0, gone + AWAY - time.monotonic()))
            camera.start("--size", "160x120") if how == "killed" else camera.thaw()
            returned = time.monotonic()
            moment, again = notices.get(timeout=20)
            assert moment - returned < 5
            assert again["event"] == "on"
            assert again["id"] != on["id"]
            assert again["start"] > off["time"]
        finally:
            process.terminate()
            reader.join()  # up to the end of the output, before that is closed under it
    assert process.returncode == 0
    assert notices.get(timeout=5)[1]["reason"] == "stopped"
