"""Still scenes: what is computed, what is kept, and that the union is as if the kept tiles had been computed."""

from __future__ import annotations

import itertools
import re
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from pvlr_sdk import Camera, Stream, Tagger, errors
from pvlr_sdk.cameras.sources.source import CapturedFrame
from pvlr_sdk.cameras.stream import Observation, Region
from pvlr_sdk.cameras.stream.still import Look, StillScene
from pvlr_sdk.cameras.stream.tiling import NONE
from pvlr_sdk.cameras.stream.work import work_of
from pvlr_sdk.cli.watch import _print_stats
from pvlr_sdk.result import TagResult
from tests.pvlr_sdk.cameras.stream.seen import observations

RNG = np.random.default_rng(5)
PHOTO = cv2.resize(
    RNG.integers(60, 190, (9, 16, 3), np.uint8), (640, 360), interpolation=cv2.INTER_CUBIC
)
NV12 = np.concatenate([PHOTO[:, :, 1], cv2.resize(PHOTO, (320, 180))[:, :, :2].reshape(180, 640)])
TILES = (3, 2)


class Watch:
    """A scene and a tagger, for one frame after the other."""

    def __init__(self, tagger: Tagger, refresh: float = 10.0, tiles: Any = TILES) -> None:
        self.scene, self.tagger, self.tiles = StillScene(refresh), tagger, tiles
        self.look: Look

    def __call__(
        self, frame: np.ndarray, now: float, color: Any = "bgr", portion: float = 1.0
    ) -> tuple[int, TagResult]:
        """How many rectangles were computed, and the result."""
        self.look = self.scene.look(frame, color, now, portion)
        result = self.tagger.predict_async(
            frame, color=color, tiles=self.tiles, kept=self.look.kept
        ).result()
        return self.scene.learn(self.look, result), result


def noisy(frame: np.ndarray, sigma: float = 3.0) -> np.ndarray:
    return np.clip(frame + sigma * RNG.standard_normal(frame.shape), 0, 255).astype(np.uint8)


def with_object(frame: np.ndarray, left: int = 30, top: int = 40, side: int = 16) -> np.ndarray:
    changed = frame.copy()
    changed[top : top + side, left : left + side] = 250
    return changed


def test_a_file_that_waits_has_its_own_clock() -> None:
    frame = CapturedFrame(PHOTO, "bgr", captured=1000.0, wall=2000.0, source_time=0.1, sequence=0)
    clocks = []
    for budget, moment in ((None, frame), (1.0, frame), (None, replace(frame, source_time=None))):
        work = work_of(0, Camera("a", "clip.mp4", refresh=10), {}, moment, (64, 64), NONE, budget)
        clocks.append(work.parts[0].look.now)
    assert clocks == [0.1, 1000.0, 1000.0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("frame", "color"),
    [(PHOTO, "bgr"), (PHOTO, "rgb"), (PHOTO[:, :, 0], "bgr"), (NV12, "nv12"), (NV12, "nv12-bt709")],
)
@pytest.mark.parametrize(("tiles", "count"), [(TILES, 7), (None, 1)])
def test_a_still_scene_is_computed_once_per_refresh(
    tagger: Tagger, frame: np.ndarray, color: Any, tiles: Any, count: int
) -> None:
    watch = Watch(tagger, 2.0, tiles)
    assert [watch(noisy(frame), n / 10, color)[0] for n in range(41)] == [
        count,
        *[0] * 19,
        count,
        *[0] * 19,
        count,
    ]
    assert (watch.look.share, watch.look.lag) == (1, 0)


def test_a_new_object_is_computed_at_once_where_it_is(tagger: Tagger) -> None:
    watch = Watch(tagger)
    for n in range(20):
        watch(noisy(PHOTO), n / 10)
    seen = with_object(PHOTO)
    computed, result = watch(seen, 2.0)
    assert set(watch.look.kept or {}) == {tile.region for tile in result.tiles[2:]}
    assert computed == 2  # the frame and its first tile
    fresh = tagger.predict(seen, tiles=TILES)
    for part, same in zip(result.tiles[:2], fresh.tiles[:2], strict=True):
        np.testing.assert_array_equal(part.result.logits, same.result.logits)
    whole, *parts = [part.logits for _, part in result.tiles]
    np.testing.assert_array_equal(result.logits, (whole + np.max(parts, axis=0)) / 2)
    # kept with the thresholds of frames without tiles
    frame_alone = {(0, 0, 640, 360): tagger.predict(seen)}
    for one in (result, tagger.predict_async(seen, tiles=TILES, kept=frame_alone).result()):
        np.testing.assert_array_equal(one.thresholds, fresh.thresholds)
    counts = [watch(seen, 2 + n / 4)[0] for n in range(1, 6)]
    # for a second, since one frame's score may be just below its threshold
    assert counts == [
        2,
        2,
        2,
        0,
        0,
    ]
    assert watch(PHOTO, 3.2)[0] == 2  # and when it leaves


