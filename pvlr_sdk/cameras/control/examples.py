"""The frames of examples of labels that a person picked, and of events: their features alone, and only so many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ... import errors
from ...bundle.label_bank import LABEL_NAMES, LabelBank, is_label
from ...bundle.manifest import OpenSpec
from ...labels import LabelReport, learn
from ...labels.edit import LinearFunction, add_labels
from ...labels.learning import Words
from ..events import Event, rfc3339
from ..stream import Observation

PER_LABEL = 300
IN_ALL = 3000
EVENTS = 1000
"""The most examples, and events: with 1280 features, 20 MB in all; learning from 300 takes a fraction of a second."""


@dataclass(frozen=True)
class Example:
    """A frame that shows a label, or does not.

    Attributes:
        camera: the name of its camera.
        time: when it was captured, in seconds since the epoch.
        shows: whether it shows the label.
        score: the label's score, if the tagger had the label.
        features: float32 (D,), the result's features.
        plan: SHA-256 of the plan that computed them.
    """

    camera: str
    time: float
    shows: bool
    score: float | None
    features: NDArray[np.float32]
    plan: str

    @classmethod
    def of(cls, seen: Observation, label: str, shows: bool) -> Example | None:
        """The frame of an observation; None: the plan that tagged it is closed."""
        result = seen.result
        if result.features is None:
            return None
        score = float(result[label].score) if label in result.labels else None
        return cls(seen.camera, seen.frame.wall, shows, score, result.features.copy(), result.plan)

    @property
    def name(self) -> str:
        """Its camera and time, for reports."""
        return f"{self.camera} {rfc3339(self.time)}"


class Examples:
    """Examples by label, of one plan: examples of another plan are dropped, since its features mean something else."""

    def __init__(self) -> None:
        self._plan = ""
        self._found: dict[str, list[Example]] = {}
        self.peaks: dict[str, Example] = {}
        """By the id of an event, the frame of its highest score; of the newest events."""

    def see(self, seen: Observation, events: Sequence[Event]) -> None:
        """Compare a frame with the :attr:`peaks` of ongoing events, in microseconds; always in the same thread."""
        for event in events:
            result = seen.regions.get(event.region) if event.camera == seen.camera else None
            if result is None or event.label not in result.labels:
                continue
            peak = self.peaks.get(event.id)
            if peak is not None and result[event.label].score <= (peak.score or 0):
                continue
            # copies the features
            if example := Example.of(replace(seen, result=result), event.label, True):
                self.peaks[event.id] = example
                if len(self.peaks) > EVENTS:
                    del self.peaks[next(iter(self.peaks))]

    def of(self, plan: str, label: str) -> list[Example]:
        """The examples of a label, oldest first; ``plan`` is the SHA-256 of the plan in use."""
        if plan != self._plan:
            self._plan = plan
            self._found.clear()
        return self._found.get(label, [])

    def add(self, label: str, example: Example) -> None:
        """Add an example of a label.

        Raises:
            OptionError: the label is no valid name, the frame or one that is equal is an example of it already, or
                there are too many.
        """
        if not is_label(label):
            raise errors.OptionError(
                "label", LABEL_NAMES, ascii(label)[:100], "Choose another name."
            )
        examples = self.of(example.plan, label)
        for count, most, what in (
            (len(examples), PER_LABEL, f"examples of {label!r}"),
            (sum(map(len, self._found.values())), IN_ALL, "examples in all"),
        ):
            if count >= most:
                raise errors.OptionError(
                    "label",
                    f"at most {most} {what}",
                    "one more",
                    "Teach the label, then clear examples; pvlr teach learns from any number of photos.",
                )
        if any(np.array_equal(example.features, other.features) for other in examples):
            raise errors.OptionError(
                "camera",
                f"a frame that is no example of {label!r} yet",
                example.name,
                "Wait for the next frame of the camera.",
            )
        self._found[label] = [*examples, example]

    def clear(self, label: str, *, last: bool = False) -> None:
        """Remove the examples of a label, or the last one alone."""
        examples = self._found.pop(label, [])
        if last and examples[:-1]:
            self._found[label] = examples[:-1]

    def learn(
        self, plan: str, label: str, base: LabelBank, spec: OpenSpec, start: LinearFunction | None
    ) -> tuple[LabelBank, LabelReport]:
        """A label bank with a label learned from its examples, and from what it was before: ``start``, if not None.
        Raises what ``add_labels`` and ``learn`` raise."""
        examples = self.of(plan, label)
        features = np.array([example.features for example in examples], np.float64).reshape(
            len(examples), spec.feature_width
        )
        targets = np.array([[1 if example.shows else -1] for example in examples], np.int8).reshape(
            -1, 1
        )
        names = [example.name for example in examples]
        room = add_labels(base, [label], spec, words=False)
        words = (
            None if start is None else {label: Words(features @ start.weights + start.bias, start)}
        )
        bank, (report,) = learn(room, [label], names, features, targets, plan=plan, words=words)
        return bank, report
