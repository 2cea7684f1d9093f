"""Annotated video: the files play, with the frames at their capture times."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np
import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.cameras.sinks.video import VideoSink
from pvlr_sdk.cameras.sources import CapturedFrame
from pvlr_sdk.cameras.stream import Observation

av = pytest.importorskip("av")


@pytest.fixture(scope="module")
def result(plan):
    with Tagger(plan, threshold=0.0) as tagger:
        return tagger.predict(np.zeros((240, 320, 3), np.uint8))


def seen(result, moment: float, level: int, shape=(241, 320), order="bgr") -> Observation:
    pixels = np.full((*shape, 3), level, np.uint8)
    return Observation(
        "door",
        CapturedFrame(pixels, order, 100 + moment, 1.75e9 + moment, None, 0),
        result,
        0.1,
        False,
    )


def play(path: Path) -> list[tuple[float, np.ndarray]]:
    with av.open(str(path)) as container:
        return [
            (float(frame.time), frame.to_ndarray(format="bgr24"))
            for frame in container.decode(video=0)
        ]


def test_frames_keep_their_times_and_their_picture(tmp_path, result):
    sink = VideoSink(tmp_path, "door")
    times = [0, 0.04, 0.5, 0.51, 3.0]
    for moment in times:
        sink.write(seen(result, moment, 50 + int(40 * moment)))
    sink.write(seen(result, 3.0, 0))  # the same moment again
    sink.close()
    (path,) = (tmp_path / "pvlr/door").glob("*.mkv")
    assert path.name == "2025-06-15T150640.000Z.mkv"
    frames = play(path)
    assert [time for time, _ in frames] == pytest.approx(times, abs=0.001)
    for moment, frame in frames:
        assert frame.shape == (240, 320, 3)
        assert abs(float(frame[-40:, -40:].mean()) - (50 + int(40 * moment))) < 5
    # The tags are drawn: the panel in the corner is not flat.
    assert frames[0][1][:100, :100].std() > 5


def test_a_new_file_after_some_time_and_for_another_size(tmp_path, result):
    sink = VideoSink(tmp_path, "door", minutes=1 / 60)
    for number in range(25):
        sink.write(seen(result, number / 10, 100, (240, 320) if number < 18 else (480, 640)))
    sink.close()
    lengths = [
        (len(frames), frames[0][1].shape[1])
        for frames in map(play, sorted((tmp_path / "pvlr/door").glob("*.mkv")))
    ]
    assert lengths == [(10, 320), (8, 320), (7, 640)]


@pytest.mark.slow
def test_a_full_disk_costs_frames_and_no_more(small_disk, result):
    sink = VideoSink(small_disk.folder, "door")
    small_disk.fill(leave=40_000)
    random = np.random.default_rng(0)

    def noisy(number: int) -> Observation:
        frame = seen(result, number / 10, 0)
        # nothing to compress
        frame.frame.pixels[:] = random.integers(0, 255, frame.frame.pixels.shape)
        return frame

    with pytest.raises(errors.OutputError):
        deque(map(sink.write, map(noisy, range(300))), maxlen=0)
    with pytest.raises(errors.OutputError, match="a moment ago"):
        sink.write(seen(result, 100, 0))
    small_disk.free()
    sink._not_before = 0
    sink.write(seen(result, 101, 100))
    sink.close()
    assert len(play(sorted(small_disk.folder.glob("pvlr/door/*.mkv"))[-1])) == 1


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(errors.OutputError):
        VideoSink(tmp_path / "file", "door")
