"""Spans of a video: which frames are computed, and what becomes of their scores."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from pvlr_sdk import errors
from pvlr_sdk.cameras.stream.video import FrameChooser, SpanFinder, tag_video
from pvlr_sdk.frames.find import InputFrame
from pvlr_sdk.result import Tag

DARK = np.full((90, 120, 3), 40, np.uint8)
LIGHT = np.full((90, 120, 3), 200, np.uint8)


def chosen(frames, rate):
    chooser = FrameChooser()
    return [row for row, pixels in enumerate(frames) if chooser.takes(pixels, row / rate)]


def moving(count):
    """A square that moves by its own size in each frame."""
    frames = []
    for row in range(count):
        frame = DARK.copy()
        left = 10 * (row % 11)
        frame[40:50, left : left + 10] = 255
        frames.append(frame)
    return frames


def test_a_still_scene_is_computed_once_a_second():
    assert chosen([DARK] * 100, rate=25) == [0, 25, 50, 75]


def test_a_cut_is_computed_at_once():
    frames = [DARK] * 40 + [LIGHT] * 60
    assert 40 in chosen(frames, rate=25)


def test_a_moving_scene_is_computed_twice_a_second():
    rows = chosen(moving(100), rate=25)
    assert set(np.diff(rows)) == {13}  # the first frame after half a second


@pytest.mark.parametrize("rate", [2, 5, 12.5, 30])
@pytest.mark.parametrize("count", [1, 4, 5, 6, 100, 1000])
def test_at_most_every_fifth_frame_is_computed(rate, count):
    rows = chosen(moving(count), rate)
    assert rows[0] == 0
    assert len(rows) <= -(-count // 5)


def test_a_small_object_in_a_still_scene_is_a_change():
    frames = [DARK] * 20 + moving(1) * 20
    assert 20 in chosen(frames, rate=25)


def test_a_cut_has_its_time_also_where_it_is_computed_later():
    chooser = FrameChooser()
    frames = [DARK] * 6 + [LIGHT] * 4 + moving(1) * 10
    taken = {}
    for row, pixels in enumerate(frames):
        if chooser.takes(pixels, row / 10):
            taken[row] = chooser.changed_at
    assert taken == {0: 0.0, 6: 0.6, 11: 1.0}


def test_a_span_begins_and_ends_where_the_scene_changed():
    finder = SpanFinder(["cat"], [0.5])
    changed = [0.0, 0.2, 1.1, 2.3, 3.9]
    for row, score in enumerate([0.0, 0.9, 0.9, 0.0, 0.0]):  # one per second
        seconds = finder.look(InputFrame("clip.mp4", DARK, row, float(row)))
        tags = [Tag("cat", score, 0.5, score - 0.5)] if score else []
        scores = np.array([score], np.float32)
        result = SimpleNamespace(tags=tags, scores=scores, thresholds=np.array([0.5]), plan="")
        finder.add(row, seconds, result, changed[row])
    (span,) = finder.close().spans
    assert (span.start, span.end, span.best) == (0.2, 2.3, 2.0)


def spans_of(scores, *, step=0.5, looked=1, settings=None, labels=("cat", "dog")):
    """The spans of frames with these scores of the first label; the second one has none."""
    finder = SpanFinder(labels, [0.5, 0.5], settings)
    for row, score in enumerate(scores):
        for part in range(looked):
            index = row * looked + part
            frame = InputFrame("clip.mp4", DARK, index, index * step / looked)
            seconds = finder.look(frame)
            if part == 0:
                both = np.array([score, 0.0], np.float32)
                tags = [Tag("cat", score, 0.5, score - 0.5)] if score >= 0.5 else []
                result = SimpleNamespace(
                    tags=tags, scores=both, thresholds=np.array([0.5, 0.5]), plan="abc"
                )
                finder.add(index, seconds, result)
    return finder.close()


def test_a_span_has_its_times_best_frame_and_share():
    video = spans_of([0, 0, 0, 0.9, 0.95, 0.9, 0.9, 0, 0, 0, 0], looked=5)
    (span,) = video.spans
    assert (span.label, span.best, span.frame, span.threshold) == ("cat", 2.0, 20, 0.5)
    assert (span.start, span.score) == (1.5, pytest.approx(0.95))
    assert 3.5 <= span.end <= 4.0
    assert video.seconds == pytest.approx(5.4)
    assert span.share == pytest.approx((span.end - span.start) / 5.4)
    assert (video.frames, video.computed, video.plan) == (55, 11, "abc")
    assert [tag.label for tag in video.tags] == ["cat"]


@pytest.mark.parametrize("step", [0.1, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("row", [0, 3, 7])
def test_a_single_frame_is_no_span(step, row):
    scores = np.zeros(8)
    scores[row] = 1.0
    video = spans_of(scores.tolist(), step=step)
    assert video.spans == []
    assert video.tags == ()


def test_a_single_frame_is_no_span_with_a_low_threshold_either():
    """The average of one frame stays above it for a second."""
    finder = SpanFinder(["cat"], [0.1])
    for row, score in enumerate([0, 0, 1, 0, 0, 0, 0, 0, 0, 0]):
        frame = InputFrame("clip.mp4", DARK, row, row * 0.5)
        seconds = finder.look(frame)
        tags = [Tag("cat", 1.0, 0.1, 0.9)] if score else []
        scores = np.array([score], np.float32)
        result = SimpleNamespace(tags=tags, scores=scores, thresholds=np.array([0.1]), plan="")
        finder.add(row, seconds, result)
    assert finder.close().spans == []


def test_a_span_lasts_to_the_end_of_the_video():
    video = spans_of([0, 0.9, 0.9, 0.9], looked=10)
    (span,) = video.spans
    assert span.end == pytest.approx(1.95)
    assert video.seconds == pytest.approx(1.95)


def test_two_spans_are_one_tag_with_the_best_score():
    video = spans_of([0.8] * 4 + [0] * 6 + [0.9] * 4)
    assert [span.score for span in video.spans] == [pytest.approx(0.8), pytest.approx(0.9)]
    assert [(tag.label, tag.score) for tag in video.tags] == [("cat", pytest.approx(0.9))]
    video.roll_up({"cat": ["animal"], "dog": ["animal"]})
    assert {tag.label: tag.score for tag in video.tags} == {
        "cat": pytest.approx(0.9),
        "animal": pytest.approx(0.9),
    }


def test_a_video_without_times_is_an_error():
    with pytest.raises(errors.ImageDecodeError, match=r"clip\.mp4: expected .* times"):
        SpanFinder(["cat"], [0.5]).look(InputFrame("clip.mp4", DARK, 1, None))


def test_a_video_is_read_whole_and_computed_in_part(tagger, make_clip):
    clip = make_clip(60, step=0, fps=10)
    read = []
    video = tag_video(tagger, clip, on_frame=lambda: read.append(1))
    assert len(read) == video.frames == 60
    assert 2 <= video.computed <= 12
    assert video.seconds == pytest.approx(5.9)
    fewer = tag_video(tagger, clip, fps=2)
    assert (fewer.frames, fewer.computed) == (12, 3)
    assert video.plan == tagger.info["sha256"]


def test_bad_videos_are_typed_errors(tagger, tmp_path, make_clip):
    with pytest.raises(errors.ImageNotFoundError):
        tag_video(tagger, tmp_path / "gone.mp4")
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(errors.ImageDecodeError):
        tag_video(tagger, tmp_path / "bad.mp4")
    clip = make_clip(100, step=1, size=(320, 240))
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    with pytest.raises(errors.ImageDecodeError):
        tag_video(tagger, clip)
