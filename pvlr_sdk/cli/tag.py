"""``pvlr tag``: tags of images and videos."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer
from typer import Argument, Option

from .. import errors
from .._util.escape import csv_row, terminal
from . import option_groups, options
from .spans import SpanWriter, check_videos, tagged_videos
from .xmp import Sidecars

if TYPE_CHECKING:
    from ..bundle.schema import Optimize
    from ..frames.find import InputFrame
    from ..frames.frames import FrameLike
    from ..result import TagResult
    from ..result.spans import VideoTags
    from ..tagger import Tagger
    from .screen import Screen

    Outcome: TypeAlias = TagResult | VideoTags | errors.FrameError
    Write: TypeAlias = Callable[[InputFrame, Any], None]
    """Writes the result of one image or video frame, or of a video."""

_MANY = 32
"""Number of images at or above which an engine tuned for throughput pays off."""
_BAR = 24
"""Characters of the bar of a score."""


@dataclass(frozen=True)
class Output:
    """What is written about each image."""

    as_json: Annotated[bool, Option("--json", help="Print one line of JSON per image.")] = False
    as_csv: Annotated[bool, Option("--csv", help="Print CSV, one row per tag.")] = False
    draw: Annotated[
        Path | None,
        Option(metavar="DIR", help="Write annotated copies of the images to this folder."),
    ] = None
    heatmap: Annotated[
        str | None,
        Option(
            metavar="[LABEL]",
            help="With --draw: show where the model looked for LABEL, or for the best tag. Put it after INPUT.",
        ),
    ] = None
    xmp: Annotated[
        bool,
        Option("--xmp", help="Write the tags next to each photo, as photo.jpg.xmp (see pvlr xmp)."),
    ] = False
    parents: options.Parents = False
    spans: Annotated[
        bool,
        Option(
            "--spans",
            help="Of each video, print from when to when each label is present, from a part of its frames.",
            rich_help_panel="Videos",
        ),
    ] = False

    def check(self) -> None:
        """Raises OptionError for options that do not go together."""
        if self.as_json and self.as_csv:
            raise errors.OptionError("--csv", "--json or --csv", "both", "Remove one of them.")
        if self.heatmap is not None and self.draw is None:
            raise errors.OptionError(
                "--heatmap", "--draw DIR with it", "no --draw", "Add --draw DIR."
            )
        if self.spans and self.draw is not None:
            raise errors.OptionError(
                "--spans", "no --draw with it", "both", "Remove one: copies are of single frames."
            )


@dataclass(frozen=True)
class Pace:
    """Which frames of videos are tagged."""

    every: Annotated[
        int | None, Option(metavar="N", help="Tag every N-th frame.", rich_help_panel="Videos")
    ] = None
    fps: Annotated[
        float | None,
        Option(metavar="F", help="Tag F frames per second of video.", rich_help_panel="Videos"),
    ] = None


def tag(
    inputs: list[str] = Argument(..., metavar="INPUT", help="Images, videos, folders or patterns."),
    *,
    model: option_groups.Model,
    tagging: option_groups.Tagging,
    output: Output,
    naming: option_groups.Naming,
    pace: Pace,
    machine: option_groups.Machine,
) -> None:
    """Tag images, folders of images and videos.

    An unreadable image is reported on stderr; all other images are tagged, and
    the exit status is 2. For a large archive use [bold]pvlr batch[/bold], which
    continues an interrupted run.

    The thresholds have the best F1; events of [bold]watch[/bold] and [bold]serve[/bold] use
    those for 90 % precision, as --operating-point precise does here.

    \b
    [bold]Examples[/bold]
    pvlr tag photo.jpg
    pvlr tag holiday/ --json > tags.jsonl
    pvlr tag 'shots/**/*.png' --csv --threshold 0.7
    pvlr tag clip.mp4 --fps 2 --draw annotated/
    pvlr tag clip.mp4 --spans --csv
    pvlr tag photo.jpg --words "espresso, castle"
    pvlr tag street.jpg --tiles 3x2
    pvlr tag holiday/ --xmp --names names.json --language de
    pvlr tag holiday/ --draw annotated/ --heatmap cat
    """
    from ..bundle.label_bank import find_label
    from ..frames import find as sources
    from ..tagger import Tagger
    from .screen import Screen, note, uninterrupted

    output.check()
    sources.check_pace(pace.every, pace.fps)
    failures = _Failures()
    files = sources.find(inputs, failures.add)
    if not files:
        raise typer.Exit(2)
    if output.spans:
        check_videos(files)
    total = sum(sources.count(path, every=pace.every, fps=pace.fps) for path in files)
    optimize: Optimize = "latency" if total < _MANY else "throughput"
    done = 0
    try:
        with (
            Tagger(
                **model.arguments, **tagging.arguments, **machine.arguments, optimize=optimize
            ) as tagger,
            Screen(total, "Tagging") as screen,
        ):
            if output.heatmap:
                find_label(output.heatmap, dict.fromkeys(tagger.labels, 0))
            tree = naming.tree(tagger.labels)
            parents = {label: tree.ancestors(label) for label in tagger.labels if output.parents}
            sidecars = Sidecars(tagger, tree, naming.language or "") if output.xmp else None
            writers = _Writers(output, screen, files, total, tagging.isolate, sidecars)
            outcomes: Iterable[tuple[InputFrame, Outcome]] = (
                tagged_videos(tagger, files, screen, every=pace.every, fps=pace.fps)
                if output.spans
                else _tagged(tagger, _frames(files, pace, failures, screen))
            )
            for item, outcome in outcomes:
                with uninterrupted():
                    if not output.spans:
                        screen.step()
                    done += 1
                    if isinstance(outcome, errors.FrameError):
                        failures.add(item.source, outcome)
                    else:
                        outcome.roll_up(parents)
                        writers.write(item, outcome)
            failures.count += writers.close()
    except KeyboardInterrupt:
        kept = f", and their annotated copies are in {output.draw}" if output.draw else ""
        progress = f"{done} of {len(files)} videos" if output.spans else f"{done} of {total} images"
        note(f"interrupted: {progress} are done; their lines are complete{kept}.")
        raise typer.Exit(130) from None
    if output.draw and sys.stderr.isatty():
        note(f"annotated copies: {output.draw}")
    if failures.count and len(files) > 1:
        note(f"{failures.count} of the inputs could not be tagged (see above).")
    if failures.count:
        raise typer.Exit(2)


class _Failures:
    """Reports and counts the inputs that cannot be tagged."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, _: str, error: errors.PvlrError) -> None:
        from .screen import complain

        self.count += 1
        complain(error)


