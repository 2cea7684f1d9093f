"""Cameras that connect and disconnect during all other tests: memory, threads and descriptors do not grow."""

from __future__ import annotations

import faulthandler
import subprocess

import pytest


@pytest.mark.slow
def test_memory_threads_and_descriptors_stay_flat(soak: subprocess.Popen[str]) -> None:
    faulthandler.cancel_dump_traceback_later()  # it may take longer than other tests may
    output, _ = soak.communicate()
    print(output)
    assert soak.returncode == 0, output
