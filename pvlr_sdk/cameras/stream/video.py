"""Spans of a video: chooses the frames that are worth computing, and turns their scores into spans of labels."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ... import errors
from ...frames.find import InputFrame, read
from ...result import TagResult
from ...result.spans import Span, VideoTags
from ..events import Event, EventDetector, EventSettings
from .still import MOST_NOISE, changes, thumbnails

if TYPE_CHECKING:
    from ...tagger import Tagger

COST = 5
"""Frames that pass for each one that is computed: at most 20 % are."""
_SAVED = 10
"""Frames that may be computed at once, from those that a still scene has saved."""
_SHORTEST = 0.5
"""Seconds between two computed frames of a scene that changes: the time constant of the event detector's average."""
_LONGEST = 1.0
"""Seconds between two computed frames of a still scene: as long as an event goes on without its label."""
_FRAMES = 2
"""Computed frames of a span in which its label is a tag, at least: a single one is chance."""


class FrameChooser:
    """Chooses the frames of a video that are computed: those that differ from the last one that was.

    Attributes:
        changed_at: time of the frame that differs most from the one before it, of those since the last computed frame:
            what is new in the next computed one most likely came then. In a still scene, time of the computed frame.
    """

    def __init__(self) -> None:
        self.changed_at = 0.0
        self._largest = -1.0
        """The difference of that frame, in gray levels; -1: there is none since the last computed one."""
        self._credit = COST - 1
        self._cells: NDArray[np.float32] | None = None
        """(1, ...): the thumbnail of the last computed frame, and of the last frame."""
        self._last_cells: NDArray[np.float32] | None = None
        self._computed_at = 0.0

    def takes(self, pixels: NDArray[np.uint8], seconds: float) -> bool:
        """Whether to compute the next frame, uint8 (H, W, 3) BGR, at this time of the video in seconds.

        Times never decrease.
        """
        age = seconds - self._computed_at
        self._credit = min(self._credit + 1, _SAVED * COST)
        height, width = pixels.shape[:2]
        cells = thumbnails(pixels, "bgr", [(0, 0, width, height)])
        self._compare(cells, seconds)
        if self._credit < COST or (self._cells is not None and age < _SHORTEST):
            return False
        still = self._cells is not None and not changes(cells, self._cells, MOST_NOISE).any()
        if still and age < _LONGEST:
            return False
        if still:
            self.changed_at = seconds
        self._credit -= COST
        self._cells = cells
        self._computed_at = seconds
        self._largest = -1.0
        return True

    def _compare(self, cells: NDArray[np.float32], seconds: float) -> None:
        """Note how much a frame differs from the one before it."""
        last = cells if self._last_cells is None else self._last_cells
        difference = float(np.abs(cells - last).mean())
        if difference > self._largest:
            self._largest = difference
            self.changed_at = seconds
        self._last_cells = cells


class _Hit(NamedTuple):
    """A computed frame in which a label is a tag."""

    score: float
    threshold: float
    seconds: float
    frame: int


