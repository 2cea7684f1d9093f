"""Opening and reading what URIs name: files, network streams over real sockets, GStreamer; and what can go wrong."""

from __future__ import annotations

import functools
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pvlr_sdk import errors, open_source
from pvlr_sdk.sources import CapturedFrame, EndOfSource, Source

ROOT = Path(__file__).parents[3]
SYSTEM_PYTHON = "/usr/bin/python3"


def read_all(source: Source) -> list[CapturedFrame]:
    frames = []
    try:
        while True:
            frames.append(source.read())
    except EndOfSource:
        return frames


def grey(frame: CapturedFrame) -> int:
    """Which frame it is: frame i of a test clip is a grey of 5 i."""
    return round(float(frame.pixels.mean()) / 5)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """30 frames at 10 frames a second."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    for index in range(30):
        writer.write(np.full((48, 64, 3), 5 * index, np.uint8))
    writer.release()
    return path


@pytest.fixture
def serve() -> Iterator[Callable[[Any], str]]:
    """Serves HTTP on a free port with the given handler; gives the server's ``host:port``."""
    servers: list[ThreadingHTTPServer] = []

    def start(handler: Any) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


class Mjpeg(BaseHTTPRequestHandler):
    """A camera that sends JPEGs; ``frames`` of them, then it hangs for ``hangs`` seconds and hangs up."""

    fps, frames, hangs, password = 50.0, 10, 0.0, ""

    def do_GET(self) -> None:
        import base64

        expected = "Basic " + base64.b64encode(f"user:{self.password}".encode()).decode()
        if self.password and self.headers.get("Authorization") != expected:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=cut")
        self.end_headers()
        began = time.monotonic()
        try:
            for index in range(self.frames):
                time.sleep(max(began + index / self.fps - time.monotonic(), 0))
                encoded = cv2.imencode(".jpg", np.full((48, 64, 3), 5 * (index % 50), np.uint8))[1].tobytes()
                header = f"--cut\r\nContent-Type: image/jpeg\r\nContent-Length: {len(encoded)}\r\n\r\n"
                self.wfile.write(header.encode() + encoded + b"\r\n")
            time.sleep(self.hangs)
        except OSError:
            pass  # the other side had enough

    def log_message(self, *_: Any) -> None:
        """Silent."""


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
        assert [grey(frame) for frame in read_all(source)] == [index for index in range(30) if index != 7]
        assert source.decode_errors == 1

    def test_pictures_of_a_folder_in_order(self, tmp_path: Path) -> None:
        for index, name in enumerate(("a.png", "b.png", "sub/c.png")):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / name), np.full((4, 6, 3), 5 * index, np.uint8))
        source = open_source(str(tmp_path))
        assert [grey(frame) for frame in read_all(source)] == [0, 1, 2]
        assert open_source(str(tmp_path / "a.png")).read().source_time is None
        source = open_source(str(tmp_path), loop=True)
        assert [source.read().sequence for _ in range(7)] == list(range(7))
        for path in tmp_path.rglob("*.png"):
            path.write_bytes(b"no picture any more")
        with pytest.raises(errors.SourceOpenError):
            [source.read() for _ in range(7)]

    @pytest.mark.parametrize("name", ["none.mp4", "none.jpg", "text.mp4", "empty", "text.jpg"])
    def test_nothing_to_read(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "empty").mkdir()
        (tmp_path / "text.mp4").write_text("no video")
        (tmp_path / "text.jpg").write_text("no picture")
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
        with pytest.raises(errors.SourceOpenError, match="got none"):
            open_source(str(tmp_path / "sound.wav"))


