"""Events to send, and a disk that is really full."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pvlr_sdk.events import Event


@pytest.fixture(scope="session")
def make_event() -> Callable[..., Event]:
    """Event number n: even ones are on, odd ones the off of the one before."""

    def make(number: int, camera: str = "door", label: str = "car") -> Event:
        start = 1.75e9 + 10 * (number // 2)
        common = {"score": 0.75, "peak": 0.875, "peak_time": start + 1, "start": start}
        if number % 2 == 0:
            return Event("on", f"event-{number // 2}", camera, label, time=start + 2, **common)
        return Event(
            "off", f"event-{number // 2}", camera, label, time=start + 5, end=start + 5, reason="score", **common
        )

    return make


@dataclass
class SmallDisk:
    """A file system of 512 kB of its own."""

    folder: Path

    def fill(self, leave: int = 0) -> None:
        """Leave only so many bytes free."""
        state = os.statvfs(self.folder)
        (self.folder / "ballast").write_bytes(bytes(state.f_bavail * state.f_bsize - leave))

    def free(self) -> None:
        """Make room again."""
        (self.folder / "ballast").unlink()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk that can really be full; takes root."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "pvlr-test", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs takes root")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