class SpanFinder:
    """Turns the results of a video's frames into spans: the events of :class:`EventDetector`, without chance.

    Args:
        labels: the C label names, in the order of the scores.
        thresholds: (C,), the score at or above which each label is present.
        settings: how scores become events; None: the defaults.
    """

    def __init__(
        self,
        labels: Sequence[str],
        thresholds: ArrayLike,
        settings: EventSettings | None = None,
    ) -> None:
        self._detector = EventDetector("video", labels, thresholds, settings)
        self._events: list[Event] = []
        self._hits: dict[str, list[_Hit]] = {}
        self._changed_at: dict[float, float] = {}
        """By the time of each computed frame, when the scene changed to it."""
        self._times: tuple[float, float] | None = None
        """Of the first and of the last frame."""
        self._frames = 0
        self._computed = 0
        self._plan = ""

    def look(self, frame: InputFrame) -> float:
        """Note a frame, whether it is computed or not; returns its time in seconds, not before the last one's.

        Raises:
            ImageDecodeError: the video has no times.
        """
        seconds = frame.seconds
        if seconds is None:
            raise errors.ImageDecodeError(
                frame.source,
                "a video whose frames have times",
                "neither times nor a frame rate",
                "Convert it to H.264 in .mp4.",
            )
        first, last = self._times or (seconds, seconds)
        self._times = first, max(last, seconds)
        self._frames += 1
        return self._times[1]

    def add(
        self, frame: int, seconds: float, result: TagResult, changed_at: float | None = None
    ) -> None:
        """Add the result of a frame with this index, at the time that :meth:`look` returned.

        ``changed_at``: when the scene changed to this frame, after the previous computed one; None: with this frame.
        """
        self._changed_at[seconds] = seconds if changed_at is None else changed_at
        self._computed += 1
        self._plan = result.plan
        for tag in result.tags:
            hit = _Hit(tag.score, tag.threshold, seconds, frame)
            self._hits.setdefault(tag.label, []).append(hit)
        events = self._detector.update(
            seconds, seconds, result.scores, thresholds=result.thresholds
        )
        self._events += [self._moved(event) for event in events if event.end is not None]

    def close(self) -> VideoTags:
        """The spans of the video, all of whose results were added."""
        first, last = self._times or (0.0, 0.0)
        tracks = self._detector.tracks
        present = {tracks.names[row] for row in np.flatnonzero(tracks.up).tolist()}
        for event in self._detector.close(last, "ended"):
            moved = self._moved(event)
            self._events.append(replace(moved, end=last) if event.label in present else moved)
        spans = [self._span(event, last - first) for event in self._events]
        return VideoTags(
            [span for span in spans if span],
            seconds=last - first,
            frames=self._frames,
            computed=self._computed,
            plan=self._plan,
        )

    def _moved(self, event: Event) -> Event:
        """An event that has ended, from computed frames to where the scene changed to them."""
        end = event.start if event.end is None else event.end
        start = self._changed_at.get(event.start, event.start)
        return replace(event, start=start, end=self._changed_at.get(end, end))

    def _span(self, event: Event, seconds: float) -> Span | None:
        """The span of an event in a video of this length; None: too few of its frames have its label."""
        end = event.start if event.end is None else event.end
        hits = [hit for hit in self._hits.get(event.label, ()) if event.start <= hit.seconds <= end]
        if len(hits) < _FRAMES:
            return None
        best = max(hits)
        share = (end - event.start) / seconds
        return Span(
            event.label,
            event.start,
            end,
            best.seconds,
            best.frame,
            best.score,
            best.threshold,
            share,
        )


def tag_video(
    tagger: Tagger,
    path: Path,
    *,
    every: int | None = None,
    fps: float | None = None,
    on_frame: Callable[[], object] = lambda: None,
) -> VideoTags:
    """Tag a video by spans; at most a fifth of its frames is computed, where the scene changes.

    Args:
        tagger: tags the frames.
        path: the video.
        every, fps: the frames to choose from, as for :func:`.find.read`; None: all.
        on_frame: is called after each frame that was read.

    Raises:
        FrameError, OptionError: as :func:`.find.read`, or the video has no times.
        NonFiniteError, BackendError: as ``Tagger.predict``.
    """
    finder = SpanFinder(tagger.labels, tagger.thresholds)
    chooser = FrameChooser()
    waiting: deque[tuple[int, float, float]] = deque()

    def chosen() -> Iterator[NDArray[np.uint8]]:
        for frame in read(path, every=every, fps=fps):
            seconds = finder.look(frame)
            on_frame()
            pixels = np.asarray(frame.pixels)
            if chooser.takes(pixels, seconds):
                waiting.append((frame.frame or 0, seconds, chooser.changed_at))
                yield pixels

    for outcome in tagger.predict_stream(chosen()):
        if isinstance(outcome, errors.FrameError):
            raise outcome
        index, seconds, changed_at = waiting.popleft()
        finder.add(index, seconds, outcome, changed_at)
    return finder.close()
