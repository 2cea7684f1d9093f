"""How tags are printed: JSON lines, CSV, or for people."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from .screen import printable

if TYPE_CHECKING:
    from ..result import TagResult
    from ..sources.files import Picture
    from .screen import Screen

_BAR = 24


class Writer(Protocol):
    """Prints the result of one picture after the other."""

    def write(self, picture: Picture, result: TagResult) -> None:
        """Print one result."""


class JsonWriter:
    """One line for each picture: ``{"source", "frame", "tags": [{"label", "score", "threshold"}], "timing_ms"}``.

    ``frame`` is the frame's index in a video and null for a still image.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def write(self, picture: Picture, result: TagResult) -> None:
        self._screen.write(json.dumps({"source": picture.source, "frame": picture.frame, **result.to_dict()}))


class CsvWriter:
    """One row for each tag: ``source,frame,label,score,threshold``; a picture without tags has a row with empty cells.

    ``frame`` is empty for a still image.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._row("source", "frame", "label", "score", "threshold")

    def write(self, picture: Picture, result: TagResult) -> None:
        frame = "" if picture.frame is None else picture.frame
        for tag in result:
            self._row(picture.source, frame, tag.label, f"{tag.score:.6f}", f"{tag.threshold:.6f}")
        if not len(result):
            self._row(picture.source, frame, "", "", "")

    def _row(self, *cells: object) -> None:
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="").writerow(cells)
        self._screen.write(buffer.getvalue())


class PeopleWriter:
    """A block with bars for a single picture on a terminal; else one line for each picture."""

    def __init__(self, screen: Screen, total: int) -> None:
        self._screen = screen
        self._single = total == 1 and sys.stdout.isatty()

    def write(self, picture: Picture, result: TagResult) -> None:
        if self._single:
            self._block(picture, result)
        else:
            self._line(picture, result)

    def _block(self, picture: Picture, result: TagResult) -> None:
        from rich.table import Table
        from rich.text import Text

        height, width = result.frame_size
        title = Text(f"{printable(picture.source)}  {width} x {height}, {result.timing['total']:.1f} ms", "bold")
        table = Table(title=title, title_justify="left", box=None, header_style="dim")
        table.add_column("label", style="cyan", no_wrap=True)
        table.add_column("")
        for name in ("score", "threshold", "margin"):
            table.add_column(name, justify="right")
        for tag in result:
            # The bar is the score; its bright end is what it has over the threshold.
            full, least = round(tag.score * _BAR), min(round(tag.threshold * _BAR), round(tag.score * _BAR))
            bar = Text.assemble(
                ("━" * least, "green"), ("━" * (full - least), "bold bright_green"), ("─" * (_BAR - full), "dim")
            )
            table.add_row(
                Text(printable(tag.label)), bar, f"{tag.score:.2f}", f"{tag.threshold:.2f}", f"+{tag.margin:.2f}"
            )
        self._screen.show(table)
        if not len(result):
            self._screen.show(Text("  no label reaches its threshold; --threshold 0 shows all scores", "dim"))

    def _line(self, picture: Picture, result: TagResult) -> None:
        from rich.text import Text

        frame = "" if picture.frame is None else f" [{picture.frame}]"
        tags: Iterable[str] = (f"{printable(tag.label)} {tag.score:.2f}" for tag in result)
        self._screen.show(Text.assemble((f"{printable(picture.source)}{frame}: ", "cyan"), ", ".join(tags) or "-"))
