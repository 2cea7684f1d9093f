"""Tagging in tiles: each tile is what ``predict`` gives for that part, and the best one counts half."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pvlr_sdk import Camera, LabelBank, Tagger, errors
from pvlr_sdk.cameras.events import EventDetector
from pvlr_sdk.labels.moving import move
from pvlr_sdk.result.tags import corrected_thresholds
from tests.manifests import edit_manifest

FRAME = np.random.default_rng(3).integers(0, 256, (61, 83, 3), np.uint8)


def alone(
    tagger: Tagger, frame: np.ndarray, region: tuple[int, int, int, int], color: Any = "bgr"
) -> np.ndarray:
    """The logits of a region as a frame of its own."""
    left, top, width, height = region
    cut = frame[top : top + height, left : left + width]
    if color in ("nv12", "i420"):
        rows = frame.shape[0] * 2 // 3
        chroma = frame[rows:]
        if color == "nv12":
            parts = [chroma[top // 2 : (top + height) // 2, left : left + width]]
        else:
            planes = chroma.reshape(2, rows // 2, -1)
            half = np.s_[top // 2 : (top + height) // 2, left // 2 : (left + width) // 2]
            parts = [planes[0][half].ravel(), planes[1][half].ravel()]
        cut = np.concatenate([part.reshape(-1) for part in (cut, *parts)]).reshape(
            height * 3 // 2, width
        )
    return tagger.predict(np.ascontiguousarray(cut), color=color).logits


@pytest.mark.parametrize("optimize", ["latency", "throughput"])
@pytest.mark.parametrize("layout", [(2, 1), (2, 2), (3, 2), (4, 4)])
def test_each_tile_is_that_part_alone_and_the_best_counts_half(
    plan: Path, optimize: Any, layout: Any
) -> None:
    with Tagger(plan, optimize=optimize) as tagger:
        result = tagger.predict(FRAME, tiles=layout)
        assert len(result.tiles) == 1 + layout[0] * layout[1]
        for region, part in result.tiles:
            np.testing.assert_array_equal(part.logits, alone(tagger, FRAME, region))
        whole, *parts = [part.logits for _, part in result.tiles]
        mean = (whole + np.max(parts, axis=0)) / 2
        np.testing.assert_array_equal(result.logits, mean)
        assert result.frame_size == FRAME.shape[:2]
        assert result.timing["total"] > 0
        assert min(result.timing.values()) >= 0


@pytest.mark.parametrize(
    "view", [np.s_[:, :, 0], np.s_[::-1], np.s_[:, ::-1], np.s_[::2, 5:], np.s_[:, :, ::-1]]
)
def test_frames_of_any_strides(tagger: Tagger, view: Any) -> None:
    frame = FRAME[view]
    for region, part in tagger.predict(frame, tiles=(2, 2)).tiles:
        np.testing.assert_array_equal(part.logits, alone(tagger, frame, region))


@pytest.mark.parametrize("color", ["nv12", "i420"])
def test_yuv_frames(tagger: Tagger, color: Any) -> None:
    frame = np.random.default_rng(4).integers(0, 256, (50 * 3 // 2, 62), np.uint8)
    result = tagger.predict(frame, color=color, tiles=(3, 2))
    for region, part in result.tiles:
        np.testing.assert_array_equal(part.logits, alone(tagger, frame, region, color))
        assert part.frame_size == (region[3], region[2])
    with pytest.raises(errors.ImageSizeError):
        tagger.predict(frame[:3, :4], color=color, tiles=(2, 2))


def test_nothing_is_copied(tagger: Tagger, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []
    call = type(tagger._plan.inference.preprocess).__call__
    monkeypatch.setattr(
        "pvlr_sdk.frames.preprocess.Preprocessor.__call__",
        lambda self, pixels, *rest: (seen.append(pixels), call(self, pixels, *rest))[1],
    )
    tagger.predict(FRAME, tiles=(3, 2))
    assert len(seen) == 7
    assert all(np.shares_memory(pixels, FRAME) for pixels in seen)


def test_every_way_to_predict(plan: Path, tagger: Tagger, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), FRAME)
    expected = tagger.predict(FRAME, tiles=(2, 2))
    assert not tagger.predict(FRAME, tiles=(1, 1)).tiles
    assert not tagger.predict(FRAME).tiles
    np.testing.assert_array_equal(
        tagger.predict_async(FRAME, tiles=(2, 2)).result().logits, expected.logits
    )
    cv2.imwrite(str(tmp_path / "thin.png"), FRAME[:1])
    frames = [tmp_path / "a.png", FRAME[:1], FRAME, FRAME[:40, :40], tmp_path / "thin.png"]
    outcomes = list(tagger.predict_stream(frames, tiles=(2, 2)))
    assert isinstance(outcomes[1], errors.ImageSizeError)
    assert str(outcomes[4]).startswith(
        f"frame '{tmp_path}/thin.png': expected at least 4 x 4 pixels for 2 x 2 tiles"
    )
    for outcome, frame in zip(outcomes, frames, strict=True):
        if isinstance(frame, np.ndarray) and len(frame) > 1:
            np.testing.assert_array_equal(
                outcome.logits, tagger.predict(frame, tiles=(2, 2)).logits
            )
    np.testing.assert_array_equal(outcomes[0].logits, expected.logits)
    with pytest.raises(errors.ImageSizeError):
        tagger.predict_batch([FRAME[:1]], tiles=(2, 2))
    with Tagger(plan, precision="fp32", tiles=(2, 2), reduced_jpeg=True) as made:
        again = pickle.loads(pickle.dumps(made))
        for one in (made, again):
            np.testing.assert_array_equal(one.predict(FRAME).logits, expected.logits)
            assert not one.predict(FRAME, tiles=(1, 1)).tiles
        again.close()
    restored = pickle.loads(pickle.dumps(expected))
    np.testing.assert_array_equal(restored.attention("cat"), expected.attention("cat"))


def test_bad_tiles(plan: Path, tagger: Tagger) -> None:
    for call in (tagger.predict, tagger.predict_async, tagger.predict_batch, tagger.predict_stream):
        with pytest.raises(errors.OptionError, match="tiles"):
            call(
                [FRAME] if "batch" in call.__name__ or "stream" in call.__name__ else FRAME,
                tiles=(0, 1),
            )
    for tiles in ((100, 100), "3x"):
        with pytest.raises(errors.OptionError, match="tiles"):
            Tagger(plan, tiles=tiles)
    with pytest.raises(errors.OptionError, match="tiles"):
        Camera("a", "test://", tiles=(0, 1))


def test_nan_in_a_tile_is_an_error(plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Tagger(plan) as tagger:
        slot = type(tagger._plan.backend.acquire())  # type: ignore[union-attr]
        wait, count = slot.wait, 0

        def poisoned(self: Any) -> Any:
            nonlocal count
            count += 1
            logits, similarity = wait(self)
            return (logits.copy() if count != 3 else np.full_like(logits, -np.inf)), similarity

        monkeypatch.setattr(slot, "wait", poisoned)
        with pytest.raises(errors.NonFiniteError):
            tagger.predict(FRAME, tiles=(2, 2))


class TestAttention:
    def test_a_point_has_the_largest_weight_of_all_tiles(self, tagger: Tagger) -> None:
        result = tagger.predict(FRAME, tiles=(2, 1))
        label = tagger.labels.index("cat")
        united = result.attention("cat")
        assert united.shape == FRAME.shape[:2]
        expected = np.zeros_like(united)
        for (left, top, width, height), part in result.tiles:
            there = expected[top : top + height, left : left + width]
            np.maximum(there, part.attention("cat") * part.scores[label], out=there)
        np.testing.assert_array_equal(united, expected)

    def test_the_grid_has_all_tiles_and_any_size_is_possible(self, tagger: Tagger) -> None:
        result, spec = tagger.predict(FRAME, tiles=(3, 2)), tagger._plan.space.attention
        grid = result.attention("cat", "grid")
        assert grid.shape == (2 * spec.rows, 3 * spec.columns)
        assert grid.sum() == pytest.approx(1, abs=1e-5)
        for size in ((1, 1), (1, 7), (5, 1), (512, 512)):
            assert result.attention("cat", size).shape == size
            assert (result.attention("cat", size) > 0).all()
        assert result.draw(FRAME, heatmap="cat").shape[2] == 3


class TestThresholds:
    def test_they_are_corrected_where_none_were_measured(self, plan: Path, tagger: Tagger) -> None:
        plain = tagger.thresholds
        odds = plain / (1 - plain) * 5**0.25
        corrected = tagger.predict(FRAME, tiles=(2, 2)).thresholds
        np.testing.assert_allclose(corrected, odds / (1 + odds), rtol=1e-6)
        np.testing.assert_array_equal(corrected, corrected_thresholds(plain, 4))
        np.testing.assert_array_equal(tagger.predict(FRAME, tiles=(1, 1)).thresholds, plain)
        assert (tagger.predict(FRAME, tiles=(4, 4)).thresholds > corrected).all()
        assert (
            tagger.predict(FRAME, tiles=(2, 2), threshold=0.2).thresholds == np.float32(0.2)
        ).all()
        one = tagger.predict(FRAME, tiles=(2, 2), threshold={"cat": 0.2}).thresholds
        assert one[1] == np.float32(0.2)
        assert one[0] == corrected[0]
        with Tagger(plan, threshold={"cat": 0.1}, tiles=(2, 2)) as made:
            assert made.predict(FRAME).thresholds[1] == np.float32(0.1)
            assert made.predict(FRAME).thresholds[0] == corrected[0]

    def test_measured_ones_are_of_one_layout_and_one_operating_point(
        self, two_points: Path
    ) -> None:
        def measured(raw: dict[str, Any]) -> None:
            raw.update(
                format=3, tiles={"2x2": {"f1": [0.5, 0.6, 0.7, 0.8, 0.1], "precise": [0.9] * 5}}
            )

        edit_manifest(two_points, measured)
        with Tagger(two_points) as tagger:
            plain = tagger.thresholds
            expected = np.float32([0.5, 0.6, 0.7, 0.8, plain[4]])  # never below those without tiles
            np.testing.assert_array_equal(tagger.predict(FRAME, tiles=(2, 2)).thresholds, expected)
            np.testing.assert_array_equal(
                tagger.predict(FRAME, tiles=(3, 2)).thresholds, corrected_thresholds(plain, 6)
            )
            np.testing.assert_array_equal(tagger.predict(FRAME).thresholds, plain)
        with Tagger(two_points, operating_point="precise") as tagger:
            expected = np.maximum(tagger.thresholds, np.float32(0.9))
            np.testing.assert_array_equal(tagger.predict(FRAME, tiles=(2, 2)).thresholds, expected)

    def test_measured_ones_hold_for_each_label_that_is_as_in_the_plan(self) -> None:
        with Tagger(operating_point="precise", tiles=(2, 2)) as tagger:
            measured = tagger.predict(FRAME).thresholds
            corrected = corrected_thresholds(tagger.thresholds, 4)
            bank = tagger.label_bank
            car = bank.names.index("car")
            others = np.arange(len(bank)) != car
            assert (measured[others] != corrected[others]).mean() > 0.9
            change = np.zeros(1280)
            change[0] = -1
            tagger.set_labels(move(bank, "car", change, tagger.info["features"], "event"))
            now = tagger.predict(FRAME).thresholds
            np.testing.assert_array_equal(now[others], measured[others])
            assert now[car] == corrected[car]
            tagger.set_labels(bank)
            np.testing.assert_array_equal(tagger.predict(FRAME).thresholds, measured)
            raised = tagger.thresholds.copy()
            raised[car] = 0.99
            values = {"biases": bank.biases, "gains": bank.gains, "precise_thresholds": raised}
            tagger.set_labels(
                LabelBank(bank.names, bank.embeddings, bank.thresholds, bank.text, **values)
            )
            now = tagger.predict(FRAME).thresholds
            np.testing.assert_array_equal(now[others], measured[others])
            assert now[car] == corrected_thresholds(raised[[car]], 4)[0]
            tagger.set_labels(
                bank.select(["car", "person"])
            )  # they share their attention with fewer
            np.testing.assert_array_equal(
                tagger.predict(FRAME).thresholds, corrected_thresholds(tagger.thresholds, 4)
            )

    def test_events_use_them(self, tagger: Tagger) -> None:
        detector = EventDetector("door", ["cat", "dog"], [0.3, 0.5])
        detector.update(0, 0, [0.9, 0.9])
        assert [limit for _, limit in detector.levels.values()] == [0.3, 0.5]
        detector.update(1, 1, [0.9, 0.9], None, [0.6, 0.4])
        assert [limit for _, limit in detector.levels.values()] == [0.6, 0.5]
        detector.use(detector.prepare(detector._rules.settings, [0.7, 0.5]))
        assert [limit for _, limit in detector.levels.values()] == [0.7, 0.5]
        detector.update(2, 2, [0.9, 0.9])
        assert [limit for _, limit in detector.levels.values()] == [0.7, 0.5]

    def test_a_score_between_both_is_no_event_with_tiles(self) -> None:
        for thresholds, expected in ((None, 1), ([0.8], 0)):
            detector = EventDetector("door", ["cat"], [0.5])
            events = [detector.update(n, n, [0.7], None, thresholds) for n in range(5)]
            assert sum(map(len, events)) == expected
