"""The memory that an isolated process shares."""

from __future__ import annotations

import fcntl
import os
import sys

import pytest

from pvlr_sdk.frames.isolated.process import shared_memory


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has seals")
def test_shared_memory_keeps_its_size_and_its_seals() -> None:
    memory, descriptor = shared_memory(8192)
    with memory:
        for size in (0, 4096, 16384):
            with pytest.raises(PermissionError):
                os.ftruncate(descriptor, size)
        # A seal against writing would end this process's use of it.
        with pytest.raises(PermissionError):
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    os.close(descriptor)
