"""Long-running commands return what they freed to the system."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import ctypes, sys
from pathlib import Path
from pvlr_sdk.cli.site import return_freed_memory

def resident():
    return int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0]) // 1000

if sys.argv[1] == "True":
    return_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.free(libc.malloc(16_000_000))  # raises glibc's threshold
before, blocks = resident(), []
for _ in range(20):
    blocks.append(libc.malloc(12_000_000))
    ctypes.memset(blocks[-1], 1, 12_000_000)
    ctypes.memset(libc.malloc(100_000), 1, 100_000)  # still in use: the heap cannot shrink below it
for block in blocks:
    libc.free(block)
print(resident() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
@pytest.mark.parametrize("returned", [True, False])
def test_large_blocks_are_returned_beside_small_ones_in_use(returned: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(returned)], capture_output=True, text=True, check=True
    )
    growth = int(done.stdout)
    assert growth < 25 if returned else growth > 200