def test_kept_scores_are_those_of_the_frame_before(tagger: Tagger) -> None:
    for tiles in (TILES, None):
        watch = Watch(tagger, tiles=tiles)
        first, frame = watch(PHOTO, 0)[1], PHOTO.copy()
        count, kept = watch(frame, 1)
        assert count == 0
        assert len(kept.tiles) == len(first.tiles)
        assert kept.frame_size == first.frame_size
        assert kept.timing["total"] >= kept.timing["inference"] >= 0
        for name in ("logits", "thresholds"):
            np.testing.assert_array_equal(getattr(kept, name), getattr(first, name))
        np.testing.assert_array_equal(kept.attention("cat"), first.attention("cat"))
        assert kept.draw().shape[:2] == (360, 640)  # of the new frame


@pytest.mark.slow
def test_light_may_drift_but_a_switch_is_a_change(tagger: Tagger) -> None:
    watch = Watch(tagger, 1000)
    assert watch(PHOTO, 0)[0] == 7
    assert sum(watch(noisy(PHOTO * (1 - 0.002 * n)), n)[0] for n in range(1, 80)) == 0
    assert watch((PHOTO * 0.7).astype(np.uint8), 100)[0] == 7
    assert watch(np.full_like(PHOTO, 128), 101)[0] == 7  # a lens that is covered


def test_movement_everywhere_is_not_noise(tagger: Tagger) -> None:
    watch = Watch(tagger)
    assert [watch(np.roll(PHOTO, 40 * n, axis=1), n / 10)[0] for n in range(8)] == [7] * 8


def test_another_size_color_bank_or_time_computes_all(tagger: Tagger) -> None:
    watch = Watch(tagger)
    assert [watch(frame, 0)[0] for frame in (PHOTO, PHOTO, PHOTO[:300], PHOTO[:300])] == [
        7,
        0,
        7,
        0,
    ]
    assert watch(PHOTO[:300], 1, "rgb")[0] == 7
    assert watch(PHOTO[:300], 0.5, "rgb")[0] == 7  # a clock that was set back
    _, result = watch(PHOTO, 1)
    look = watch.scene.look(PHOTO, "bgr", 2)
    other = {
        region: type("Other", (), {"plan": "x", "bank": result.bank})()
        for region in look.kept or {}
    }
    computed: Any = tagger.predict_async(PHOTO, tiles=TILES, kept=other).result()
    np.testing.assert_array_equal(computed.logits, result.logits)
    with pytest.raises(errors.ImageSizeError):
        watch(PHOTO[:1], 3)


def test_the_longest_waiting_tiles_are_first_where_there_is_not_time_for_all(
    tagger: Tagger,
) -> None:
    watch = Watch(tagger)
    watch(PHOTO, 0)
    counts, lags, seen = [], [], list[set[Any]]()
    for n in range(1, 9):
        frame = np.roll(PHOTO, 50 * n, axis=1)
        count, result = watch(frame, n, portion=0.3)
        counts.append(count)
        lags.append(watch.look.lag)
        seen.append({tile.region for tile in result.tiles} - set(watch.look.kept or {}))
    assert counts == [2] * 8
    assert lags == [0, 1, 2, *[2] * 5]
    assert len(set.union(*seen[:4])) == 7


