"""``--spans`` of ``pvlr tag``: from when to when each label is present in a video, as text, JSON and CSV."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from .. import errors
from .._util.escape import csv_row, terminal

if TYPE_CHECKING:
    from ..frames.find import InputFrame
    from ..result.spans import VideoTags
    from ..tagger import Tagger
    from .screen import Screen

    Outcome: TypeAlias = VideoTags | errors.FrameError


def check_videos(files: Sequence[Path]) -> None:
    """Raises OptionError for a file that is no video."""
    from ..frames.find import is_video

    for path in files:
        if not is_video(path):
            raise errors.OptionError(
                "--spans",
                "videos only",
                str(path),
                "Leave out --spans for photos, or name the videos: 'holiday/**/*.mp4'.",
            )


def tagged_videos(
    tagger: Tagger, files: Sequence[Path], screen: Screen, *, every: int | None, fps: float | None
) -> Iterator[tuple[InputFrame, Outcome]]:
    """Each video with its spans or its error; the progress bar counts the frames that were read."""
    from ..cameras.stream.video import tag_video
    from ..frames.find import InputFrame

    for path in files:
        item = InputFrame(str(path), path)
        try:
            yield (
                item,
                tag_video(tagger, path, every=every, fps=fps, on_frame=screen.step),
            )
        except errors.FrameError as error:
            yield item, error


class SpanWriter:
    """Writes the spans of each video, in the form that is asked for.

    JSON is one line per video: its ``source``, and what :meth:`.VideoTags.to_dict` has. CSV is one row per span, or
    one with empty cells for a video without any; text is one line per span.
    """

    _COLUMNS = ("source", "label", "start", "end", "best", "frame", "score", "threshold", "share")

    def __init__(self, screen: Screen, *, as_json: bool, as_csv: bool) -> None:
        self._screen = screen
        self._write = self._json if as_json else self._csv if as_csv else self._text
        if as_csv:
            screen.write(csv_row(*self._COLUMNS))

    def __call__(self, item: InputFrame, video: VideoTags) -> None:
        """Write a video."""
        self._write(item.source, video)

    def _json(self, source: str, video: VideoTags) -> None:
        self._screen.write(json.dumps({"source": source, **video.to_dict()}))

    def _csv(self, source: str, video: VideoTags) -> None:
        for span in video.spans:
            times = (f"{value:.3f}" for value in (span.start, span.end, span.best))
            scores = (f"{value:.6f}" for value in (span.score, span.threshold, span.share))
            self._screen.write(csv_row(source, span.label, *times, span.frame, *scores))
        if not video.spans:
            self._screen.write(csv_row(source, *[""] * (len(self._COLUMNS) - 1)))

    def _text(self, source: str, video: VideoTags) -> None:
        from rich.text import Text

        name = terminal(source)
        for span in video.spans:
            label = f"{terminal(span.label)} {span.score:.2f} at {span.best:.1f} s"
            times = f"{span.start:.1f} to {span.end:.1f} s"
            line = f"{times}, {100 * span.share:.0f} %: {label}"
            self._screen.show(Text.assemble((f"{name}: ", "cyan"), line))
        if not video.spans:
            self._screen.show(Text.assemble((f"{name}: ", "cyan"), "-"))
