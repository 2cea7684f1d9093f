"""Results: tags, scores, attention maps and drawings."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvlr_sdk import errors
from pvlr_sdk.manifest import AttentionSpec
from pvlr_sdk.result import LabelSpace, TagResult, sigmoid

NAMES = ("person", "cat", "cup")
ROWS, COLUMNS = 4, 6


def result(
    logits: list[float],
    *,
    thresholds: list[float] | None = None,
    top_k: int | None = None,
    similarity: np.ndarray | None = None,
    frame_size: tuple[int, int] = (40, 60),
    region: tuple[int, int, int, int] = (0, 0, 96, 64),
) -> TagResult:
    space = LabelSpace(NAMES, AttentionSpec(rows=ROWS, columns=COLUMNS, alpha=2.0), (64, 96))
    if similarity is None:
        similarity = np.random.default_rng(0).normal(size=(ROWS * COLUMNS, 3)).astype(np.float32)
    limits = np.array(thresholds or [0.5] * 3, np.float32)
    return TagResult(space, np.array(logits, np.float32), similarity, limits, top_k, frame_size, region)


class TestTags:
    def test_by_score_with_margins(self) -> None:
        tags = result([1.0, 3.0, -1.0], thresholds=[0.5, 0.9, 0.2]).tags
        assert [tag.label for tag in tags] == ["cat", "person", "cup"]
        for tag, logit, threshold in zip(tags, [3.0, 1.0, -1.0], [0.9, 0.5, 0.2], strict=True):
            assert tag.score == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-6)
            assert tag.threshold == pytest.approx(threshold)
            assert tag.margin == pytest.approx(tag.score - threshold, abs=1e-6)
            assert all(type(value) is float for value in tag[1:])

    def test_a_score_that_equals_its_threshold_is_a_tag(self) -> None:
        assert [tag.label for tag in result([0.0, -0.001, 0.0])] == ["person", "cup"]

    def test_behaves_like_a_sequence(self) -> None:
        one = result([1.0, 3.0, -1.0])
        assert len(one) == 2
        assert list(one) == [one[0], one[1]]
        assert one[0].label == "cat"
        assert "cat 0.95" in repr(one)
        assert result([-9.0, -9.0, -9.0])  # true, though it has no tags
        assert len(result([-9.0, -9.0, -9.0])) == 0

    @given(st.lists(st.floats(-120, 120, width=32), min_size=3, max_size=3), st.integers(1, 4))
    def test_against_the_definition(self, logits: list[float], top_k: int) -> None:
        one = result(logits, thresholds=[0.3, 0.5, 0.7], top_k=top_k)
        scores = one.scores.tolist()
        limits = np.array([0.3, 0.5, 0.7], np.float32).tolist()
        order = sorted((i for i in range(3) if scores[i] >= limits[i]), key=lambda i: (-scores[i], i))
        assert [tag.label for tag in one] == [NAMES[i] for i in order[:top_k]]

    def test_sigmoid_is_float32_and_never_overflows(self) -> None:
        logits = np.array([-1e4, -100, -1, 0, 1, 100, 1e4], np.float32)
        with np.errstate(all="raise", under="ignore"):
            scores = sigmoid(logits)
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, [0, 0, 0.26894142, 0.5, 0.73105858, 1, 1], atol=1e-7)

    def test_to_dict_is_json(self) -> None:
        one = result([1.0, 3.0, -1.0])
        one.timing = {"decode": 0.12345, "total": 1.0}
        again = json.loads(json.dumps(one.to_dict()))
        assert again["timing_ms"] == {"decode": 0.123, "total": 1.0}
        assert again["tags"][0] == {"label": "cat", "score": one[0].score, "threshold": 0.5}

    def test_survives_pickling(self) -> None:
        one = result([1.0, 3.0, -1.0])
        again = pickle.loads(pickle.dumps(one))
        assert again.tags == one.tags
        np.testing.assert_array_equal(again.attention("cat"), one.attention("cat"))


class TestAttention:
    def test_grid_is_the_softmax_over_tokens(self) -> None:
        similarity = np.random.default_rng(3).normal(0, 3, (ROWS * COLUMNS, 3)).astype(np.float32)
        grid = result([0, 0, 0], similarity=similarity).attention("cat", "grid")
        weights = np.exp(2.0 * similarity[:, 1].astype(np.float64))
        assert (grid.shape, grid.dtype) == ((ROWS, COLUMNS), np.float32)
        np.testing.assert_allclose(grid.ravel(), weights / weights.sum(), rtol=1e-5)

    def test_frame_is_torchs_bilinear_interpolation(self) -> None:
        torch = pytest.importorskip("torch")
        one = result([0, 0, 0], frame_size=(45, 77))
        grid = torch.from_numpy(one.attention("cup", "grid"))[None, None]
        expected = torch.nn.functional.interpolate(grid, (45, 77), mode="bilinear", align_corners=False)
        np.testing.assert_allclose(one.attention("cup"), expected[0, 0].numpy(), atol=1e-6)

    def test_any_resolution_is_torchs_bilinear_interpolation(self) -> None:
        torch = pytest.importorskip("torch")
        one = result([0, 0, 0], frame_size=(45, 77))
        grid = torch.from_numpy(one.attention("cup", "grid"))[None, None]
        expected = torch.nn.functional.interpolate(grid, (9, 31), mode="bilinear", align_corners=False)
        np.testing.assert_allclose(one.attention("cup", (9, 31)), expected[0, 0].numpy(), atol=1e-6)

    def test_letterbox_is_undone(self) -> None:
        """A wide frame in the middle of the input: the bars' tokens must not show, the frame's must lie in place."""
        similarity = np.full((ROWS * COLUMNS, 3), -9, np.float32)
        similarity.reshape(ROWS, COLUMNS, 3)[1, 0] = 9  # the frame's upper left quarter of a row
        similarity.reshape(ROWS, COLUMNS, 3)[0, 5] = 8  # in the bar above
        one = result([0, 0, 0], similarity=similarity, frame_size=(100, 300), region=(0, 16, 96, 32))
        heat = one.attention("cat")
        assert heat.shape == (100, 300)
        y, x = np.unravel_index(heat.argmax(), heat.shape)
        assert y < 30
        assert x < 30
        # Row 1 of the grid covers input rows 16..32, which are the frame's upper half.
        assert heat[:45, :20].min() > heat[55:, :].max()

    def test_unknown_label_and_size(self) -> None:
        with pytest.raises(errors.UnknownLabelError):
            result([0, 0, 0]).attention("dog")
        with pytest.raises(errors.OptionError):
            result([0, 0, 0]).attention("cat", "big")  # type: ignore[arg-type]
        for size in ((0, 5), (5,), [5, 5], (5.0, 5)):
            with pytest.raises(errors.OptionError):
                result([0, 0, 0]).attention("cat", size)  # type: ignore[arg-type]


class TestDraw:
    @pytest.mark.parametrize(("height", "width"), [(300, 400), (1080, 1920), (240, 2000), (2000, 300)])
    def test_copy_of_the_same_size(self, height: int, width: int) -> None:
        frame = np.full((height, width, 3), 128, np.uint8)
        drawn = result([1.0, 3.0, -1.0]).draw(frame)
        assert (drawn.shape, drawn.dtype) == (frame.shape, np.uint8)
        assert (frame == 128).all()
        changed = (drawn != 128).any(axis=2)
        assert 0.005 < changed.mean() < 0.6
        assert not changed[-1].any()

    @pytest.mark.parametrize("shape", [(1, 1, 3), (20, 30, 3), (1, 5000, 3), (5000, 2), (9, 8, 4)])
    def test_small_and_odd_frames(self, shape: tuple[int, ...]) -> None:
        drawn = result([1.0, 3.0, -1.0]).draw(np.zeros(shape, np.uint8))
        assert drawn.shape[2] == 3
        assert drawn.shape[0] % shape[0] == 0
        assert drawn.max() > 0 or max(shape) == 5000  # one or two pixels wide: no room for a letter
        assert drawn.nbytes < 40e6

    def test_bars_are_as_long_as_the_scores(self) -> None:
        from pvlr_sdk.drawing import draw_tags
        from pvlr_sdk.result import Tag

        scores = (1.0, 0.5, 0.25)
        drawn = draw_tags(np.zeros((400, 400, 3), np.uint8), "bgr", [Tag("label", score, 0.1, 0) for score in scores])
        green = ((drawn[:, :, 1] > 150) & (drawn[:, :, 0] < 120)).sum(axis=1)
        lengths = [int(length) for length in sorted(set(green.tolist()), reverse=True)][:3]
        assert lengths[1] / lengths[0] == pytest.approx(0.5, abs=0.02)
        assert lengths[2] / lengths[0] == pytest.approx(0.25, abs=0.02)

    def test_color_order(self) -> None:
        frame = np.zeros((300, 300, 3), np.uint8)
        frame[:, :, 0] = 255
        assert (result([0, 0, 0]).draw(frame, color="rgb")[-1, -1] == [0, 0, 255]).all()

    def test_more_tags_than_room(self) -> None:
        from pvlr_sdk.drawing import draw_tags
        from pvlr_sdk.result import Tag

        tags = [Tag(f"label {number}", 0.9, 0.5, 0.4) for number in range(200)]
        assert draw_tags(np.zeros((300, 300, 3), np.uint8), "bgr", tags).shape == (300, 300, 3)
