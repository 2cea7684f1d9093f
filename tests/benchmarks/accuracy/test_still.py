"""Still scenes: what the benchmark counts, on a few frames."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.accuracy.still import FILTERS, TILES, watch
from pvlr_sdk import Tagger

IMAGES = Path(__file__).parents[3] / "docs/images"


def image(name: str) -> np.ndarray:
    return cv2.resize(cv2.imread(str(IMAGES / name)), (640, 360))


@pytest.mark.slow
@pytest.mark.parametrize("tiles", [None, TILES])
def test_unchanged_frames_are_not_computed_and_a_change_is(tiles):
    cat, person = image("chelsea.jpg"), image("astronaut.jpg")
    frames = [(n / 10, cat if n < 10 else person) for n in range(20)]
    with Tagger(num_threads=1) as tagger:
        every, kept = (watch(tagger, iter(frames), tiles, refresh) for refresh in (None, 10.0))
    assert every["share"] == 1.0
    assert 0 < kept["share"] < 0.6
    assert kept["first"] == every["first"]
    assert {"cat": 0.0, "person": 1.0}.items() <= kept["first"].items()
    assert (
        {event[0] for event in kept["events"]} == {event[0] for event in every["events"]} >= {"cat"}
    )


def test_filters_change_the_image_and_not_its_shape():
    rng, photo = np.random.default_rng(0), image("chelsea.jpg").astype(np.float32)
    for name, change in FILTERS.items():
        changed = change(photo, 3.3, rng)
        assert changed.shape == photo.shape
        assert (name == "as it is") == np.array_equal(changed, photo)