class _Writers:
    """Writes the result of each image in all forms that are asked for."""

    def __init__(
        self,
        output: Output,
        screen: Screen,
        files: list[Path],
        total: int,
        isolate: bool,
        sidecars: Sidecars | None,
    ) -> None:
        from .album import Album

        self._writers: list[Write] = []
        if output.spans:
            self._writers.append(SpanWriter(screen, as_json=output.as_json, as_csv=output.as_csv))
        elif output.as_json:
            self._writers.append(_json(screen))
        elif output.as_csv:
            self._writers.append(_csv(screen))
        else:
            self._writers.append(_text(screen, total))
        if output.draw:
            heatmap = output.heatmap or output.heatmap is not None
            self._writers.append(Album(output.draw, files, heatmap, isolate).add)
        self._sidecars = sidecars
        if sidecars:
            self._writers.append(sidecars.add)

    def write(self, item: InputFrame, result: TagResult | VideoTags) -> None:
        for write in self._writers:
            write(item, result)

    def close(self) -> int:
        """Finish the sidecars, and the number that could not be written."""
        if self._sidecars is None:
            return 0
        self._sidecars.close()
        return self._sidecars.failed


def _frames(
    files: list[Path], pace: Pace, failures: _Failures, screen: Screen
) -> Iterator[InputFrame]:
    """The images and the frames of videos. A file that cannot be read is reported, and all others follow."""
    from ..frames import find as sources

    for path in files:
        try:
            yield from sources.read(path, every=pace.every, fps=pace.fps)
        except errors.FrameError as error:
            failures.add(str(path), error)
            screen.step()


