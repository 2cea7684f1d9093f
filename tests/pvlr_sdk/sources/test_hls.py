"""Playlists of HLS: verified servers, and requests to no other server than the playlist's."""

from __future__ import annotations

import collections
import contextlib
import functools
import gc
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk import errors, open_source

from .cameras import EXPECTED, PASSWORD, https, listing


def test_hls_over_https_is_verified(serve, certificates, hls: Path) -> None:
    """The servers of all requests: FFmpeg alone verifies the certificate of the first."""
    server = serve("camera", listing(hls))
    assert open_source(https(server, "/a.m3u8"), ca=certificates["camera"][0]).read().size == (48, 64)
    assert server.heard == [("/a.m3u8", EXPECTED), ("/a0.ts", EXPECTED)]
    impostor = serve("impostor", listing(hls))
    for trusted in (None, certificates["camera"][0]):
        with pytest.raises(errors.SourceOpenError, match="certificate must be trusted"):
            open_source(https(impostor, "/a.m3u8"), ca=trusted)
    with pytest.raises(errors.SourceOpenError, match="certificate"):
        open_source(https(server, "/a.m3u8", "127.0.0.1"), ca=certificates["camera"][0])
    assert impostor.heard == []
    assert open_source(https(impostor, "/a.m3u8"), insecure=True).read().size == (48, 64)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a0.ts", "{other}/a0.ts"),
        ("#EXTINF", '#EXT-X-KEY:METHOD=AES-128,URI="{other}/key"\n#EXTINF'),
        ("#EXTINF", '#EXT-X-MAP:URI="{other}/init.mp4"\n#EXTINF'),
        (None, "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100000\n{other}/a.m3u8\n"),
        ("a0.ts", "file:///etc/a0.ts"),
    ],
    ids=["segment", "key", "map", "variant", "file"],
)
def test_a_playlist_that_names_another_server(serve, hls: Path, tmp_path: Path, old: str | None, new: str) -> None:
    """Version 0.1 requested it."""
    server, other = serve(None, listing(tmp_path)), serve(None, listing(hls))
    address = f"http://bob:{PASSWORD}@127.0.0.1:{server.server_port}/b.m3u8"
    named = new.replace("{other}", f"http://127.0.0.1:{other.server_port}")
    (tmp_path / "b.m3u8").write_text((hls / "a.m3u8").read_text().replace(old, named, 1) if old else named)
    with pytest.raises(errors.SourceOpenError, match="a playlist that names another server"):
        open_source(address, timeout=3)
    assert {path for path, _ in server.heard} == {"/b.m3u8"}
    assert other.heard == []


def test_a_playlist_that_names_another_server_later(serve, hls: Path, tmp_path: Path) -> None:
    shutil.copytree(hls, tmp_path, dirs_exist_ok=True)
    server, other = serve(None, listing(tmp_path)), serve(None, listing(hls))
    live = (hls / "a.m3u8").read_text().replace("#EXT-X-ENDLIST\n", "")
    named = live + f"#EXTINF:1.2,\nhttp://127.0.0.1:{other.server_port}/a0.ts\n"
    (tmp_path / "a.m3u8").write_text(live)
    source = open_source(f"http://127.0.0.1:{server.server_port}/a.m3u8", timeout=3)
    source.read()
    (tmp_path / "a.m3u8").write_text(named)
    with pytest.raises(errors.SourceLostError, match="another server"):
        collections.deque(iter(source.read, None), maxlen=0)
    assert other.heard == []


def test_what_a_playlist_may_name(serve, hls: Path, tmp_path: Path) -> None:
    shutil.copytree(hls, tmp_path, dirs_exist_ok=True)
    server, text = serve(None, listing(tmp_path)), (hls / "a.m3u8").read_text()
    address = f"http://127.0.0.1:{server.server_port}"
    size = (hls / "a0.ts").stat().st_size
    for playlist in (
        text.replace("a0.ts", f"{address}/a0.ts"),
        text.replace("#EXTINF", f"#EXT-X-BYTERANGE:{size}@0\n#EXTINF"),
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100000\na.m3u8\n",
    ):
        (tmp_path / "b.m3u8").write_text(playlist)
        assert open_source(f"{address}/b.m3u8").read().size == (48, 64)
    (tmp_path / "key").write_bytes(bytes(16))
    (tmp_path / "b.m3u8").write_text(text.replace("#EXTINF", '#EXT-X-KEY:METHOD=AES-128,URI="key"\n#EXTINF'))
    with pytest.raises(errors.SourceOpenError, match="an encrypted playlist"):
        open_source(f"{address}/b.m3u8")
    (tmp_path / "b.m3u8").write_text(text.replace("a0.ts", "redirect/a0.ts"))
    with pytest.raises(errors.SourceOpenError, match="302"):
        open_source(f"{address}/b.m3u8")


def test_a_camera_that_answers_with_a_playlist(serve, hls: Path, tmp_path: Path) -> None:
    server = serve(None, listing(hls))
    (hls / "video").write_bytes((hls / "a.m3u8").read_bytes())
    address = f"http://127.0.0.1:{server.server_port}"
    with pytest.raises(errors.SourceOpenError):
        open_source(f"{address}/video", timeout=3)
    assert [path for path, _ in server.heard] == ["/video"]
    assert open_source(f"{address}/a.m3u8").read().size == (48, 64)
    # Nor does a file on this machine.
    (tmp_path / "clip.mp4").write_text((hls / "a.m3u8").read_text().replace("a0.ts", f"{address}/a0.ts"))
    server.heard.clear()
    with pytest.raises(errors.SourceOpenError):
        open_source(str(tmp_path / "clip.mp4"))
    assert server.heard == []


def test_a_playlist_in_a_loop_keeps_nothing(serve, hls: Path) -> None:
    server = serve(None, listing(hls))
    source = open_source(f"http://127.0.0.1:{server.server_port}/a.m3u8", loop=True)
    for _ in range(5 * 30 + 1):
        source.read()
    assert len([one for one in gc.get_objects() if type(one).__name__ == "InputContainer"]) <= 2
    assert len(server.heard) >= 12  # it did begin again


def test_a_server_that_drips_does_not_hold_a_source(serve, hls: Path) -> None:
    class Drip(listing(hls).func):
        def copyfile(self, source: Any, outputfile: Any) -> None:
            if self.path.endswith("m3u8"):
                super().copyfile(source, outputfile)
                return
            with contextlib.suppress(OSError):
                for _ in range(100):
                    outputfile.write(source.read(1))
                    time.sleep(0.1)

    server = serve(None, functools.partial(Drip, directory=str(hls)))
    began = time.monotonic()
    with pytest.raises(errors.SourceOpenError):
        open_source(f"http://127.0.0.1:{server.server_port}/a.m3u8", timeout=1)
    assert time.monotonic() - began < 4


def test_a_file_without_certificates(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    with pytest.raises(errors.SourceOpenError, match="certificates in ca"):
        open_source("https://localhost:1/a.m3u8", ca=tmp_path / "empty.pem")
