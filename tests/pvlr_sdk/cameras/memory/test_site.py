"""A site with a memory: what it records of real frames, and that its events do not depend on the memory."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from pvlr_sdk import Tagger
from pvlr_sdk.cameras.events import EventSettings
from pvlr_sdk.cameras.memory.moments import HEAT, Moment, heat_of, small
from pvlr_sdk.cameras.memory.reader import Reader
from pvlr_sdk.cameras.memory.recording import Context, Place
from pvlr_sdk.cameras.memory.replay import events_of
from pvlr_sdk.cameras.memory.store import Store
from pvlr_sdk.cameras.site import Site, SiteConfig
from tests.pvlr_sdk.cameras.memory.conftest import values

DATA = os.environ.get("PVLR_DATA")
CLIPS = ["car-detection.mp4", "bottle-detection.mp4"]


def run(folder: Path, cameras: dict, **raw) -> list:
    """The events of a site that remembers them."""
    config = {
        "cameras": cameras,
        "threads": 1,
        "memory": {"folder": str(folder)},
        "stream": {"every_frame": True},
        **raw,
    }
    site = Site(SiteConfig.parse(config, source="test"))
    events: list = []
    publish = site._publish
    # without the queue of a subscriber
    site._publish = lambda found: (
        events.extend(found),
        publish(found),
    )
    site.run()
    assert all(sink["lost"] == 0 for sink in site.stats()["sinks"])
    return events


@pytest.mark.slow
def test_events_of_regions_are_remembered_and_replayed(plan, tmp_path):
    square = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]
    regions = {
        "left": {"polygon": square, "thresholds": {"cat": 0.1}},
        "out": {"polygon": square, "exclude": True},
    }
    cameras = {
        "door": {"uri": "test://?fps=60&size=64x48&frames=200", "regions": regions},
        "yard": "test://?frames=90",
    }
    events = {"threshold": 0.3, "min_duration": 0.1, "smoothing": 0.1}
    found = run(tmp_path / "m", cameras, plan=str(plan), events=events, stream={})
    reader = Reader(tmp_path / "m")
    assert reader.places() == [Place("door", "left"), Place("yard", None)]
    assert found
    assert sorted(values(events_of(reader)), key=str) == sorted(values(found), key=str)
    rows = reader.rows("kind = 'event'")
    assert {(row.began.id, row.ended.reason) for row in rows} == {
        (one.id, one.reason) for one in found if one.state == "off"
    }
    for row in rows:  # the map of a region does not cover the picture
        shown = [
            cv2.imdecode(np.frombuffer(reader.picture(row.id, attention), np.uint8), 1)
            for attention in (False, True)
        ]
        assert (
            np.array_equal(*shown) == (row.camera == "door") == (not reader.has_attention(row.id))
        )


def test_the_attention_map_of_a_peak_is_kept(plan, tmp_path):
    random = np.random.default_rng(0)
    pixels = cv2.resize(
        random.integers(0, 256, (9, 12, 3), np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC
    )
    with Tagger(plan) as tagger:
        result = tagger.predict(pixels)
        frame = SimpleNamespace(pixels=pixels, color="bgr", size=(480, 640))
        half = tagger.predict(pixels[:240])
    heat = heat_of(result, frame, "cat")
    expected = result.attention("cat", HEAT)
    np.testing.assert_allclose(heat / 255, expected / expected.max(), atol=1 / 255)
    assert heat_of(half, frame, "cat") is None
    context = Context(("cat",), EventSettings(), (0.5,), None, "plan", "bank", 0.4)
    with closing(Store(tmp_path / "m", write=True)) as store:
        store.write(
            Moment(Place("a", None), context, 1e9, result.logits, None, "", small(frame), heat=heat)
        )
        (row,) = store.rows()
        plain, shown = (
            cv2.imdecode(np.frombuffer(store.picture(row.id, attention), np.uint8), 1).astype(int)
            for attention in (False, True)
        )
    lit = cv2.resize(expected, (320, 240)) > 0.9 * expected.max()
    colored = np.ptp(shown, axis=2)  # the picture is grey but for the map
    assert colored[lit].mean() > 2 * colored[~lit].mean()
    assert np.ptp(plain, axis=2).mean() > colored.mean()


@pytest.mark.slow
@pytest.mark.skipif(not DATA, reason="needs the clips of PVLR_DATA")
@pytest.mark.parametrize("clip", CLIPS)
def test_a_clip_is_replayed_in_every_bit(tmp_path, clip):
    cameras: dict = {"door": f"{DATA}/video/{clip}"}
    if clip == CLIPS[0]:  # the shorter one
        cameras["tiled"] = {"uri": f"{DATA}/video/{clip}", "tiles": "2x1"}
    found = run(tmp_path / "m", cameras)
    reader = Reader(tmp_path / "m")
    assert len(found) >= 2
    assert sorted(values(events_of(reader)), key=str) == sorted(values(found), key=str)
    number = len(reader.rows("kind = 'event'"))
    ((size,),) = reader.query("SELECT sum(length(arrays)) FROM chunks")
    assert size / number < 20_000
