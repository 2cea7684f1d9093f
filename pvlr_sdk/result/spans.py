"""The result of tagging a video: from when to when each label is present."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .tags import Tag


class Span(NamedTuple):
    """A label is present from ``start`` to ``end``: seconds on the clock of the video, which begins at about 0.

    ``best`` is the time of the frame with the highest score, ``frame`` its index and ``score`` its score, at or above
    ``threshold``. ``share`` is the share of the video's time, from 0 to 1.
    """

    label: str
    start: float
    end: float
    best: float
    frame: int
    score: float
    threshold: float
    share: float


class VideoTags:
    """The spans of a video in the order of their start, and its tags.

    A label is a tag if it has a span. Its score is that of its best frame.

    Attributes:
        spans: a label may have several.
        tags: the best first.
        seconds: from the first frame to the last.
        frames: number of frames that were compared, and ``computed`` of those that were tagged.
        plan: SHA-256 of the plan.
        scores: None, since a video has no scores of its own, unlike a ``TagResult``.
    """

    scores = None

    def __init__(
        self, spans: Sequence[Span], *, seconds: float, frames: int, computed: int, plan: str = ""
    ) -> None:
        self.spans = sorted(spans, key=lambda span: (span.start, -span.score))
        self.seconds = seconds
        self.frames = frames
        self.computed = computed
        self.plan = plan
        best: dict[str, Tag] = {}
        for span in sorted(spans, key=lambda span: -span.score):
            tag = Tag(span.label, span.score, span.threshold, span.score - span.threshold)
            best.setdefault(span.label, tag)
        self.tags: tuple[Tag, ...] = tuple(best.values())

    def roll_up(self, parents: Mapping[str, Sequence[str]]) -> None:
        """Add to ``tags`` what they are kinds of, with the score of the best of these; ``spans`` stay as they are.

        Args:
            parents: by label, all that it is a kind of, as ``LabelTree.ancestors`` has it.
        """
        rolled: dict[str, Tag] = {}
        for tag in self.tags:
            for name in (tag.label, *parents.get(tag.label, ())):
                rolled.setdefault(name, tag._replace(label=name))
        self.tags = tuple(rolled.values())

    def to_dict(self) -> dict[str, Any]:
        """All of this as plain numbers and strings, ready for JSON; times in milliseconds' precision."""
        times = {"start", "end", "best", "share"}
        spans = [
            {
                name: round(value, 3) if name in times else value
                for name, value in span._asdict().items()
            }
            for span in self.spans
        ]
        tags = [
            {"label": tag.label, "score": tag.score, "threshold": tag.threshold}
            for tag in self.tags
        ]
        return {
            "seconds": round(self.seconds, 3),
            "frames": self.frames,
            "computed": self.computed,
            "tags": tags,
            "spans": spans,
            "plan": self.plan,
        }
