"""Output to a full disk: one message and a status, for every command that prints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PVLR = [sys.executable, "-c", "from pvlr_sdk.cli import main; main()"]
full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")


@pytest.mark.slow
@full
@pytest.mark.parametrize(
    "arguments", [["labels", "--json"], ["--help"], ["tag", "IMAGE", "--json"], ["tag", "IMAGE"]]
)
def test_a_full_disk_ends_in_one_message(plan: Path, folder: Path, arguments: list[str]) -> None:
    image = str(next(folder.glob("*.jpg")))
    command = [*PVLR, *(image if one == "IMAGE" else one for one in arguments)]
    if arguments[0] == "labels":
        command.append(str(plan))
    elif arguments[0] == "tag":
        command += ["--plan", str(plan)]
    with open("/dev/full", "w") as disk:
        done = subprocess.run(command, stdout=disk, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "pvlr: OutputError: stdout: expected space for the output, got No space left on device."
    )
