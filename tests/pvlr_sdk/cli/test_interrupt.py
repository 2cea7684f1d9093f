"""``pvlr tag`` interrupted with Ctrl-C: what it says, and whole lines."""

from __future__ import annotations

import fcntl
import importlib.metadata
import json
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from typing import IO

import pytest

PVLR = [sys.executable, "-m", "pvlr_sdk"]

_FULL = 40_000
"""Bytes in a pipe that may be full: it has 64 KiB in pages, and a line that does not fit begins a new one."""


def _until_it_waits(pipe: IO[bytes]) -> None:
    """Wait until the writer waits for a reader: the pipe has filled no further for two seconds."""
    deadline, before, since = time.monotonic() + 60, -1, 0.0
    while before < _FULL or time.monotonic() < since + 2:
        assert time.monotonic() < deadline, f"{before} bytes"
        if (now := _bytes_in(pipe)) != before:
            before, since = now, time.monotonic()
        time.sleep(0.1)


def _bytes_in(pipe: IO[bytes]) -> int:
    return int(struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0\0\0\0"))[0])


@pytest.fixture
def blocked(plan, folder):
    """``pvlr tag`` on 600 images, waiting for the reader of its output."""
    for number in range(600 - 3):
        os.link(folder / "a.jpg", folder / f"c{number:04}.jpg")
    command = [*PVLR, "tag", str(folder), "--plan", str(plan), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        _until_it_waits(process.stdout)
        yield process


@pytest.mark.slow
def test_ctrl_c_leaves_whole_lines_in_a_pipe(blocked):
    blocked.send_signal(signal.SIGINT)
    time.sleep(0.3)
    out, messages = blocked.communicate(timeout=60)
    (message,) = messages.decode().splitlines()
    done = int(
        re.search(
            r"interrupted: (\d+) of 600 images are done; their lines are complete\.", message
        )[1]
    )
    assert 0 < done < 600
    assert blocked.returncode == 130
    assert len([json.loads(line) for line in out.splitlines()]) == done


@pytest.mark.slow
def test_a_second_ctrl_c_ends_a_blocked_write(blocked):
    for _ in range(2):
        blocked.send_signal(signal.SIGINT)
        time.sleep(0.5)
    blocked.stdout.close()
    assert blocked.wait(30) == 130


def test_ctrl_c_before_the_command_begins(tmp_path):
    """Also in the script ``pvlr``, which calls the same function."""
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="pvlr")
    assert script.value == "pvlr_sdk.__main__:main"
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(PVLR, env=environment, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


@pytest.mark.slow
def test_ignored_in_the_background(plan, folder):
    """A shell starts background jobs with SIGINT ignored."""
    script = f"trap '' INT; {' '.join(map(repr, PVLR))} tag {folder} --plan {plan} --json"
    process = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    assert len(process.stdout.read().splitlines()) == 2
    assert process.wait(60) == 0
