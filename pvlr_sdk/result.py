"""What a tagger says of one frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import errors
from .labels import find_label

if TYPE_CHECKING:
    from .frames import FrameLike
    from .manifest import AttentionSpec


class Tag(NamedTuple):
    """One label that the frame shows. ``margin`` is ``score - threshold``, never negative."""

    label: str
    score: float
    threshold: float
    margin: float


@dataclass(frozen=True)
class LabelSpace:
    """What all results of one model share: its labels and the geometry of its attention."""

    names: tuple[str, ...]
    attention: AttentionSpec
    input_size: tuple[int, int]

    @cached_property
    def index(self) -> dict[str, int]:
        return {name: position for position, name in enumerate(self.names)}


class TagResult:
    """The tags of one frame, best first; iterate over it, take its ``len`` or index it.

    A label is a tag if its score reaches its threshold; ``top_k`` then keeps the best k of those. ``scores`` and
    ``logits`` have all C labels, in the order of ``Tagger.labels``, whatever the thresholds.

    Attributes:
        logits: float32 (C,), before the sigmoid.
        thresholds: float32 (C,), the thresholds that were used.
        timing: milliseconds of each stage: ``decode``, ``preprocess``, ``inference``, ``head`` and ``total``.
        frame_size: height and width of the frame in pixels.
    """

    __slots__ = ("_region", "_scores", "_similarity", "_space", "_tags", "frame_size", "logits", "thresholds", "timing",
                 "top_k")  # fmt: skip

    def __init__(
        self,
        space: LabelSpace,
        logits: NDArray[np.float32],
        similarity: NDArray[np.float32],
        thresholds: NDArray[np.float32],
        top_k: int | None,
        frame_size: tuple[int, int],
        region: tuple[int, int, int, int],
    ) -> None:
        self.logits = logits
        self.thresholds = thresholds
        self.top_k = top_k
        self.frame_size = frame_size
        self.timing: dict[str, float] = {}
        self._space = space
        self._similarity = similarity
        self._region = region
        self._scores: NDArray[np.float32] | None = None
        self._tags: tuple[Tag, ...] | None = None

    @property
    def scores(self) -> NDArray[np.float32]:
        """float32 (C,): the sigmoid of the logits, each label's probability on its own."""
        if self._scores is None:
            self._scores = sigmoid(self.logits)
        return self._scores

    @property
    def tags(self) -> tuple[Tag, ...]:
        """The tags, best first; equal scores in the order of the labels."""
        if self._tags is None:
            scores, thresholds, names = self.scores, self.thresholds, self._space.names
            chosen = np.flatnonzero(scores >= thresholds)
            chosen = chosen[np.argsort(-scores[chosen], kind="stable")][: self.top_k]
            self._tags = tuple(
                Tag(names[i], float(scores[i]), float(thresholds[i]), float(scores[i] - thresholds[i])) for i in chosen
            )
        return self._tags

    def __iter__(self) -> Iterator[Tag]:
        return iter(self.tags)

    def __len__(self) -> int:
        return len(self.tags)

    def __getitem__(self, position: int) -> Tag:
        return self.tags[position]

    def __bool__(self) -> bool:
        return True  # a frame without tags is a result too

    def __repr__(self) -> str:
        return f"TagResult({', '.join(f'{tag.label} {tag.score:.2f}' for tag in self.tags)})"

    def attention(self, label: str, size: Literal["frame", "grid"] | tuple[int, int] = "frame") -> NDArray[np.float32]:
        """Where the model looked for a label; computed from the same pass when it is asked for.

        Args:
            label: any of the model's labels, tag or not.
            size: ``grid``: float32 (rows, columns), the weight of each visual token, summing to 1. ``frame``: the same
                weights interpolated to float32 (height, width) of the frame, with the letterbox's bars cut off.
                A (height, width): the same at that resolution, for example for a thumbnail.

        Raises:
            UnknownLabelError: the model has no such label.
            OptionError: ``size`` is none of these.
        """
        column = find_label(label, self._space.index)
        if size not in ("frame", "grid") and not _is_size(size):
            expected = "'frame', 'grid' or (height, width)"
            raise errors.OptionError("size", expected=expected, got=repr(size), hint="See the docstring.")
        spec = self._space.attention
        weights = spec.alpha * self._similarity[:, column].astype(np.float64)
        weights = np.exp(weights - weights.max())
        grid = (weights / weights.sum()).reshape(spec.rows, spec.columns)
        if size != "grid":
            rows, columns = self.frame_size if size == "frame" else size
            (left, top, width, height), (input_height, input_width) = self._region, self._space.input_size
            down = _interpolation(rows, spec.rows, top, height, input_height)
            across = _interpolation(columns, spec.columns, left, width, input_width)
            grid = down @ grid.astype(np.float32) @ across.T
        return np.ascontiguousarray(grid, np.float32)

    def draw(self, frame: FrameLike, color: str = "bgr") -> NDArray[np.uint8]:
        """An annotated copy of the frame: its tags, their scores and a bar for each; uint8 (H, W, 3) BGR.

        A frame too small for legible text is enlarged by a whole factor first.

        Raises: what :meth:`Tagger.predict` raises for a bad frame.
        """
        from .drawing import draw_tags

        return draw_tags(frame, color, self.tags)

    def to_dict(self) -> dict[str, Any]:
        """The tags and timings as plain numbers and strings, ready for JSON."""
        return {
            "tags": [{"label": tag.label, "score": tag.score, "threshold": tag.threshold} for tag in self.tags],
            "timing_ms": {stage: round(value, 3) for stage, value in self.timing.items()},
        }


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / (1 + exp(-logits)) in float32, without overflow."""
    small = np.exp(-np.abs(logits))
    scores: NDArray[np.float32] = (np.where(logits >= 0, 1, small) / (1 + small)).astype(np.float32, copy=False)
    return scores


def thresholds_for(
    deployed: NDArray[np.float32], index: Mapping[str, int], wanted: float | Mapping[str, float] | None
) -> NDArray[np.float32]:
    """The (C,) thresholds for a request: the deployed ones, one for all, or some labels changed.

    Raises:
        OptionError: a threshold is no number from 0 to 1.
        UnknownLabelError: a mapping names a label that the model does not have.
    """
    if wanted is None:
        return deployed
    if isinstance(wanted, Mapping):
        changed = deployed.copy()
        for name, value in wanted.items():
            changed[find_label(name, index)] = _checked_threshold(value, f"threshold for {name!r}")
        return changed
    return np.full_like(deployed, _checked_threshold(wanted, "threshold"))


def checked_top_k(top_k: int | None) -> int | None:
    """``top_k`` itself.

    Raises:
        OptionError: it is neither None nor a whole number of at least 1.
    """
    if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, (int, np.integer)) or top_k < 1):
        raise errors.OptionError(
            "top_k", expected="a whole number of at least 1, or None", got=repr(top_k), hint="None gives all tags."
        )
    return top_k


def _checked_threshold(value: Any, argument: str) -> float:
    number = isinstance(value, (int, float, np.floating, np.integer)) and not isinstance(value, bool)
    if not number or not 0 <= value <= 1:
        raise errors.OptionError(
            argument, expected="a number from 0 to 1", got=repr(value), hint="Scores are probabilities."
        )
    return float(value)


def _is_size(size: object) -> bool:
    return isinstance(size, tuple) and len(size) == 2 and all(isinstance(side, int) and side > 0 for side in size)


def _interpolation(length: int, cells: int, start: int, extent: int, total: int) -> NDArray[np.float32]:
    """(length, cells): how each of ``length`` points along a frame's side mixes the grid's cells; edges are held.

    Half-pixel centres. The side covers ``start .. start + extent`` of an input of ``total`` pixels, the grid all of it.
    """
    pixels = start + (np.arange(length) + 0.5) * (extent / length)
    centres = np.clip(pixels * (cells / total) - 0.5, 0, cells - 1)
    weights: NDArray[np.float64] = np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(cells)))
    return weights.astype(np.float32)
