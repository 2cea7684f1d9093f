"""Events as JSON, one object per line: to stdout, to a file, to a file that is rotated."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ..events import Event
from .disk import append, create_file, output_errors
from .queues import MemoryQueue
from .settings import ConfigPath, EventSinkSettings, Positive
from .worker import Sink, SinkWorker, SiteStatus

_EXPECTED = "a file to write events to"


class JsonlSettings(EventSinkSettings):
    """One JSON object per line. ``path`` ``-`` is stdout; a file is rotated at ``max_mb``, ``keep`` old ones stay."""

    kind: Literal["jsonl"] = "jsonl"
    path: Literal["-"] | ConfigPath = Field(union_mode="left_to_right")
    max_mb: Positive | None = None
    keep: Annotated[int, Field(ge=0)] = 5

    def open(self, site: SiteStatus) -> SinkWorker[Event]:
        sink: JsonlStream | JsonlFile
        if isinstance(self.path, str):
            sink = JsonlStream()
        else:
            sink = JsonlFile(
                self.path, None if self.max_mb is None else int(self.max_mb * 1e6), self.keep
            )
        return SinkWorker(sink, MemoryQueue[Event]())


class JsonlStream(Sink[Event]):
    """Writes lines to a file descriptor, by default stdout, until its reader is gone."""

    def __init__(self, descriptor: int | None = None) -> None:
        self.name = "stdout" if descriptor is None else f"descriptor {descriptor}"
        self._descriptor = sys.stdout.fileno() if descriptor is None else descriptor
        self._item: Event | None = None
        self._rest = b""

    def write(self, item: Event) -> None:
        """Write one line; waits while a pipe is full.

        Raises:
            BrokenPipeError: the reader is gone.
            OSError: no space; the next attempt completes a partly written line.
        """
        if item is not self._item:
            self._item = item
            self._rest += f"{item.to_json()}\n".encode()
        # Not through sys.stdout: its buffer would delay a line, and its lock block the exit while a pipe is full.
        while self._rest:
            self._rest = self._rest[os.write(self._descriptor, self._rest) :]


class JsonlFile(Sink[Event]):
    """Appends lines to a file; each line is written completely or not at all, even if the disk is full.

    The file is opened for each line: after logrotate has moved it, it is created again. It is readable by its user and
    group only, unless it exists already.

    Args:
        max_bytes: it is rotated before it gets larger; older files are ``PATH.1`` (newest) to ``PATH.keep``. None: any
            size.

    Raises:
        OutputError: it cannot be written.
    """

    def __init__(self, path: Path, max_bytes: int | None = None, keep: int = 5) -> None:
        self.name = f"file {path}"
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        with output_errors(path, _EXPECTED):
            create_file(path)
            self._mend()

    def write(self, item: Event) -> None:
        """Append one line. After an OutputError the file is unchanged."""
        line = f"{item.to_json()}\n".encode()
        with output_errors(self._path, _EXPECTED):
            if self._max_bytes is not None and self._path.exists():
                size = self._path.stat().st_size
                if size and size + len(line) > self._max_bytes:
                    self._rotate()
            append(self._path, line)

    def _mend(self) -> None:
        """End a line that a power failure left incomplete, so that the next event starts a new line."""
        with open(self._path, "a+b") as file:
            if file.tell() and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                file.write(b"\n")

    def _rotate(self) -> None:
        files = [
            self._path,
            *(Path(f"{self._path}.{number}") for number in range(1, self._keep + 1)),
        ]
        for older, newer in zip(files[:0:-1], files[-2::-1], strict=True):
            if newer.exists():
                os.replace(newer, older)
        if not self._keep:
            self._path.unlink()
