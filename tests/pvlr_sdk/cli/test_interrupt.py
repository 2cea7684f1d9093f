"""``pvlr tag`` interrupted with Ctrl-C: what it says, whole lines, and how it continues."""

from __future__ import annotations

import fcntl
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

PVLR = [sys.executable, "-c", "from pvlr_sdk.cli import main; main()"]

_FULL = 40_000
"""Bytes in a pipe that may be full: it has 64 KiB in pages, and a line that does not fit begins a new one."""


def _until_it_waits(pipe: IO[bytes]) -> None:
    """Wait until the writer waits for a reader: the pipe fills no further."""
    deadline, before = time.monotonic() + 60, -1
    while (now := _bytes_in(pipe)) < _FULL or now != before:
        assert time.monotonic() < deadline, f"{now} bytes"
        before = now
        time.sleep(0.5)


def _bytes_in(pipe: IO[bytes]) -> int:
    return int(struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0\0\0\0"))[0])


@pytest.fixture
def many(folder):
    """600 images, which take longer than the signal."""
    for number in range(600 - 3):
        os.link(folder / "a.jpg", folder / f"c{number:04}.jpg")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("form", ["--json", "--csv"])
def test_lines_stay_whole_and_skip_continues(plan, many, form, tmp_path):
    run = [*PVLR, "tag", str(many), "--plan", str(plan), "--threshold", "0", form]
    process = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    _until_it_waits(process.stdout)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    out, messages = process.communicate(timeout=60)
    assert process.returncode == 130
    first, second = messages.decode().splitlines()
    done = int(re.search(r"interrupted: (\d+) of 600 images are done; their lines are complete\.", first)[1])
    assert 0 < done < 600
    assert second.endswith(f"with --skip {done}; >> appends to a file.")
    rest = subprocess.run([*run, "--skip", str(done)], capture_output=True, check=True).stdout
    lines = (out + rest).decode().splitlines()
    if form == "--csv":
        assert lines.pop(0) == "source,frame,label,score,threshold"
        lines = lines[::5]
        sources = [line.split(",")[0] for line in lines]
    else:
        sources = [json.loads(line)["source"] for line in lines]
    assert len(sources) == 600
    assert sources == sorted(map(str, many.rglob("*.*")), key=lambda name: ("/sub/" in name, name))


@pytest.mark.slow
def test_a_second_ctrl_c_ends_a_blocked_write(plan, many):
    process = subprocess.Popen(
        [*PVLR, "tag", str(many), "--plan", str(plan), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    _until_it_waits(process.stdout)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
    process.stdout.close()
    assert process.wait(30) == 130


@pytest.mark.slow
def test_annotated_copies_of_one_name_survive_an_interruption(pvlr, plan, folder):
    run = ("tag", folder / "a.jpg", folder / "sub/a.jpg", "--plan", plan, "--draw", folder / "out")
    assert pvlr(*run).code == 0
    whole = {path.name: path.read_bytes() for path in (folder / "out").iterdir()}
    (folder / "out/a-2-tags.jpg").unlink()
    assert pvlr(*run, "--skip", 1).code == 0
    assert {path.name: path.read_bytes() for path in (folder / "out").iterdir()} == whole


def test_ignored_in_the_background(plan, folder):
    """A shell starts background jobs with SIGINT ignored."""
    script = f"trap '' INT; {' '.join(map(repr, PVLR))} tag {folder} --plan {plan} --json"
    process = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    assert len(process.stdout.read().splitlines()) == 2
    assert process.wait(60) == 0
