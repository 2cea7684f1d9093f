"""The one answer to the question: what is the threshold of this label here, and where does it come from?

From the lowest rank to the highest: the plan's threshold, or a higher one that the plan has for tiles; the site
file's, for all labels or for one; one that was changed while the site runs; the region's own. Whatever it is, it is
never below the threshold at which a required precision is proven. Everything that uses or shows a threshold asks here:
detectors, sinks, the page, uploads, ``pvlr why`` and ``pvlr replay``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from .tracks import Floats

Source: TypeAlias = Literal["plan", "tiles", "site", "change", "region", "proven"]


PLAN = "of the plan"
TILES = "of the plan for tiles"
REGION = "set for the region"
_ORIGINS: dict[Source, str] = {
    "plan": PLAN,
    "tiles": TILES,
    "site": "set for the site",
    "change": "changed while running",
    "region": REGION,
}


class Minimum(NamedTuple):
    """The lowest threshold at which a required precision is proven, and the number of answers that prove it."""

    threshold: float
    answers: int


class Threshold(NamedTuple):
    """The score at or above which a label is present, and where it comes from; ``answers``: of a proven one."""

    value: float
    source: Source
    answers: int = 0

    @property
    def origin(self) -> str:
        """Where it comes from, in words."""
        if self.source == "proven":
            return f"proven by {self.answers} answers"
        return _ORIGINS[self.source]

    def __str__(self) -> str:
        return f"{self.value:.2f}, {self.origin}"


@dataclass(frozen=True)
class Thresholds:
    """The thresholds of a site.

    Attributes:
        plan: by label, those of the plan in use.
        every: the site file's threshold for all labels; None: there is none.
        labels: the site file's thresholds of some labels.
        changes: by label, thresholds that were changed while the site runs.
        proven: by label, the lowest threshold at which a required precision is proven.
    """

    plan: Mapping[str, float]
    every: float | None = None
    labels: Mapping[str, float] = field(default_factory=dict)
    changes: Mapping[str, float] = field(default_factory=dict)
    proven: Mapping[str, Minimum] = field(default_factory=dict)

    def at(
        self,
        label: str,
        region: Mapping[str, float] | None = None,
        tiles: Mapping[str, float] | None = None,
    ) -> Threshold:
        """The threshold of a label, which the plan has, or for which one is set.

        Args:
            region: the own thresholds of a region; None: of a camera without regions, or of an upload.
            tiles: by label, the plan's thresholds for the tiles of a frame; None: it has none.
        """
        threshold = self._configured(label, region or {})
        if threshold is None:
            threshold = Threshold(self.plan[label], "plan")
            higher = (tiles or {}).get(label, 0.0)
            if higher > threshold.value:
                threshold = Threshold(higher, "tiles")
        minimum = self.proven.get(label)
        if minimum and minimum.threshold > threshold.value:
            return Threshold(minimum.threshold, "proven", minimum.answers)
        return threshold

    def configured(self, region: Mapping[str, float] | None = None) -> dict[str, float]:
        """The thresholds that are set for a region or the site, which tiles do not raise; also of unknown labels."""
        labels = {
            **(self.plan if self.every is not None else {}),
            **self.labels,
            **self.changes,
            **(region or {}),
        }
        return {label: self.at(label, region).value for label in labels}

    def in_use(self, region: Mapping[str, float] | None = None) -> dict[str, Threshold]:
        """The thresholds of a place that are not the plan's, by label."""
        labels = {**self.configured(region), **self.proven}
        thresholds = {label: self.at(label, region) for label in labels if label in self.plan}
        return {
            label: threshold
            for label, threshold in thresholds.items()
            if threshold.source != "plan"
        }

    def deployed(self, labels: Sequence[str]) -> Floats:
        """(C,): the thresholds of labels that are not set, which tiles may raise; of the plan, but no unproven ones."""
        minimums = {label: minimum.threshold for label, minimum in self.proven.items()}
        return np.array(
            [max(self.plan[label], minimums.get(label, 0.0)) for label in labels], np.float64
        )

    def with_change(self, label: str, value: float) -> Thresholds:
        """The same with a changed threshold of a label."""
        return replace(self, changes={**self.changes, label: value})

    def _configured(self, label: str, region: Mapping[str, float]) -> Threshold | None:
        if label in region:
            return Threshold(region[label], "region")
        if label in self.changes:
            return Threshold(self.changes[label], "change")
        if label in self.labels:
            return Threshold(self.labels[label], "site")
        return None if self.every is None else Threshold(self.every, "site")
