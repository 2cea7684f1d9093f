"""Where libpvlr is, or why it is not there; tests/release runs what a wheel contains."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pvlr_sdk import errors, libpvlr


def test_an_installation_without_it(tmp_path: Path) -> None:
    with pytest.raises(
        errors.MissingPartError, match=r"expected an installation that contains it.*docs/cpp\.md"
    ):
        libpvlr.prefix(tmp_path)


def test_a_library_that_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/libpvlr.so").write_bytes(b"not a library")
    with pytest.raises(
        errors.MissingPartError, match=r"the version of OpenVINO that .* got .*libpvlr\.so.*\[cpp\]"
    ):
        libpvlr.prefix(tmp_path)


def test_the_command_says_what_is_missing() -> None:
    """This checkout has no libpvlr."""
    command = [sys.executable, "-m", "pvlr_sdk.libpvlr"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("pvlr_sdk.libpvlr: libpvlr: expected an installation that")
