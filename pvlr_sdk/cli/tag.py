"""``pvlr tag``: tags of images and videos."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import errors
from . import options

if TYPE_CHECKING:
    from ..frames.find import InputFrame
    from ..frames.frames import FrameLike
    from ..result import TagResult
    from ..tagger import Tagger
    from .output_file import OutputFile
    from .screen import Screen
    from .writers import Writer

_MANY = 32
"""Number of images at or above which an engine tuned for throughput pays off."""


def tag(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT", help="Images, videos, folders or patterns.")],
    plan: options.PlanOption = None,
    bank: options.Bank = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold", "-t", help="One threshold for all labels (0 to 1).", show_default="set by the plan"
        ),
    ] = None,
    operating_point: options.OperatingPoint = "f1",
    top_k: Annotated[
        int | None,
        typer.Option("--top-k", "-k", help="Print at most this many tags per image, the highest scores first."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON per image.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one row per tag.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Write to this file: JSON lines, or CSV with --csv."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="With --out: continue the file of a run that was stopped.")
    ] = False,
    draw: Annotated[
        Path | None,
        typer.Option("--draw", metavar="DIR", help="Write annotated copies of the images to this folder."),
    ] = None,
    heatmap: Annotated[
        str | None,
        typer.Option(
            "--heatmap",
            metavar="[LABEL]",
            help="With --draw: show where the model looked for LABEL, or for the best tag. Put it after INPUT.",
        ),
    ] = None,
    every: Annotated[
        int | None,
        typer.Option("--every", metavar="N", help="Tag every N-th frame.", rich_help_panel="Videos"),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option("--fps", metavar="F", help="Tag F frames per second of video.", rich_help_panel="Videos"),
    ] = None,
    fast_jpeg: Annotated[
        bool,
        typer.Option("--fast-jpeg", help="Decode large JPEGs at reduced size: faster, with slightly different scores."),
    ] = False,
    isolate: Annotated[
        bool,
        typer.Option("--isolate", help="Decode images in restricted processes: for untrusted images."),
    ] = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    precision: options.Precision = None,
    allow_unsigned: options.AllowUnsigned = False,  # sets the environment variable
) -> None:
    """Tag images, folders of images and videos.

    An image that cannot be read is reported on stderr; all others are tagged,
    and the exit status is 2.

    \b
    [bold]Examples[/bold]
    pvlr tag photo.jpg
    pvlr tag holiday/ --json > tags.jsonl
    pvlr tag holiday/ --out tags.jsonl --resume
    pvlr tag 'shots/**/*.png' --csv --threshold 0.7
    pvlr tag clip.mp4 --fps 2 --draw annotated/
    pvlr tag holiday/ --draw annotated/ --heatmap cat
    """
    from ..bundle.label_bank import LabelBank, find_label
    from ..frames import find as sources
    from ..tagger import Tagger
    from .album import Album
    from .output_file import OutputFile
    from .screen import Screen, complain, note, uninterrupted

    if as_json and as_csv:
        raise errors.OptionError("--csv", expected="--json or --csv", got="both", hint="Remove one of them.")
    if heatmap is not None and draw is None:
        raise errors.OptionError("--heatmap", expected="--draw DIR with it", got="no --draw", hint="Add --draw DIR.")
    if resume and out is None:
        raise errors.OptionError("--resume", expected="--out FILE with it", got="no --out", hint="Add --out FILE.")
    sources.check_pace(every, fps)
    done = failed = 0

    def fail(_: str, error: errors.FrameError) -> None:
        nonlocal failed
        failed += 1
        complain(error)

    files = sources.find(inputs, fail)
    if not files:
        raise typer.Exit(2)
    file = OutputFile(out, as_csv, resume) if out else None
    total = sum(sources.count(path, every=every, fps=fps) for path in files)
    if file:
        total = max(0, total - file.images)

    def items(screen: Screen) -> Iterator[InputFrame]:
        for path in files:
            try:
                for item in sources.read(path, every=every, fps=fps):
                    if not (file and file.has(item)):
                        yield item
                    elif album:
                        album.skip(item)
            except errors.FrameError as error:  # the others are tagged nevertheless
                fail(str(path), error)
                screen.step()

    try:
        with (
            Tagger(
                plan,
                threshold=threshold,
                operating_point=operating_point,
                top_k=top_k,
                device=device,
                optimize="latency" if total < _MANY else "throughput",
                num_threads=threads,
                precision=precision,
                reduced_jpeg=fast_jpeg,
                isolate=isolate,
            ) as tagger,
            Screen(total, "Tagging") as screen,
        ):
            if bank:
                tagger.set_labels(LabelBank.load(bank))
            if heatmap:
                find_label(heatmap, dict.fromkeys(tagger.labels, 0))
            writer = _writer(screen, file, total, as_json, as_csv)
            album = Album(draw, files, heatmap or heatmap is not None, isolate) if draw else None
            for item, outcome in _tagged(tagger, items(screen)):
                with uninterrupted():
                    screen.step()
                    done += 1
                    if isinstance(outcome, errors.FrameError):
                        fail(item.source, outcome)
                        continue
                    writer.write(item, outcome)
                    if album:
                        album.add(item, outcome)
    except KeyboardInterrupt:
        kept = f", and their annotated copies are in {draw}" if draw else ""
        note(f"interrupted: {done} of {total} images are done; their lines are complete{kept}.")
        again = "run the command again with --resume" if file else "give the next run --out FILE"
        note(f"To continue, {again}.")
        raise typer.Exit(130) from None
    if failed and len(files) > 1:
        note(f"{failed} of the inputs could not be tagged (see above).")
    if failed:
        raise typer.Exit(2)


def _writer(screen: Screen, file: OutputFile | None, total: int, as_json: bool, as_csv: bool) -> Writer:
    from .writers import CsvWriter, JsonWriter, TextWriter

    if as_csv:
        return CsvWriter(file or screen, header=file is None or file.empty)
    return JsonWriter(file or screen) if as_json or file else TextWriter(screen, total)


def _tagged(tagger: Tagger, items: Iterator[InputFrame]) -> Iterator[tuple[InputFrame, TagResult | errors.FrameError]]:
    """Each image with its result or error; several are in flight at once."""
    in_flight: deque[InputFrame] = deque()

    def frames() -> Iterator[FrameLike]:
        for item in items:
            in_flight.append(item)
            yield item.pixels

    for outcome in tagger.predict_stream(frames()):
        yield in_flight.popleft(), outcome
