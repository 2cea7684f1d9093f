"""The result of tagging one frame."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..bundle.label_bank import find_label
from .tags import Tag, sigmoid

if TYPE_CHECKING:
    from ..bundle.manifest import AttentionSpec
    from ..frames.frames import Color, FrameLike, Region


@dataclass(frozen=True)
class LabelSpace:
    """What all results of one model share: its labels, the geometry of its attention maps, SHA-256 of plan and bank."""

    names: tuple[str, ...]
    attention: AttentionSpec
    input_size: tuple[int, int]
    plan: str = ""
    bank: str = ""

    @cached_property
    def index(self) -> dict[str, int]:
        return {name: position for position, name in enumerate(self.names)}


class FrameReference(NamedTuple):
    """Where a result finds its frame again when a notebook shows it. Keeps no pixels alive."""

    place: Any = None
    """A path, a weak reference, or None."""
    color: Color = "bgr"

    @classmethod
    def of(cls, frame: object, color: Color) -> FrameReference:
        if isinstance(frame, (str, os.PathLike)):
            return cls(frame, color)
        try:
            return cls(weakref.ref(frame), color)
        except TypeError:  # encoded bytes
            return cls(color=color)

    @property
    def frame(self) -> Any:
        """The frame as it is now; None if it no longer exists."""
        return self.place() if isinstance(self.place, weakref.ref) else self.place


class TagResult:
    """The tags of one frame, best first: a sequence of :class:`Tag`.

    A label is a tag if its score is at or above its threshold; ``top_k`` then keeps the k highest scores. ``scores``
    and ``logits`` cover all C labels, in the order of ``Tagger.labels``, regardless of the thresholds.

    Attributes:
        logits: float32 (C,), before the sigmoid.
        thresholds: float32 (C,), the thresholds applied.
        timing: milliseconds per stage: ``decode``, ``preprocess``, ``inference``, ``head`` and ``total``.
        frame_size: height and width of the frame in pixels.
        features: float32 (D,), a unit vector that describes the image, from an open plan; None from a closed one.
        tiles: with tiles, the result of the whole frame and then of each tile; a label's logit is the mean
            of the whole frame's and its best tile's, and ``features`` are of the whole frame. Otherwise empty.
        labels, plan, bank: its C labels, and SHA-256 of the plan and of the label bank, as in ``Tagger.info``.
    """

    __slots__ = ("_reference", "_region", "_scores", "_similarity", "_space", "_tags", "bank", "features",
                 "frame_size", "labels", "logits", "plan", "thresholds", "tiles", "timing", "top_k")  # fmt: skip

    def __init__(
        self,
        space: LabelSpace,
        logits: NDArray[np.float32],
        similarity: NDArray[np.float32],
        thresholds: NDArray[np.float32],
        top_k: int | None,
        frame_size: tuple[int, int],
        region: tuple[int, int, int, int],
        reference: FrameReference | None = None,
    ) -> None:
        self.logits = logits
        self.thresholds = thresholds
        self.top_k = top_k
        self.frame_size = frame_size
        self.features: NDArray[np.float32] | None = None
        self.tiles: tuple[Tile, ...] = ()
        self.timing: dict[str, float] = {}
        self.labels = space.names
        self.plan = space.plan
        self.bank = space.bank
        self._space = space
        self._similarity = similarity
        self._region = region
        self._scores: NDArray[np.float32] | None = None
        self._tags: tuple[Tag, ...] | None = None
        self._reference = reference or FrameReference()

    @classmethod
    def united(
        cls,
        tiles: tuple[Tile, ...],
        reference: FrameReference,
        frame_size: tuple[int, int] | None = None,
    ) -> TagResult:
        """The result of a frame from those of its rectangles.

        A label's logit is the mean of the whole frame's and its best tile's: what is really there is seen in both.
        Without the whole frame it is the best one's.

        Args:
            tiles: the rectangles; the whole frame is the first, unless ``frame_size`` is the size of the frame.
        """
        whole = tiles[0].result
        if frame_size is None and len(tiles) > 1:
            best = np.maximum.reduce([tile.result.logits for tile in tiles[1:]])
            logits = np.float32(0.5) * (whole.logits + best)
        else:
            logits = np.maximum.reduce([tile.result.logits for tile in tiles])
        limits = whole.thresholds, whole.top_k, frame_size or whole.frame_size
        result = cls(whole._space, logits, whole._similarity, *limits, whole._region, reference)
        result.features = whole.features
        result.tiles = tiles
        return result

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        # A weak reference cannot be pickled.
        return None, {
            name: FrameReference() if name == "_reference" else getattr(self, name)
            for name in self.__slots__
        }

    @property
    def scores(self) -> NDArray[np.float32]:
        """float32 (C,): the sigmoid of the logits, independent for each label; not calibrated probabilities."""
        if self._scores is None:
            self._scores = sigmoid(self.logits)
        return self._scores

    @property
    def tags(self) -> tuple[Tag, ...]:
        """The tags, best first; equal scores in the order of the labels."""
        if self._tags is None:
            chosen = np.flatnonzero(self.scores >= self.thresholds)
            chosen = chosen[np.argsort(-self.scores[chosen], kind="stable")][: self.top_k]
            self._tags = tuple(map(self._tag, chosen.tolist()))
        return self._tags

    def roll_up(self, parents: Mapping[str, Sequence[str]]) -> None:
        """Add to ``tags`` what they are kinds of. Its score is the highest of all labels below it.

        Its threshold is the lowest of the tags below it. A label that is a parent of others gets their scores too.

        Args:
            parents: by label, all that it is a kind of, as ``LabelTree.ancestors`` has it.
        """
        below = dict[str, list[str]]()
        for label in self.labels:
            for parent in parents.get(label, ()):
                below.setdefault(parent, [parent] if parent in self._space.index else []).append(label)  # fmt: skip
        tags = {tag.label: tag for tag in self.tags}
        rolled = dict(tags)
        for parent, labels in below.items():
            if thresholds := [tags[label].threshold for label in labels if label in tags]:
                score = max(self[label].score for label in labels)
                rolled[parent] = Tag(parent, score, min(thresholds), score - min(thresholds))
        self._tags = tuple(sorted(rolled.values(), key=lambda tag: -tag.score))

    @property
    def scores_by_label(self) -> dict[str, float]:
        """The score of every label, in the order of ``Tagger.labels``."""
        return dict(zip(self._space.names, self.scores.tolist(), strict=True))

    def __iter__(self) -> Iterator[Tag]:
        return iter(self.tags)

    def __len__(self) -> int:
        return len(self.tags)

    def __contains__(self, label: object) -> bool:
        """Whether a label (or a :class:`Tag`) is reported."""
        return any(label in (tag.label, tag) for tag in self.tags)

    @overload
    def __getitem__(self, key: int | str) -> Tag: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[Tag, ...]: ...
    def __getitem__(self, key: int | str | slice) -> Tag | tuple[Tag, ...]:
        """``result[0]`` is the best tag; ``result["cat"]`` is any of the model's labels, whether reported or not.

        Raises:
            UnknownLabelError: the model does not have this label.
        """
        return (
            self._tag(find_label(key, self._space.index))
            if isinstance(key, str)
            else self.tags[key]
        )

    def _tag(self, label: int) -> Tag:
        score = self.scores[label]
        threshold = self.thresholds[label]
        return Tag(
            self._space.names[label], float(score), float(threshold), float(score - threshold)
        )

    def __bool__(self) -> bool:
        return True  # a frame without tags is still a result

    def __repr__(self) -> str:
        return f"TagResult({', '.join(f'{tag.label} {tag.score:.2f}' for tag in self.tags)})"

    def attention(
        self, label: str, size: Literal["frame", "grid"] | tuple[int, int] = "frame"
    ) -> NDArray[np.float32]:
        """The attention map of a label, computed on demand from the same inference.

        With tiles, the map of each tile and of the whole frame is multiplied by the label's score there, and a point
        has the largest of these weights; ``grid`` then has the grids of all tiles.

        Args:
            label: any of the model's labels, whether reported as a tag or not.
            size: ``grid``: float32 (rows, columns), the weight of each visual token, summing to 1. ``frame``: the same
                weights interpolated to float32 (height, width) of the frame, without the letterbox's padding.
                (height, width): the same at that resolution, for example for a thumbnail.

        Raises:
            UnknownLabelError: the model has no such label.
            OptionError: ``size`` is invalid, or the plan was built without attention maps.
        """
        column = find_label(label, self._space.index)
        if size not in ("frame", "grid") and not _is_size(size):
            raise errors.OptionError(
                "size",
                "'frame', 'grid' or (height, width)",
                repr(size),
                "Use 'frame' for the resolution of the frame.",
            )
        spec = self._space.attention
        if self.tiles:
            if size != "grid":
                return self._united_attention(
                    label, column, self.frame_size if size == "frame" else size
                )
            lefts, tops = (
                {tile.region[side] for tile in self.tiles[1:] or self.tiles} for side in (0, 1)
            )
            united = self._united_attention(
                label, column, (len(tops) * spec.rows, len(lefts) * spec.columns)
            )
            return united / united.sum()
        if not len(self._similarity):
            raise errors.OptionError(
                "attention",
                "a plan with attention maps",
                "one without",
                "Build the plan without --no-maps.",
            )
        weights = spec.alpha * self._similarity[:, column].astype(np.float64)
        weights = np.exp(weights - weights.max())
        grid = (weights / weights.sum()).reshape(spec.rows, spec.columns)
        if size != "grid":
            rows, columns = self.frame_size if size == "frame" else size
            (left, top, width, height), (input_height, input_width) = (
                self._region,
                self._space.input_size,
            )
            down = _interpolation(rows, spec.rows, top, height, input_height)
            across = _interpolation(columns, spec.columns, left, width, input_width)
            grid = down @ grid.astype(np.float32) @ across.T
        return np.ascontiguousarray(grid, np.float32)

    def _united_attention(
        self, label: str, column: int, shape: tuple[int, int]
    ) -> NDArray[np.float32]:
        united = np.zeros(shape, np.float32)
        for (left, top, width, height), result in self.tiles:
            rows = _scaled(top, height, self.frame_size[0], shape[0])
            part = united[rows, _scaled(left, width, self.frame_size[1], shape[1])]
            np.maximum(part, result.attention(label, part.shape) * result.scores[column], out=part)
        return united

    def draw(
        self, frame: FrameLike | None = None, color: Color = "bgr", *, heatmap: str | bool = False
    ) -> NDArray[np.uint8]:
        """An annotated copy of the frame: its tags, their scores and a bar for each; uint8 (H, W, 3) BGR.

        A frame too small for legible text is enlarged by an integer factor first.

        Args:
            frame, color: the frame, as for :meth:`Tagger.predict`; None: its file, or the array while that exists.
            heatmap: a label, or True for the best tag: blend its attention map over the frame and list it first.

        Raises:
            FrameError: the frame is invalid, or None and gone.
            UnknownLabelError: the model has no such label.
        """
        from .drawing import HEAT_SIZE, draw_tags

        if frame is None:
            frame = self._reference.frame
            color = self._reference.color
        if frame is None:
            raise errors.FrameTypeError(
                "frame",
                "the frame that was tagged",
                "None, and it no longer exists",
                "Pass it: result.draw(frame).",
            )
        tags = self.tags
        heat = None
        if heatmap is not False and (tags or heatmap is not True):
            with_map = (tag.label for tag in tags if tag.label in self._space.index)
            label = next(with_map) if heatmap is True else heatmap  # a parent has no map
            best = self._tag(find_label(label, self._space.index))
            tags = (best, *(tag for tag in tags if tag.label != best.label))
            heat = self.attention(best.label, HEAT_SIZE)
        return draw_tags(frame, color, tags, heat)

    def _repr_html_(self) -> str:
        """The tags as bars, for notebooks, next to the frame: from its file, or its array or image if that exists."""
        from .drawing import tags_as_html

        return tags_as_html(self.tags, self._reference.frame, self._reference.color)

    def to_dict(self, *, all_scores: bool = False) -> dict[str, Any]:
        """Tags, timings and plan as plain numbers and strings, ready for JSON; ``all_scores`` adds every label's."""
        tags = [
            {"label": tag.label, "score": tag.score, "threshold": tag.threshold}
            for tag in self.tags
        ]
        timing = {stage: round(value, 3) for stage, value in self.timing.items()}
        result: dict[str, Any] = {"tags": tags, "timing_ms": timing, "plan": self.plan}
        return {**result, "scores": self.scores_by_label} if all_scores else result


class Tile(NamedTuple):
    """The result of a rectangle of a frame."""

    region: Region
    result: TagResult


def _is_size(size: object) -> bool:
    return (
        isinstance(size, tuple)
        and len(size) == 2
        and all(isinstance(side, int) and side > 0 for side in size)
    )


def _scaled(start: int, extent: int, total: int, length: int) -> slice:
    """Which of ``length`` points ``start .. start + extent`` of ``total`` pixels cover: at least one."""
    first = start * length // total
    return slice(first, max(first + 1, (start + extent) * length // total))


def _interpolation(
    length: int, cells: int, start: int, extent: int, total: int
) -> NDArray[np.float32]:
    """Interpolation weights (length, cells) from the grid's cells to ``length`` points along one side of a frame.

    Half-pixel centres; values are clamped at the edges. The side covers ``start .. start + extent`` of an input of
    ``total`` pixels, the grid all of it.
    """
    pixels = start + (np.arange(length) + 0.5) * (extent / length)
    centres = np.clip(pixels * (cells / total) - 0.5, 0, cells - 1)
    weights: NDArray[np.float64] = np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(cells)))
    return weights.astype(np.float32)
