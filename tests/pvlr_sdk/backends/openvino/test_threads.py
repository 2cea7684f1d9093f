"""OpenVINO's threads stay off single cores where other processes may be on them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from pvlr_sdk import Tagger
from pvlr_sdk.cores import available_cores

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2 or available_cores() < 2,
    reason="needs Linux and two cores",
)


def narrowest(plan: Path, threads: int, optimize: str) -> int:
    """Cores of the most restricted thread while frames are tagged."""
    frame, found, done = np.zeros((640, 640, 3), np.uint8), [], threading.Event()

    def watch() -> None:
        while not done.wait(1e-3):
            for task in os.listdir("/proc/self/task"):
                try:
                    found.append(len(os.sched_getaffinity(int(task))))
                except ProcessLookupError:
                    continue

    with Tagger(plan, num_threads=threads, optimize=optimize) as tagger:
        watcher = threading.Thread(target=watch)
        watcher.start()
        for _ in tagger.predict_stream([frame] * 100):
            pass
        done.set()
        watcher.join()
    return min(found)


@pytest.mark.parametrize(("threads", "optimize"), [(1, "latency"), (1, "throughput"), (None, "throughput")])
def test_threads_share_the_cores_with_other_processes(plan, threads, optimize):
    assert narrowest(plan, threads or available_cores(), optimize) == len(os.sched_getaffinity(0))


def test_a_tagger_with_all_cores_is_pinned(plan):
    assert narrowest(plan, available_cores(), "latency") == 1
