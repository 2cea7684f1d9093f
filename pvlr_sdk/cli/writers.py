"""Output formats of tags: JSON lines, CSV and text."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from ..escape import csv_row, terminal
from .output_file import HEADER

if TYPE_CHECKING:
    from ..frames.find import InputFrame
    from ..result import TagResult
    from .screen import Screen

_BAR = 24


class Output(Protocol):
    """Where lines go: the terminal or a pipe, or a file."""

    def write(self, *lines: str) -> None:
        """Write the lines of one image."""


class Writer(Protocol):
    """Writes results, one image or video frame at a time."""

    def write(self, item: InputFrame, result: TagResult) -> None:
        """Write the result of one image."""


class JsonWriter:
    """One line per image: ``{"source", "frame", "tags": [{"label", "score", "threshold"}], "timing_ms", "plan"}``.

    ``frame`` is the index in a video, and null for a still image.
    """

    def __init__(self, out: Output) -> None:
        self._out = out

    def write(self, item: InputFrame, result: TagResult) -> None:
        self._out.write(json.dumps({"source": item.source, "frame": item.frame, **result.to_dict()}))


class CsvWriter:
    """One row per tag: ``source,frame,label,score,threshold``; an image without tags has a row with empty cells.

    ``frame`` is empty for a still image. A text that a spreadsheet would take for a formula follows an apostrophe.
    """

    def __init__(self, out: Output, header: bool = True) -> None:
        self._out = out
        if header:
            self._out.write(HEADER)

    def write(self, item: InputFrame, result: TagResult) -> None:
        frame = "" if item.frame is None else item.frame
        cells = [(tag.label, f"{tag.score:.6f}", f"{tag.threshold:.6f}") for tag in result] or [("", "", "")]
        self._out.write(*(csv_row(item.source, frame, *row) for row in cells))


class TextWriter:
    """A table with bars for a single image on a terminal; otherwise one line per image."""

    def __init__(self, screen: Screen, total: int) -> None:
        self._screen = screen
        self._single = total == 1 and sys.stdout.isatty()

    def write(self, item: InputFrame, result: TagResult) -> None:
        if self._single:
            self._table(item, result)
        else:
            self._line(item, result)

    def _table(self, item: InputFrame, result: TagResult) -> None:
        from rich.table import Table
        from rich.text import Text

        height, width = result.frame_size
        size = f"{width} x {height}, {result.timing['total']:.1f} ms"
        self._screen.show(Text(f"{terminal(item.source)}  {size}", "bold"))
        table = Table(box=None, header_style="dim")
        table.add_column("label", style="cyan", no_wrap=True)
        table.add_column("")
        for name in ("score", "threshold", "margin"):
            table.add_column(name, justify="right")
        for tag in result:
            # The bar is the score; its bright end is the margin over the threshold.
            full, least = round(tag.score * _BAR), min(round(tag.threshold * _BAR), round(tag.score * _BAR))
            bar = Text.assemble(
                ("━" * least, "green"), ("━" * (full - least), "bold bright_green"), ("─" * (_BAR - full), "dim")
            )
            table.add_row(
                Text(terminal(tag.label)), bar, f"{tag.score:.2f}", f"{tag.threshold:.2f}", f"+{tag.margin:.2f}"
            )
        self._screen.show(table)
        if not len(result):
            self._screen.show(Text("  no label is at or above its threshold; --threshold 0 shows all scores", "dim"))

    def _line(self, item: InputFrame, result: TagResult) -> None:
        from rich.text import Text

        frame = "" if item.frame is None else f" [{item.frame}]"
        tags: Iterable[str] = (f"{terminal(tag.label)} {tag.score:.2f}" for tag in result)
        self._screen.show(Text.assemble((f"{terminal(item.source)}{frame}: ", "cyan"), ", ".join(tags) or "-"))