def _tagged(
    tagger: Tagger, items: Iterator[InputFrame]
) -> Iterator[tuple[InputFrame, TagResult | errors.FrameError]]:
    """Each image with its result or error; several are in flight at once."""
    in_flight: deque[InputFrame] = deque()

    def frames() -> Iterator[FrameLike]:
        for item in items:
            in_flight.append(item)
            yield item.pixels

    for outcome in tagger.predict_stream(frames()):
        yield in_flight.popleft(), outcome


def _json(screen: Screen) -> Write:
    """One line per image: ``{"source", "frame", "seconds", "tags": [{"label", ...}], "timing_ms", "plan"}``.

    ``frame`` is the index in a video and ``seconds`` the time; both are null for a still image.
    """

    def write(item: InputFrame, result: TagResult) -> None:
        seconds = None if item.seconds is None else round(item.seconds, 3)
        screen.write(
            json.dumps(
                {"source": item.source, "frame": item.frame, "seconds": seconds, **result.to_dict()}
            )
        )

    return write


def _csv(screen: Screen) -> Write:
    """One row per tag: ``source,frame,label,score,threshold,seconds``; without tags, one row with empty cells.

    ``frame`` and ``seconds`` are empty for a still image. A text that a spreadsheet would take for a formula follows an
    apostrophe.
    """
    screen.write(csv_row("source", "frame", "label", "score", "threshold", "seconds"))

    def write(item: InputFrame, result: TagResult) -> None:
        frame = "" if item.frame is None else item.frame
        seconds = "" if item.seconds is None else f"{item.seconds:.3f}"
        cells = [(tag.label, f"{tag.score:.6f}", f"{tag.threshold:.6f}") for tag in result] or [
            ("", "", "")
        ]
        screen.write(*(csv_row(item.source, frame, *row, seconds) for row in cells))

    return write


def _text(screen: Screen, total: int) -> Write:
    """A table with bars for a single image on a terminal; otherwise one line per image."""
    from rich.text import Text

    def line(item: InputFrame, result: TagResult) -> None:
        frame = "" if item.frame is None else f" [{item.frame}]"
        frame += "" if item.seconds is None else f" {item.seconds:.2f} s"
        tags = ", ".join(f"{terminal(tag.label)} {tag.score:.2f}" for tag in result)
        screen.show(Text.assemble((f"{terminal(item.source)}{frame}: ", "cyan"), tags or "-"))

    return partial(_table, screen) if total == 1 and sys.stdout.isatty() else line


def _table(screen: Screen, item: InputFrame, result: TagResult) -> None:
    from rich.table import Table
    from rich.text import Text

    height, width = result.frame_size
    size = f"{width} x {height}, {result.timing['total']:.1f} ms"
    screen.show(Text(f"{terminal(item.source)}  {size}", "bold"))
    table = Table(box=None, header_style="dim")
    table.add_column("label", style="cyan", no_wrap=True)
    table.add_column("")
    for name in ("score", "threshold", "margin"):
        table.add_column(name, justify="right")
    for tag in result:
        # The bar is the score; its bright end is the margin over the threshold.
        full = round(tag.score * _BAR)
        mark = min(round(tag.threshold * _BAR), round(tag.score * _BAR))
        bar = Text.assemble(
            ("━" * mark, "green"),
            ("━" * (full - mark), "bold bright_green"),
            ("─" * (_BAR - full), "dim"),
        )
        table.add_row(
            Text(terminal(tag.label)),
            bar,
            f"{tag.score:.2f}",
            f"{tag.threshold:.2f}",
            f"+{tag.margin:.2f}",
        )
    screen.show(table)
    if not len(result):
        screen.show(
            Text("  no label is at or above its threshold; --threshold 0 shows all scores", "dim")
        )
