"""Videos, images and folders as sources."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from pvlr_sdk import errors, open_source
from pvlr_sdk.cameras.sources import EndOfSource
from tests.pvlr_sdk.cameras.sources.frames import grey, read_all


@pytest.fixture
def clip(make_clip: Callable[..., Path]) -> Path:
    """30 frames at 10 frames per second."""
    return make_clip(30, step=5)


class TestFiles:
    def test_a_video_gives_what_opencv_reads(self, clip: Path) -> None:
        source = open_source(str(clip))
        assert not source.live
        frames = read_all(source)
        video = cv2.VideoCapture(str(clip))
        for index, frame in enumerate(frames):
            np.testing.assert_allclose(frame.pixels.astype(int), video.read()[1], atol=2)
            assert frame.order == "bgr"
            assert frame.sequence == index
            assert frame.source_time == pytest.approx(index / 10)
            assert abs(frame.captured - time.monotonic()) < 30
            assert abs(frame.wall - time.time()) < 30
        assert len(frames) == 30
        with pytest.raises(EndOfSource):
            source.read()
        source.close()

    @pytest.mark.skipif("PVLR_DATA" not in os.environ, reason="PVLR_DATA is not set")
    def test_an_h264_clip_gives_what_opencv_reads(self) -> None:
        path = os.path.join(os.environ["PVLR_DATA"], "video/car-detection.mp4")
        source, video = open_source(path), cv2.VideoCapture(path)
        for _ in range(20):
            np.testing.assert_array_equal(source.read().pixels, video.read()[1])

    def test_file_urls(self, clip: Path) -> None:
        assert open_source(clip.as_uri()).read().size == (48, 64)

    def test_a_loop_goes_on_in_time_and_number(self, clip: Path) -> None:
        source = open_source(str(clip), loop=True)
        frames = [source.read() for _ in range(70)]
        assert [grey(frame) for frame in frames] == [index % 30 for index in range(70)]
        assert [frame.sequence for frame in frames] == list(range(70))
        times = [frame.source_time for frame in frames]
        np.testing.assert_allclose(times, np.arange(70) / 10, atol=1e-6)

    def test_a_damaged_packet_is_left_out_and_counted(self, clip: Path) -> None:
        data = bytearray(clip.read_bytes())
        starts = [index for index in range(len(data)) if data[index : index + 3] == b"\xff\xd8\xff"]
        end = data.index(b"00dc", starts[7])
        data[starts[7] : end] = bytes(end - starts[7])
        clip.write_bytes(data)
        source = open_source(str(clip))
        assert [grey(frame) for frame in read_all(source)] == [
            index for index in range(30) if index != 7
        ]
        assert source.decode_errors == 1

    def test_pictures_of_a_folder_in_order(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        for index, name in enumerate(("a.png", "b.png", "sub/c.png")):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / name), np.full((4, 6, 3), 5 * index, np.uint8))
        os.mkfifo(tmp_path / "0.png")  # before all others
        source = open_source(str(tmp_path), loop=True)
        assert [grey(source.read()) for _ in range(7)] == [0, 1, 2, 0, 1, 2, 0]
        assert source.decode_errors == 3
        # once
        assert [f"skipped: frame '{tmp_path / '0.png'}'" in text for text in caplog.messages] == [
            True
        ]
        (tmp_path / "0.png").unlink()
        assert open_source(str(tmp_path / "a.png")).read().source_time is None
        source = open_source(str(tmp_path), loop=True)
        assert [source.read().sequence for _ in range(7)] == list(range(7))
        for path in tmp_path.rglob("*.png"):
            path.write_bytes(b"not an image")
        with pytest.raises(errors.SourceOpenError):
            [source.read() for _ in range(7)]

    @pytest.mark.parametrize("name", ["none.mp4", "none.jpg", "text.mp4", "empty", "text.jpg"])
    def test_nothing_to_read(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "empty").mkdir()
        (tmp_path / "text.mp4").write_text("no video")
        (tmp_path / "text.jpg").write_text("not an image")
        with pytest.raises(errors.SourceOpenError) as caught:
            open_source(str(tmp_path / name)).read()
        assert caught.value.argument == str(tmp_path / name)

    def test_a_codec_that_nobody_knows(self, clip: Path, tmp_path: Path) -> None:
        import av

        path = tmp_path / "clip.mkv"
        with av.open(str(clip)) as source, av.open(str(path), "w") as output:
            stream = output.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    output.mux(packet)
        assert len(read_all(open_source(str(path)))) == 30
        path.write_bytes(path.read_bytes().replace(b"V_MJPEG", b"V_NOBDY"))
        with pytest.raises(errors.SourceOpenError, match="codec"):
            open_source(str(path))

    def test_a_sound_file(self, tmp_path: Path) -> None:
        import wave

        with wave.open(str(tmp_path / "sound.wav"), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(bytes(16000))
        with pytest.raises(errors.SourceOpenError, match="got no video"):
            open_source(str(tmp_path / "sound.wav"))