class TestStream:
    @pytest.fixture
    def still_clip(self, tmp_path: Path) -> Path:
        """40 equal images in a folder."""
        for n in range(40):
            cv2.imwrite(str(tmp_path / f"{n:02}.png"), PHOTO if n != 30 else with_object(PHOTO))
        return tmp_path

    @pytest.mark.slow
    def test_a_file_without_changes(self, tagger: Tagger, still_clip: Path, capsys: Any) -> None:
        cameras = [
            Camera("a", str(still_clip), tiles=TILES, refresh=1000),
            Camera("b", str(still_clip), tiles=TILES),
        ]
        with Stream(tagger, cameras) as stream:
            seen = {(one.camera, one.frame.sequence): one.result for one in observations(stream)}
            stats = stream.stats()
        assert len(seen) == 80
        assert stats["a"].tagged == stats["b"].tagged == 40
        assert stats["b"].computed == stats["b"].tiles == stats["a"].tiles == 280
        assert 7 <= stats["a"].computed <= 8 * 7  # the frames in flight meanwhile are computed too
        cameras_json = {name: asdict(camera) for name, camera in stats.items()}
        site: Any = SimpleNamespace(
            stats=lambda: {"cameras": cameras_json, "sinks": [], "precision": []}
        )
        _print_stats(site)
        assert re.search(
            r"a: .* reconnects, \d+ % computed\n.*b: .* reconnects\n", capsys.readouterr().err
        )
        for n in range(40):
            np.testing.assert_array_equal(seen["a", n].logits, seen["b", n].logits)

    @pytest.mark.slow
    def test_regions_have_scenes_of_their_own(self, tagger: Tagger, still_clip: Path) -> None:
        halves = {
            "left": Region(((0, 0), (0.5, 0), (0.5, 1), (0, 1))),
            "right": Region(((0.5, 0), (1, 0), (1, 1))),
        }
        refresh = {"a": 1000, "b": None}
        cameras = [
            Camera(name, str(still_clip), regions=halves, refresh=refresh[name]) for name in "ab"
        ]
        with Stream(tagger, cameras) as stream:
            seen = {(one.camera, one.frame.sequence): one.regions for one in observations(stream)}
            stats = stream.stats()
        assert stats["b"].computed == stats["a"].tiles == 80
        # both at first, the left one for a while after an object
        assert 4 <= stats["a"].computed <= 20
        for n, half in itertools.product(range(40), halves):
            np.testing.assert_array_equal(seen["a", n][half].logits, seen["b", n][half].logits)

    @pytest.mark.slow
    def test_other_regions_are_computed(self, tagger: Tagger, still_clip: Path) -> None:
        with Stream(tagger, [Camera("a", str(still_clip), refresh=1000)]) as stream:
            for event in stream:
                if isinstance(event, Observation) and event.frame.sequence == 20:
                    stream.replace(
                        Camera(
                            "a", str(still_clip), refresh=1000, region=(0, 0, 1, 1), tiles=(2, 1)
                        )
                    )
            assert stream.stats()["a"].tiles > 40

    @pytest.mark.slow
    def test_a_frame_that_failed_is_not_kept(
        self, plan: Path, still_clip: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Tagger(plan) as tagger:
            real, failures = tagger.predict_async, iter([False] * 5 + [True])

            def failing(frame: Any, **options: Any) -> Any:
                if next(failures, False):
                    frame = frame.astype(np.float32)
                return real(frame, **options)

            monkeypatch.setattr(tagger, "predict_async", failing)
            with Stream(tagger, [Camera("a", str(still_clip), refresh=1000)]) as stream:
                assert len(observations(stream)) == 39
                assert stream.stats()["a"].failed == 1

    def test_what_waits_for_too_slow_an_engine_is_late(
        self, tagger: Tagger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Lagging(StillScene):
            def look(self, pixels: Any, color: Any, now: float, portion: float = 1.0) -> Look:
                return Look(pixels, color, now, lag=30.0)

        monkeypatch.setattr("pvlr_sdk.cameras.stream.work.StillScene", Lagging)
        with Stream(
            tagger, [Camera("a", "test://?size=160x120&fps=50&frames=3", refresh=1)], staleness=20
        ) as stream:
            seen = observations(stream)
            assert stream.stats()["a"].late == len(seen) > 0
        assert all(one.late and 30 <= one.age < 50 for one in seen)

    @pytest.mark.parametrize("refresh", [0, -1, float("inf"), float("nan")])
    def test_bad_seconds(self, refresh: float) -> None:
        with pytest.raises(errors.OptionError, match="refresh: expected seconds, above 0"):
            Camera("a", "test://", refresh=refresh)
