"""Output of other programs, and contents of files of the kernel."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path


def output_of(program: str, *arguments: str, seconds: float = 10, **variables: str) -> str | None:
    """What a program prints on stdout, with further environment variables; None if it is not installed.

    Raises:
        RuntimeError: it fails; the message has its last line.
        subprocess.TimeoutExpired: it takes too long.
    """
    path = shutil.which(program)
    if path is None:
        return None
    done = subprocess.run(
        [path, *arguments],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        env={**os.environ, **variables},
    )
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise RuntimeError(f"{program}: {lines[-1] if lines else f'exit status {done.returncode}'}")
    return done.stdout


def package_version(name: str) -> str | None:
    """The version of a Debian package; None if it is not installed."""
    try:
        return output_of("dpkg-query", "-W", "-f=${Version}", name)
    except RuntimeError:
        return None


def text_of(path: str | Path) -> str | None:
    """Contents of a small file; None if it cannot be read."""
    try:
        return Path(path).read_text(errors="replace").strip("\0\n ")
    except OSError:
        return None


def number_of(path: str | Path) -> int | None:
    """The integer in a file; None if there is none."""
    text = text_of(path) or ""
    return int(text) if text.lstrip("-").isdigit() else None
