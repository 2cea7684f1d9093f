"""``pvlr tag``: pictures in, tags out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import errors
from .options import DeviceOption, PlanOption, PrecisionOption, ThreadsOption

if TYPE_CHECKING:
    from ..frames import FrameLike
    from ..result import TagResult
    from ..sources.files import Picture
    from ..tagger import Tagger
    from .writers import Writer

_MANY = 32
"""Pictures from which on an engine tuned for throughput pays for itself."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="tag", no_args_is_help=True)(tag)


def tag(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT", help="Images, videos, folders or patterns.")],
    plan: PlanOption = None,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", "-t", help="One threshold for all labels (0 to 1), not the plan's own."),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option("--top-k", "-k", help="At most this many tags for each picture, the best ones."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line for each picture.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one row for each tag.")] = False,
    draw: Annotated[
        Path | None,
        typer.Option("--draw", metavar="DIR", help="Write annotated copies of the pictures into this folder."),
    ] = None,
    every: Annotated[
        int | None,
        typer.Option("--every", metavar="N", help="Each n-th frame of a video.", rich_help_panel="Videos"),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option("--fps", metavar="F", help="F frames of each second of a video.", rich_help_panel="Videos"),
    ] = None,
    fast_jpeg: Annotated[
        bool,
        typer.Option(
            "--fast-jpeg", help="Decode large JPEGs at a fraction of their size: faster, and scores change a little."
        ),
    ] = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    precision: PrecisionOption = None,
) -> None:
    """Tag photos, folders of photos and videos.

    A picture that can't be read is reported on stderr, all the others are tagged, and the exit status is 2.

    \b
    [bold]Examples[/bold]
    pvlr tag photo.jpg
    pvlr tag holiday/ --json > tags.jsonl
    pvlr tag 'shots/**/*.png' --csv --threshold 0.7
    pvlr tag clip.mp4 --fps 2 --draw annotated/
    """
    from ..sources import files as sources
    from ..tagger import Tagger
    from .screen import Screen
    from .writers import CsvWriter, JsonWriter, PeopleWriter

    if as_json and as_csv:
        raise errors.OptionError("--csv", expected="--json or --csv", got="both", hint="Leave one of them out.")
    sources.check_pace(every, fps)
    failures = _Failures()
    files = sources.find(inputs, failures.add)
    if not files:
        raise typer.Exit(2)
    total = sum(sources.count(file, every=every, fps=fps) for file in files)

    with (
        Tagger(
            plan,
            threshold=threshold,
            top_k=top_k,
            device=device,
            optimize="latency" if total < _MANY else "throughput",
            num_threads=threads,
            precision=precision,
            reduced_jpeg=fast_jpeg,
        ) as tagger,
        Screen(total, "Tagging") as screen,
    ):
        writer: Writer = JsonWriter(screen) if as_json else CsvWriter(screen) if as_csv else PeopleWriter(screen, total)
        album = Album(draw) if draw else None

        def pictures() -> Iterator[Picture]:
            for file in files:
                try:
                    yield from sources.read(file, every=every, fps=fps)
                except errors.FrameError as error:  # the others are tagged all the same
                    failures.add(str(file), error)
                    screen.step()

        for picture, outcome in _tagged(tagger, pictures()):
            screen.step()
            if isinstance(outcome, errors.FrameError):
                failures.add(picture.source, outcome)
                continue
            writer.write(picture, outcome)
            if album:
                album.add(picture, outcome)
    failures.exit(len(files))


def _tagged(tagger: Tagger, pictures: Iterator[Picture]) -> Iterator[tuple[Picture, TagResult | errors.FrameError]]:
    """Each picture with its outcome, several under way at once."""
    under_way: deque[Picture] = deque()

    def frames() -> Iterator[FrameLike]:
        for picture in pictures:
            under_way.append(picture)
            yield picture.pixels

    for outcome in tagger.predict_stream(frames()):
        yield under_way.popleft(), outcome


class Album:
    """A folder of annotated pictures: ``photo-tags.jpg``, ``clip-000012-tags.jpg``; no two get the same name.

    Raises OutputError where the folder or a picture can't be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: set[str] = set()

    def add(self, picture: Picture, result: TagResult) -> None:
        """Draw the tags on a copy of the picture and write it."""
        import cv2

        from ..files import write_files

        encoded = cv2.imencode(".jpg", result.draw(picture.pixels), [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
        write_files({self._folder / self._free_name(picture): encoded.tobytes()})

    def _free_name(self, picture: Picture) -> str:
        stem = Path(picture.source).stem + ("" if picture.frame is None else f"-{picture.frame:06}")
        name, number = f"{stem}-tags.jpg", 2
        while name in self._names:
            name, number = f"{stem}-{number}-tags.jpg", number + 1
        self._names.add(name)
        return name


class _Failures:
    """What could not be tagged: reported at once, counted for the exit status."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, source: str, error: errors.FrameError) -> None:
        from .screen import complain

        self._count += 1
        complain(error)

    def exit(self, files: int) -> None:
        from .screen import note

        if self._count:
            if files > 1:
                note(f"{self._count} of the inputs could not be tagged (see above).")
            raise typer.Exit(2)
