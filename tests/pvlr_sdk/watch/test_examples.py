"""The examples of labels: the last one can be removed alone."""

from __future__ import annotations

import numpy as np

from pvlr_sdk.watch.examples import Example, Examples


def test_the_last_example_is_removed_alone() -> None:
    examples = Examples()
    picked = [Example("door", float(time), True, None, np.full(4, time, np.float32)) for time in range(3)]
    for one in picked:
        examples.add("plan", "mug", one)
    examples.clear("mug", last=True)
    assert [one.time for one in examples.of("plan", "mug")] == [0.0, 1.0]
    examples.clear("mug", last=True)
    examples.clear("mug", last=True)
    examples.clear("mug", last=True)
    assert examples.of("plan", "mug") == []
    examples.add("plan", "mug", picked[0])
    examples.clear("mug")
    assert examples.of("plan", "mug") == []
