"""The examples of labels: the last one can be removed alone, and events keep their best frame."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pvlr_sdk.cameras.control import examples as module
from pvlr_sdk.cameras.control.examples import Example, Examples
from pvlr_sdk.cameras.events import Event
from pvlr_sdk.cameras.stream import Observation


def test_the_last_example_is_removed_alone() -> None:
    examples = Examples()
    picked = [
        Example("door", float(time), True, None, np.full(4, time, np.float32), "plan")
        for time in range(3)
    ]
    for one in picked:
        examples.add("mug", one)
    examples.clear("mug", last=True)
    assert [one.time for one in examples.of("plan", "mug")] == [0.0, 1.0]
    examples.clear("mug", last=True)
    examples.clear("mug", last=True)
    examples.clear("mug", last=True)
    assert examples.of("plan", "mug") == []
    examples.add("mug", picked[0])
    examples.clear("mug")
    assert examples.of("plan", "mug") == []


class Result(dict[str, Any]):
    """A result with the score of a mug, and as features the time of its frame."""

    labels, plan = ("mug",), "plan"

    def __init__(self, score: float, time: float, closed: bool = False) -> None:
        super().__init__(mug=SimpleNamespace(score=score))
        self.features = None if closed else np.full(4, time, np.float32)


def see(
    examples: Examples,
    time: float,
    score: float,
    *names: str,
    camera: str = "door",
    closed: bool = False,
) -> None:
    result: Any = Result(score, time, closed)
    frame: Any = SimpleNamespace(wall=time)
    seen = Observation(camera, frame, result, 0, False, {None: result, "gate": Result(0, time)})
    examples.see(seen, [Event("on", name, "door", "mug", 0, 0, 0, 0, 0) for name in names])


def test_an_event_keeps_the_features_of_its_best_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVENTS", 2)
    examples = Examples()
    for time, score in ((1, 0.5), (2, 0.9), (3, 0.7)):
        see(examples, time, score, "first")
    see(examples, 4, 1.0, "first", camera="yard")
    see(examples, 5, 1.0, "first", closed=True)
    best = examples.peaks["first"]
    assert (best.time, best.score, best.features.tolist()) == (2, 0.9, [2] * 4)
    for time in (6, 7):
        see(examples, time, 0.5, f"event {time}")
    assert list(examples.peaks) == ["event 6", "event 7"]  # of the newest events only
