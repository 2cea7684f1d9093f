"""Results: tags, scores, attention maps and drawings."""

from __future__ import annotations

import base64
import gc
import json
import pickle
import re
import weakref
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvlr_sdk import errors
from pvlr_sdk.bundle.manifest import AttentionSpec
from pvlr_sdk.result import FrameReference, LabelSpace, TagResult, sigmoid

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
    reference: FrameReference | None = None,
) -> TagResult:
    space = LabelSpace(NAMES, AttentionSpec(rows=ROWS, columns=COLUMNS, alpha=2.0), (64, 96))
    if similarity is None:
        similarity = np.random.default_rng(0).normal(size=(ROWS * COLUMNS, 3)).astype(np.float32)
    limits = np.array(thresholds or [0.5] * 3, np.float32)
    return TagResult(
        space,
        np.array(logits, np.float32),
        similarity,
        limits,
        top_k,
        frame_size,
        region,
        reference,
    )


class TestParents:
    PARENTS = {"cat": ("animal", "being"), "person": ("being",), "cup": ("person", "being")}  # noqa: RUF012

    def test_a_parent_has_the_best_score_of_all_below_it(self) -> None:
        tagged = result([2.0, 1.0, -1.0], thresholds=[0.95, 0.6, 0.9])  # only the cat is a tag
        person, cat, _ = tagged.scores.tolist()
        tagged.roll_up(self.PARENTS)
        tags = {tag.label: tag for tag in tagged}
        assert list(tags) == ["being", "cat", "animal"]
        assert tags["being"].score == person > tags["animal"].score == cat
        assert tags["being"].threshold == tags["cat"].threshold
        assert tags["being"].margin == pytest.approx(person - 0.6)
        assert [tag["label"] for tag in tagged.to_dict()["tags"]] == ["being", "cat", "animal"]
        assert len(tagged.scores) == 3

    def test_a_label_that_is_a_parent_is_at_least_what_is_below_it(self) -> None:
        tagged = result([0.0, -5.0, 3.0], thresholds=[0.4, 0.5, 0.5])
        tagged.roll_up(self.PARENTS)
        tags = {tag.label: tag.score for tag in tagged}
        assert tags["person"] == tags["cup"] > 0.9
        assert set(tags) == {"person", "cup", "being"}

    def test_without_tags_there_are_no_parents(self) -> None:
        tagged = result([-3.0, -3.0, -3.0])
        tagged.roll_up(self.PARENTS)
        assert tagged.tags == ()

    def test_the_best_label_is_drawn_with_its_map(self) -> None:
        frame = np.zeros((40, 60, 3), np.uint8)
        tagged = result([2.0, 1.0, -1.0], thresholds=[0.95, 0.6, 0.9])
        tagged.roll_up(self.PARENTS)
        assert tagged.draw(frame, heatmap=True).shape[2] == 3

    @given(st.lists(st.floats(-9, 9, width=32), min_size=3, max_size=3))
    def test_any_scores(self, logits: list[float]) -> None:
        tagged = result(logits)
        tagged.roll_up(self.PARENTS)
        scores = {tag.label: tag.score for tag in tagged}
        for label, parents in self.PARENTS.items():
            for parent in parents:
                if label in scores:
                    assert scores[parent] >= scores[label]


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

    def test_behaves_like_a_mapping_of_labels(self) -> None:
        one = result([1.0, 3.0, -1.0])
        assert "cat" in one
        assert one[0] in one
        assert "cup" not in one
        assert "dog" not in one
        assert one["cat"] == one[0]
        assert one["cup"].score == pytest.approx(1 / (1 + np.e))
        assert one["cup"].margin == pytest.approx(one["cup"].score - 0.5)
        assert one[:1] == one.tags[:1]
        assert one.scores_by_label == pytest.approx(
            {"person": 0.7310586, "cat": 0.9525741, "cup": 0.2689414}
        )
        assert json.loads(json.dumps(one.to_dict(all_scores=True)))["scores"] == one.scores_by_label
        assert "scores" not in one.to_dict()
        with pytest.raises(errors.UnknownLabelError, match="cat"):
            one["cats"]

    @given(st.lists(st.floats(-120, 120, width=32), min_size=3, max_size=3), st.integers(1, 4))
    def test_against_the_definition(self, logits: list[float], top_k: int) -> None:
        one = result(logits, thresholds=[0.3, 0.5, 0.7], top_k=top_k)
        scores = one.scores.tolist()
        limits = np.array([0.3, 0.5, 0.7], np.float32).tolist()
        order = sorted(
            (i for i in range(3) if scores[i] >= limits[i]), key=lambda i: (-scores[i], i)
        )
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

    @pytest.mark.parametrize("resolution", ["frame", (9, 31)])
    def test_resolution_is_torchs_bilinear_interpolation(
        self, resolution: Literal["frame"] | tuple[int, int]
    ) -> None:
        torch = pytest.importorskip("torch")
        one = result([0, 0, 0], frame_size=(45, 77))
        grid = torch.from_numpy(one.attention("cup", "grid"))[None, None]
        size = one.frame_size if resolution == "frame" else resolution
        expected = torch.nn.functional.interpolate(grid, size, mode="bilinear", align_corners=False)
        np.testing.assert_allclose(
            one.attention("cup", resolution), expected[0, 0].numpy(), atol=1e-6
        )

    def test_letterbox_is_undone(self) -> None:
        """A wide frame in the middle of the input: the bars' tokens must not show, the frame's must lie in place."""
        similarity = np.full((ROWS * COLUMNS, 3), -9, np.float32)
        similarity.reshape(ROWS, COLUMNS, 3)[1, 0] = 9  # the frame's upper left quarter of a row
        similarity.reshape(ROWS, COLUMNS, 3)[0, 5] = 8  # in the bar above
        one = result(
            [0, 0, 0], similarity=similarity, frame_size=(100, 300), region=(0, 16, 96, 32)
        )
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
    @pytest.mark.parametrize(
        ("height", "width"), [(300, 400), (1080, 1920), (240, 2000), (2000, 300)]
    )
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
        from pvlr_sdk.result import Tag
        from pvlr_sdk.result.drawing import draw_tags

        scores = (1.0, 0.5, 0.25)
        drawn = draw_tags(
            np.zeros((400, 400, 3), np.uint8),
            "bgr",
            [Tag("label", score, 0.1, 0) for score in scores],
        )
        green = ((drawn[:, :, 1] > 150) & (drawn[:, :, 0] < 120)).sum(axis=1)
        lengths = [int(length) for length in sorted(set(green.tolist()), reverse=True)][:3]
        assert lengths[1] / lengths[0] == pytest.approx(0.5, abs=0.02)
        assert lengths[2] / lengths[0] == pytest.approx(0.25, abs=0.02)

    def test_color_order(self) -> None:
        frame = np.zeros((300, 300, 3), np.uint8)
        frame[:, :, 0] = 255
        assert (result([0, 0, 0]).draw(frame, color="rgb")[-1, -1] == [0, 0, 255]).all()

    def test_more_tags_than_room(self) -> None:
        from pvlr_sdk.result import Tag
        from pvlr_sdk.result.drawing import draw_tags

        tags = [Tag(f"label {number}", 0.9, 0.5, 0.4) for number in range(200)]
        assert draw_tags(np.zeros((300, 300, 3), np.uint8), "bgr", tags).shape == (300, 300, 3)


