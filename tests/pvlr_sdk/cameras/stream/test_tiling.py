"""The tiles of cameras with ``auto`` follow the size of their frames and what the machine computes."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pvlr_sdk import Camera, Stream, Tagger
from pvlr_sdk.cameras.stream import Observation, tiling
from pvlr_sdk.cameras.stream.regions import Region
from pvlr_sdk.cameras.stream.stats import CameraStats, Counters
from pvlr_sdk.cameras.stream.tiling import (
    COARSE,
    FINEST,
    NONE,
    Demand,
    TileChoice,
    demand_of,
    layouts,
    load,
)
from tests.pvlr_sdk.cameras.stream.seen import observations
from tests.waiting import LONG

INPUT = (288, 288)
LEFT = Region(((0, 0), (0.5, 0), (0.5, 1), (0, 1)))
RIGHT = Region(((0.5, 0), (1, 0), (1, 1), (0.5, 1)))


def camera(**settings: Any) -> Camera:
    return Camera("door", "test://", **{"tiles": "auto", **settings})


def stats(**values: Any) -> CameraStats:
    live = replace(Counters().snapshot(), state="live", size=(432, 768), fps=4.0)
    return replace(live, **values)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (432, 768, ((2, 2), (2, 2), (1, 1))),
        (720, 1280, ((3, 2), (2, 2), (1, 1))),
        (1080, 1920, ((4, 3), (2, 2), (1, 1))),
        (287, 768, ((1, 1),) * 3),  # a tile would show no more than the whole frame
    ],
)
def test_the_size_of_a_frame_sets_its_tiles(
    height: int, width: int, expected: tuple[tuple[int, int], ...]
) -> None:
    assert layouts(camera(), height, width, INPUT) == expected


def test_tiles_that_are_set_do_not_follow_the_machine() -> None:
    assert layouts(camera(tiles=(3, 2)), 432, 768, INPUT) == ((3, 2),) * 3
    assert layouts(camera(tiles=(1, 1)), 1080, 1920, INPUT) == ((1, 1),) * 3


def test_regions_share_the_limit_of_tiles() -> None:
    five = {str(number): LEFT for number in range(5)}
    assert layouts(camera(regions=five), 1080, 960, INPUT) == ((1, 1),) * 3
    two = camera(regions={"left": LEFT, "right": RIGHT})
    columns, rows = layouts(two, 1080, 960, INPUT)[FINEST]
    assert 4 < columns * rows <= 8


def test_a_camera_asks_for_what_changes_in_its_frames() -> None:
    assert demand_of(camera(), stats(), None, INPUT) == Demand(4.0, (5, 5, 1), 1.0)
    before = stats(tiles=100, computed=100)
    still = stats(tiles=200, computed=110)
    assert demand_of(camera(), still, before, INPUT).share == pytest.approx(0.1)
    assert load([demand_of(camera(), stats(state="lost"), None, INPUT)], FINEST) == 0
    assert load([Demand(25.0, (5, 5, 1), 1.0)], FINEST) == 25  # no more than needed for events
    assert load([Demand(4.0, (5, 5, 1), 0.1)], FINEST) == pytest.approx(2)


def test_the_choice_follows_the_load_and_does_not_swing() -> None:
    choice = TileChoice()
    assert not choice.due(0.0)
    assert choice.due(1.0)
    cameras = [Demand(5.0, (14, 5, 1), 1.0)] * 2
    choice.choose(1.0, cameras, 0.003)
    assert choice.level == FINEST  # 42 %
    assert not choice.due(10.9)
    assert choice.due(11.0)
    choice.choose(11.0, cameras, 0.006)
    assert choice.level == FINEST  # 84 %: below the limit at which it falls
    choice.choose(21.0, cameras, 0.008)
    assert choice.level == COARSE  # 112 %, then 40 %
    choice.choose(31.0, cameras, 0.006)
    assert choice.level == COARSE  # 84 %: above the limit at which it rises
    choice.choose(41.0, cameras, 0.04)
    assert choice.level == NONE
    choice.choose(51.0, cameras, 0.001)
    assert choice.level == FINEST


def test_a_stream_follows_the_choice(tagger: Tagger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here any load is too high."""
    for limit, value in (("_FIRST", 0.0), ("_LOW", -1.0), ("_HIGH", 0.0)):
        monkeypatch.setattr(tiling, limit, value)
    until = time.monotonic() + LONG
    with Stream(tagger, [Camera("a", "test://?size=64x48&fps=30", tiles="auto")]) as stream:
        seen = (item for item in stream if isinstance(item, Observation))
        assert len(next(seen).result.tiles) == 5
        while next(seen).result.tiles:
            assert time.monotonic() < until


def test_a_file_that_waits_has_the_finest_tiles(
    tagger: Tagger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Beside a camera for which any load is too high."""
    for limit, value in (("_FIRST", 0.0), ("_LOW", -1.0), ("_HIGH", 0.0)):
        monkeypatch.setattr(tiling, limit, value)
    for number in range(20):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((160, 200, 3), np.uint8))
    cameras = [
        Camera("file", str(tmp_path), tiles="auto"),
        Camera("live", "test://?size=64x48&fps=30&frames=60", tiles="auto"),
    ]
    with Stream(tagger, cameras) as stream:
        tiles = [(seen.camera, len(seen.result.tiles)) for seen in observations(stream)]
    network = tagger.info["input"]
    finest = layouts(cameras[0], 160, 200, (network["height"], network["width"]))[FINEST]
    assert finest[0] * finest[1] > 4
    assert set(tiles) >= {("live", 0)}
    assert {count for name, count in tiles if name == "file"} == {1 + finest[0] * finest[1]}


def test_a_file_that_waits_is_no_load(
    tagger: Tagger,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    for limit, value in (("_FIRST", 0.0), ("_LOW", -1.0), ("_HIGH", 0.0)):
        monkeypatch.setattr(tiling, limit, value)
    for number in range(150):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((160, 200, 3), np.uint8))
    with (
        caplog.at_level("INFO"),
        Stream(tagger, [Camera("file", str(tmp_path), tiles="auto")]) as stream,
    ):
        assert len(observations(stream)) == 150
    assert "tiles of cameras" not in caplog.text
