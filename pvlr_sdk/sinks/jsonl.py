"""Events as JSON, one object a line: to stdout, to a file, to a file that is rotated."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from .. import errors
from ..events import Event


class JsonlStream:
    """Writes lines to a file descriptor, by default stdout. When its reader is gone it is of no more use."""

    def __init__(self, descriptor: int | None = None) -> None:
        self.name = "stdout" if descriptor is None else f"descriptor {descriptor}"
        self._descriptor = sys.stdout.fileno() if descriptor is None else descriptor
        self._item: Event | None = None
        self._rest = b""

    def write(self, item: Event) -> None:
        """Write one line; waits while a pipe is full.

        Raises:
            BrokenPipeError: nobody reads any more.
            OSError: no space; a line of which a part was written is finished by the next try.
        """
        if item is not self._item:
            self._item = item
            self._rest += f"{item.to_json()}\n".encode()
        # Not through sys.stdout: its buffer would keep a line back, and its lock hang the exit while a pipe is full.
        while self._rest:
            self._rest = self._rest[os.write(self._descriptor, self._rest) :]

    def close(self) -> None:
        """Nothing to do."""


class JsonlFile:
    """Appends lines to a file; a line is there in full or not at all, also when the disk is full.

    The file is opened for each line: moved away by logrotate or deleted, it is made anew.

    Raises:
        OutputError: it can't be written to.
    """

    def __init__(self, path: Path) -> None:
        self.name = f"file {path}"
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._mend()
        except OSError as error:
            raise self._error(error) from error

    def write(self, item: Event) -> None:
        """Append one line.

        Raises:
            OutputError: no space or no permission; the file is as it was.
        """
        try:
            self._append(f"{item.to_json()}\n".encode())
        except OSError as error:
            raise self._error(error) from error

    def close(self) -> None:
        """Nothing to do."""

    def _append(self, line: bytes) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            size = os.fstat(descriptor).st_size
            try:
                if os.write(descriptor, line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)

    def _mend(self) -> None:
        """End a line of which a power cut left a part, so that the next one starts in its own."""
        with open(self._path, "a+b") as file:
            if file.tell() and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                file.write(b"\n")

    def _error(self, error: OSError) -> errors.OutputError:
        return errors.OutputError(
            str(self._path),
            expected="a file to write events to",
            got=error.strerror or str(error),
            hint="Free some space or choose another file.",
        )


class RotatingJsonl(JsonlFile):
    """Appends lines to a file of at most ``max_bytes``; older ones are in ``PATH.1`` (newest) to ``PATH.keep``."""

    def __init__(self, path: Path, max_bytes: int, keep: int) -> None:
        super().__init__(path)
        self._max_bytes = max_bytes
        self._keep = keep

    def _append(self, line: bytes) -> None:
        size = self._path.stat().st_size if self._path.exists() else 0
        if size and size + len(line) > self._max_bytes:
            self._rotate()
        super()._append(line)

    def _rotate(self) -> None:
        files = [self._path, *(Path(f"{self._path}.{number}") for number in range(1, self._keep + 1))]
        for older, newer in zip(files[:0:-1], files[-2::-1], strict=True):
            if newer.exists():
                os.replace(newer, older)
        if not self._keep:
            self._path.unlink()