class TestNetwork:
    def test_mjpeg(self, serve: Callable[[Any], str]) -> None:
        source = open_source(f"http://{serve(Mjpeg)}/video")
        assert source.live
        frames = [source.read() for _ in range(10)]
        assert [grey(frame) for frame in frames] == list(range(10))
        assert frames[5].source_time is None  # these cameras send no clock
        with pytest.raises(errors.SourceLostError):
            source.read()

    def test_a_stall(self, serve: Callable[[Any], str]) -> None:
        address = serve(type("Hangs", (Mjpeg,), {"hangs": 3.0}))
        source = open_source(f"http://{address}/", timeout=0.5)
        for _ in range(10):
            source.read()
        began = time.monotonic()
        with pytest.raises(errors.SourceLostError, match=r"no data for 0\.5 s"):
            source.read()
        assert 0.4 < time.monotonic() - began < 1.0

    def test_a_decoder_that_is_too_slow_leaves_frames_out(
        self, serve: Callable[[Any], str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """60 pictures a second against a decoder of 25: without leaving any out the last one were 2 s old."""
        from pvlr_sdk.sources.ffmpeg import FFmpegSource

        decode = FFmpegSource._decode
        monkeypatch.setattr(FFmpegSource, "_decode", lambda self, packet: (time.sleep(0.04), decode(self, packet)))
        source = open_source(f"http://{serve(type('Fast', (Mjpeg,), {'fps': 60.0, 'frames': 230}))}/", timeout=2)
        began = time.monotonic()
        while time.monotonic() < began + 3.5:
            frame = source.read()
        sent = (time.monotonic() - began) * 60
        behind = (sent - grey(frame)) % 50
        assert source.skipped > 30
        assert behind < 40

    @pytest.mark.parametrize("credentials", ["", "user:wrong@", "user:hunter2@"])
    def test_credentials(
        self, serve: Callable[[Any], str], credentials: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        uri = f"http://{credentials}{serve(type('Locked', (Mjpeg,), {'password': 'hunter2'}))}/"
        if "hunter2" in credentials:
            assert open_source(uri).read().size == (48, 64)
        else:
            with pytest.raises(errors.SourceDeniedError) as caught:
                open_source(uri)
            assert "wrong" not in str(caught.value)
        assert capfd.readouterr() == ("", "")  # neither we nor FFmpeg's own log

    def test_hls(self, serve: Callable[[Any], str], tmp_path: Path) -> None:
        import av

        with av.open(str(tmp_path / "live.m3u8"), "w", format="hls", options={"hls_time": "1"}) as output:
            stream = output.add_stream("mpeg2video", rate=25)
            stream.width, stream.height, stream.pix_fmt, stream.gop_size = 64, 48, "yuv420p", 25
            for index in range(50):
                picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 5 * index, np.uint8), format="bgr24")
                output.mux(stream.encode(picture))
            output.mux(stream.encode(None))
        handler = functools.partial(type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None}),
                                    directory=str(tmp_path))  # fmt: skip
        source = open_source(f"http://{serve(handler)}/live.m3u8")
        assert not source.live  # segments come in bursts: their own clock gives the pace
        frames = read_all(source)
        np.testing.assert_allclose([grey(frame) for frame in frames], range(50), atol=1)
        assert frames[-1].source_time == pytest.approx(49 / 25, abs=1e-3)

    def test_nobody_answers(self, serve: Callable[[Any], str]) -> None:
        with pytest.raises(errors.SourceOpenError, match="refused"):
            open_source("rtsp://user:hunter2@127.0.0.1:9/x")

        class Silent(BaseHTTPRequestHandler):
            def handle(self) -> None:
                time.sleep(3)

        began = time.monotonic()
        with pytest.raises(errors.SourceOpenError, match=r"no answer for 0\.5 s"):
            open_source(f"http://{serve(Silent)}/", timeout=0.5)
        assert time.monotonic() - began < 2

    def test_close_frees_it_while_another_thread_reads(self, serve: Callable[[Any], str]) -> None:
        source = open_source(f"http://{serve(type('Long', (Mjpeg,), {'frames': 1000}))}/")
        caught: list[BaseException] = []

        def read() -> None:
            try:
                while True:
                    source.read()
            except errors.SourceLostError as error:
                caught.append(error)

        thread = threading.Thread(target=read)
        thread.start()
        time.sleep(0.3)
        source.close()
        thread.join(1)
        assert not thread.is_alive()
        assert len(caught) == 1
        source.close()
        with pytest.raises(errors.SourceLostError):
            source.read()


class TestPattern:
    def test_depends_on_the_seed_and_the_number_alone(self) -> None:
        uri = "test://?size=64x48&fps=500&frames=3&seed="
        first, again, other = (read_all(open_source(uri + seed)) for seed in "112")
        assert len(first) == 3
        for one, two, three in zip(first, again, other, strict=True):
            np.testing.assert_array_equal(one.pixels, two.pixels)
            assert (one.pixels != three.pixels).any()
        assert (first[0].pixels != first[1].pixels).any()

    def test_keeps_its_pace(self) -> None:
        source = open_source("test://?size=64x48&fps=50")
        frames = [source.read() for _ in range(25)]
        assert frames[-1].captured - frames[0].captured == pytest.approx(24 / 50, rel=0.1)

    def test_freezes(self) -> None:
        source = open_source("test://?size=64x48&fps=100&freeze_after=1", timeout=0.2)
        source.read()
        with pytest.raises(errors.SourceLostError, match="none for"):
            source.read()

    def test_close_ends_a_read(self) -> None:
        source = open_source("test://?freeze_after=0", timeout=60)
        threading.Timer(0.1, source.close).start()
        with pytest.raises(errors.SourceLostError):
            source.read()


@pytest.mark.parametrize("options", [{"transport": "smoke"}, {"timeout": 0}, {"timeout": float("nan")}])
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(errors.OptionError):
        open_source("test://", **options)


@pytest.mark.parametrize("uri", ["v4l2:///dev/video99", "99"])
def test_a_device_that_is_not_there(uri: str) -> None:
    with pytest.raises(errors.SourceOpenError, match="No such file"):
        open_source(uri)


def test_gstreamer() -> None:
    """In the system's Python, which has GStreamer's bindings; see gstreamer_check.py."""
    check = Path(__file__).parent / "gstreamer_check.py"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([SYSTEM_PYTHON, str(check)], env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip(f"GStreamer's bindings are not installed: {done.stdout.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr
