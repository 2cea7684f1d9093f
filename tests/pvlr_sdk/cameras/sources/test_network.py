"""Sources over HTTP: MJPEG, stalls, credentials, and servers that do not answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from pvlr_sdk import errors, open_source
from tests.pvlr_sdk.cameras.sources.frames import grey
from tests.waiting import LONG

from .cameras import Camera


class Mjpeg(Camera):
    login, frames = "", 10


@pytest.fixture
def address(serve: Callable[..., Any]) -> Callable[[Any], str]:
    """Serves HTTP with the given handler; gives the server's ``host:port``."""
    return lambda handler: f"127.0.0.1:{serve(None, handler).server_port}"


class TestNetwork:
    def test_mjpeg(self, address: Callable[[Any], str]) -> None:
        source = open_source(f"http://{address(Mjpeg)}/video")
        assert source.live
        frames = [source.read() for _ in range(10)]
        assert [grey(frame) for frame in frames] == list(range(10))
        assert frames[5].source_time is None  # these cameras send no clock
        with pytest.raises(errors.SourceLostError):
            source.read()

    def test_a_stall(self, address: Callable[[Any], str]) -> None:
        source = open_source(
            f"http://{address(type('Hangs', (Mjpeg,), {'hangs': LONG}))}/", timeout=0.5
        )
        for _ in range(10):
            source.read()
        began = time.monotonic()
        with pytest.raises(errors.SourceLostError, match=r"no data for 0\.5 s"):
            source.read()
        assert 0.4 < time.monotonic() - began < LONG / 2

    @pytest.mark.slow
    def test_a_decoder_that_is_too_slow_leaves_frames_out(
        self, address: Callable[[Any], str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """60 frames per second and a decoder of 25: without dropping any, the last one would be 2 s old."""
        from pvlr_sdk.cameras.sources.ffmpeg import FFmpegSource

        decode = FFmpegSource._decode
        monkeypatch.setattr(
            FFmpegSource, "_decode", lambda self, packet: (time.sleep(0.04), decode(self, packet))
        )
        source = open_source(
            f"http://{address(type('Fast', (Mjpeg,), {'fps': 60.0, 'frames': 230}))}/", timeout=2
        )
        began = time.monotonic()
        while time.monotonic() < began + 3.5:
            frame = source.read()
        sent = (time.monotonic() - began) * 60
        behind = (sent - grey(frame)) % 50
        assert source.skipped > 30
        assert behind < 40

    @pytest.mark.slow
    @pytest.mark.parametrize("credentials", ["", "bob:wrong@", "bob:hunter2@"])
    def test_credentials(
        self, address: Callable[[Any], str], credentials: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        uri = f"http://{credentials}{address(Camera)}/"
        if "hunter2" in credentials:
            assert open_source(uri).read().size == (48, 64)
        else:
            with pytest.raises(errors.SourceDeniedError) as caught:
                open_source(uri)
            assert "wrong" not in str(caught.value)
        assert capfd.readouterr() == ("", "")  # neither the SDK nor FFmpeg's log

    def test_nobody_answers(self, address: Callable[[Any], str]) -> None:
        with pytest.raises(errors.SourceOpenError, match="refused"):
            open_source("rtsp://user:hunter2@127.0.0.1:9/x")

        class Silent(BaseHTTPRequestHandler):
            def handle(self) -> None:
                time.sleep(LONG)

        began = time.monotonic()
        with pytest.raises(errors.SourceOpenError, match=r"no answer for 0\.5 s"):
            open_source(f"http://{address(Silent)}/", timeout=0.5)
        assert time.monotonic() - began < LONG / 2

    def test_close_frees_it_while_another_thread_reads(self, address: Callable[[Any], str]) -> None:
        source = open_source(f"http://{address(type('Long', (Mjpeg,), {'frames': 1000}))}/")
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
