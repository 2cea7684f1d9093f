"""OpenVINO's threads stay off single cores where other processes may be on them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pvlr_sdk._util.cores import available_cores

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity")
    or len(os.sched_getaffinity(0)) < 2
    or available_cores() < 2,
    reason="needs Linux and two cores",
)

NARROWEST = """
import os, sys, threading
import numpy as np
from pvlr_sdk import Tagger

found, done = [], threading.Event()

def watch():
    while not done.wait(1e-3):
        for task in os.listdir("/proc/self/task"):
            try:
                found.append(len(os.sched_getaffinity(int(task))))
            except ProcessLookupError:
                continue

with Tagger(sys.argv[1], num_threads=int(sys.argv[2]), optimize=sys.argv[3]) as tagger:
    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in tagger.predict_stream([np.zeros((640, 640, 3), np.uint8)] * 100):
        pass
    done.set()
    watcher.join()
print(min(found))
"""
"""Prints the cores of the most restricted thread while frames are tagged."""


def narrowest(plan: Path, threads: int, optimize: str) -> int:
    """In a process of its own: threads of other taggers in this one may be pinned."""
    command = [sys.executable, "-c", NARROWEST, str(plan), str(threads), optimize]
    return int(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("threads", "optimize"), [(1, "latency"), (1, "throughput"), (None, "throughput")]
)
def test_threads_share_the_cores_with_other_processes(
    plan: Path, threads: int | None, optimize: str
) -> None:
    assert narrowest(plan, threads or available_cores(), optimize) == len(os.sched_getaffinity(0))


@pytest.mark.slow
def test_a_tagger_with_all_cores_is_pinned(plan: Path) -> None:
    assert narrowest(plan, available_cores(), "latency") == 1
