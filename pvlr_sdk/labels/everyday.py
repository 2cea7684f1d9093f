"""Everyday words: what captions of photos say of pictures, and the concepts of a dictionary have no class for."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..bundle.tensors import packed, unpacked
from .dictionary import forms
from .expectation import brief

POINTS = ("f1", "precise")
PROMISED = 0.35
"""The share of tags at ``f1`` that captions confirm at or above which the grade is ``caption``, and ..."""
ACCEPTED = 0.05
"""... of a word that is kept: docs/open_labels.md says what the share of right tags is then."""
_NORMAL = 1.96
"""Standard deviations of a 95 % interval."""
_VALUES = 5
_COUNTS = 5


@dataclass(frozen=True, eq=False)
class Everyday:
    """M words as functions of the image features, learned from captions and measured on other captions.

    A caption that does not mention a word says little: what it shows may go without saying. So the share of right tags
    is at least the measured one.

    Attributes:
        names: the words.
        forms: other forms of words, such as "guy", and the word.
        weights: float16 (M, D).
        values: float32 (M, 5): bias; the thresholds at ``f1`` and ``precise``; the average precision of being
            mentioned, of the word and of what the dictionary has for it (NaN: nothing).
        counts: int32 (M, 5): photos whose caption mentions the word; at ``f1`` and then at ``precise``, tags and those
            that the caption confirms. Each photo is tagged by weights and thresholds of other photos.
        photos: their number.
    """

    names: list[str]
    forms: Mapping[str, str]
    weights: NDArray[np.float16]
    values: NDArray[np.float32]
    counts: NDArray[np.int32]
    photos: int

    @functools.cached_property
    def _rows(self) -> dict[str, int]:
        rows = {name: row for row, name in enumerate(self.names)}
        return {form: rows[name] for form, name in self.forms.items()} | rows

    def find(self, word: str) -> int | None:
        """The row of a word, of another form of it, or of its singular; None: it is none of the words."""
        rows = (self._rows.get(form) for form in forms(" ".join(word.casefold().split())))
        return next((row for row in rows if row is not None), None)

    def grade(self, row: int) -> Literal["caption", "doubtful"]:
        """``caption``, or ``doubtful`` if captions confirm less than :data:`PROMISED` of the tags at ``f1``."""
        tags, right = self.counts[row, 1:3]
        return "caption" if right >= PROMISED * tags else "doubtful"

    def provenance(self, row: int) -> dict[str, Any]:
        """What a label bank keeps of a word, with the keys of :meth:`Meaning.provenance` and ``mentions``."""
        mentions, *of_points = map(int, self.counts[row])
        expected = {
            point: {
                "right": share_of(right, tags),
                "found": share_of(right, mentions),
            }
            for point, tags, right in zip(POINTS, of_points[::2], of_points[1::2], strict=True)
        }
        return {
            "grade": self.grade(row),
            "entry": self.names[row],
            "sense": "",
            "concepts": {},
            "expected": expected,
            "mentions": mentions,
        }

    def sentence(self, word: str, row: int) -> str:
        """What to expect of a word."""
        measured = self.provenance(row)
        points = (f"at {point} {brief(shares)}" for point, shares in measured["expected"].items())
        source = f"learned from {measured['mentions']} captions of {self.photos} photos"
        return f"{word}: {measured['grade']}, {source}; {'; '.join(points)}, or more: captions omit much"

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The tensors of a knowledge file."""
        return {
            **packed("everyday", self.weights),
            "everyday_values": self.values,
            "everyday_counts": self.counts,
        }

    def text(self) -> dict[str, Any]:
        """The part of a knowledge file that is no tensor."""
        return {"names": self.names, "forms": dict(self.forms), "photos": self.photos}

    @classmethod
    def read(cls, tensors: Mapping[str, NDArray[Any]], text: Any) -> Everyday | None:
        """From a knowledge file; None: it has no such words. Raises KeyError, TypeError and others."""
        if text is None:
            return None
        values, counts = (tensors[f"everyday_{name}"] for name in ("values", "counts"))
        return cls(
            list(map(str, text["names"])),
            {str(form): str(name) for form, name in text["forms"].items()},
            unpacked(tensors, "everyday"),
            values,
            counts,
            int(text["photos"]),
        )

    def problem(self, depth: int) -> str | None:
        """What is wrong with the part of a file whose features have ``depth`` values; None: nothing."""
        count = len(self.names)
        shapes = {"weights": (count, depth), "values": (count, _VALUES), "counts": (count, _COUNTS)}
        kinds = {"weights": np.float16, "values": np.float32, "counts": np.int32}
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype != kinds[name] or not array.size:
                return f"everyday {name} {array.dtype} {array.shape}"
        low, high = self.values[:, 1:3].T
        if not np.isfinite(self.weights).all() or not np.isfinite(self.values[:, 0]).all():
            return "values of everyday words that are not finite"
        if not ((low > 0) & (low <= high) & (high < 1)).all():
            return "thresholds of everyday words that are not in their order"
        mentions, *of_points = self.counts.T
        is_ordered = all(
            ((right >= 0) & (right <= tags) & (right <= mentions)).all()
            for tags, right in zip(of_points[::2], of_points[1::2], strict=True)
        )
        if not is_ordered or set(self.forms.values()) - set(self.names):
            return "counts or forms of everyday words that contradict each other"
        return None


def share_of(hits: int, count: int) -> list[int]:
    """A share in percent, and its 95 % interval (Wilson 1927); 0 to 100 of nothing."""
    if not count:
        return [0, 0, 100]
    share = hits / count
    spread = _NORMAL**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
    return [round(100 * part) for part in (share, middle - half, middle + half)]