class TestHtml:
    @staticmethod
    def of(frame: object, color: str = "bgr") -> str:
        return result([1.0, 3.0, -1.0], reference=FrameReference.of(frame, color))._repr_html_()

    @staticmethod
    def picture(html: str) -> np.ndarray:
        import cv2

        (data,) = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
        return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)

    def test_bars_are_as_long_as_the_scores(self) -> None:
        html = result([1.0, 3.0, -1.0], thresholds=[0.5, 0.9, 0.2])._repr_html_()
        assert "<img" not in html
        assert html.index("cat") < html.index("person") < html.index("cup")
        assert re.findall(r"width:([\d.]+)%", html) == ["95.3", "73.1", "26.9"]
        assert re.findall(r"left:([\d.]+)%", html) == ["90.0", "50.0", "20.0"]

    def test_self_contained_and_every_element_is_closed(self) -> None:
        frame = np.zeros((90, 160, 3), np.uint8)
        html = self.of(frame)
        assert not re.search(r"<script|<link|https?:|url\(", html)
        still_open: list[str] = []
        parser = HTMLParser()
        parser.handle_starttag = lambda tag, attrs: still_open.append(tag) if tag != "img" else None  # type: ignore[method-assign]
        parser.handle_endtag = lambda tag: still_open.remove(tag)  # type: ignore[method-assign]
        parser.feed(html)
        assert still_open == []

    def test_labels_are_escaped(self) -> None:
        space = LabelSpace(
            ("<script>alert(1)</script>", 'a"&b'),
            AttentionSpec(rows=1, columns=1, alpha=1.0),
            (8, 8),
        )
        ones, none = np.ones(2, np.float32), np.zeros(2, np.float32)
        html = TagResult(space, ones, none[None], none, None, (8, 8), (0, 0, 8, 8))._repr_html_()
        assert "<script>" not in html
        assert "a&quot;&amp;b" in html

    def test_no_tags_and_too_many(self) -> None:
        assert "no tags" in result([-9.0, -9.0, -9.0])._repr_html_()
        space = LabelSpace(
            tuple(f"n{i}" for i in range(50)), AttentionSpec(rows=1, columns=1, alpha=1.0), (8, 8)
        )
        ones, none = np.ones(50, np.float32), np.zeros(50, np.float32)
        html = TagResult(space, ones, none[None], none, None, (8, 8), (0, 0, 8, 8))._repr_html_()
        assert html.count("title=") == 20
        assert "... and 30 more" in html

    @pytest.mark.parametrize(
        ("height", "width", "shown"),
        [(900, 1600, (180, 320)), (40, 30, (40, 30)), (1, 5000, (1, 320))],
    )
    def test_an_array_at_320_pixels_at_most(
        self, height: int, width: int, shown: tuple[int, int]
    ) -> None:
        frame = np.full((height, width, 3), (200, 100, 50), np.uint8)
        picture = self.picture(self.of(frame))
        assert picture.shape == (*shown, 3)
        assert abs(picture.mean(axis=(0, 1)) - (200, 100, 50)).max() < 4
        assert abs(self.picture(self.of(frame, "rgb")).mean(axis=(0, 1)) - (50, 100, 200)).max() < 4

    def test_a_file_and_a_pil_image(self, tmp_path: Path) -> None:
        from PIL import Image

        image = Image.new("RGB", (64, 48), (200, 100, 50))
        image.save(tmp_path / "a.png")
        for frame in (tmp_path / "a.png", str(tmp_path / "a.png"), image):
            assert self.picture(self.of(frame)).shape == (48, 64, 3)

    def test_a_frame_that_is_gone_leaves_the_bars(self, tmp_path: Path) -> None:
        for frame in (tmp_path / "deleted.jpg", b"encoded", object(), np.zeros((2, 2))):
            html = self.of(frame)
            assert "<img" not in html
            assert "cat" in html

    def test_keeps_no_pixels_alive(self) -> None:
        frame = np.zeros((90, 160, 3), np.uint8)
        gone = weakref.ref(frame)
        one = result([1.0, 3.0, -1.0], reference=FrameReference.of(frame, "bgr"))
        assert "<img" in one._repr_html_()
        del frame
        gc.collect()
        assert gone() is None
        assert "<img" not in one._repr_html_()

    def test_survives_pickling_without_the_frame(self) -> None:
        frame = np.zeros((90, 160, 3), np.uint8)
        one = result([1.0, 3.0, -1.0], reference=FrameReference.of(frame, "bgr"))
        again = pickle.loads(pickle.dumps(one))
        assert again.tags == one.tags
        assert "<img" not in again._repr_html_()

    def test_every_way_to_predict_shows_the_frame(self, plan: Path, photo: np.ndarray) -> None:
        from pvlr_sdk import Tagger

        with Tagger(plan) as tagger:
            results = [
                tagger.predict(photo),
                *tagger.predict_batch([photo, photo]),
                *tagger.predict_stream([photo]),
            ]
            assert all("<img" in one._repr_html_() for one in results)
