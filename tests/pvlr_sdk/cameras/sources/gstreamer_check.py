"""Reads real GStreamer pipelines; run by test_opening.py with the system's Python. Exit status 77: nothing to check."""

from __future__ import annotations

import re
import sys
import tempfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

try:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstVideo", "1.0")
    import numpy as np
    from gi.repository import Gst, GstVideo  # noqa: F401
except (ImportError, ValueError) as error:
    print(error)
    sys.exit(77)

from pvlr_sdk import errors
from pvlr_sdk.cameras.sources import EndOfSource, open_source
from pvlr_sdk.cameras.sources.gstreamer import pipeline_of
from pvlr_sdk.cameras.sources.uri import DeviceUri
from tests.preprocess_reference import to_rgb

# 102 pixels: rows of BGR and grey are padded to a multiple of four.
for order, format_, shape in (
    ("bgr", "BGR", (50, 102, 3)),
    ("rgb", "RGB", (50, 102, 3)),
    ("gray", "GRAY8", (50, 102)),
    ("nv12", "NV12", (75, 102)),
):
    caps = f"video/x-raw,format={format_},width=102,height=50,framerate=20/1"
    source = open_source(f"gst:videotestsrc num-buffers=3 pattern=red ! {caps}")
    assert not source.live
    frames = [source.read() for _ in range(3)]
    assert [frame.pixels.shape for frame in frames] == [shape] * 3, frames
    assert {frame.order for frame in frames} == {order}
    assert [frame.source_time for frame in frames] == [0, 0.05, 0.1]
    assert frames[0].size == (50, 102)
    red = {"bgr": (0, 0, 255), "rgb": (255, 0, 0)}.get(order)
    if red:
        assert (frames[0].pixels == red).all(), order
    elif order == "nv12":
        assert np.ptp(frames[0].pixels[:50]) <= 1
        assert np.ptp(frames[0].pixels[50:, 0::2]) <= 1
        assert frames[0].pixels[50:, 1::2].min() > 200  # V of red
    try:
        source.read()
    except EndOfSource:
        source.close()
    else:
        raise AssertionError("more frames than sent")

# Frames outlive their buffers, which the pipeline uses again. 104 pixels: rows are not padded.
for format_ in ("BGR", "GRAY8", "NV12"):
    source = open_source(
        f"gst:videotestsrc num-buffers=9 pattern=snow ! video/x-raw,format={format_},width=104,height=50"
    )
    frames = [source.read() for _ in range(9)]
    copies = [frame.pixels.copy() for frame in frames]
    source.close()
    assert all((frame.pixels == copy).all() for frame, copy in zip(frames, copies, strict=True)), (
        format_
    )
    assert len({frame.pixels.tobytes() for frame in frames}) == 9, format_
    assert all(
        frame.pixels.flags.writeable and frame.pixels.flags.c_contiguous for frame in frames
    ), format_

# The matrix and the range come from the caps: the colours are those of the same pattern in BGR.
for colorimetry, suffix in (
    ("bt601", ""),
    ("bt709", "-bt709"),
    ("1:4:0:1", "-full"),  # range:matrix:transfer:primaries, as numbers
    ("1:3:5:1", "-bt709-full"),
    ("", "-bt709"),  # HD without a colorimetry
):
    for pattern, rgb in (("red", (255, 0, 0)), ("green", (0, 255, 0)), ("blue", (0, 0, 255))):
        caps = "video/x-raw,format=NV12,width=1280,height=720" + (
            f",colorimetry={colorimetry}" if colorimetry else ""
        )
        plain = "video/x-raw,format=BGR"
        source = open_source(
            f"gst:videotestsrc num-buffers=1 pattern={pattern} ! {plain} ! videoconvert ! {caps}"
        )
        frame = source.read()
        assert frame.order == f"nv12{suffix}", (colorimetry, frame.order)
        assert frame.size == (720, 1280)
        difference = np.abs(to_rgb(frame.pixels, frame.color).astype(int) - rgb).max()
        assert difference <= 4, (colorimetry, pattern, difference)
        source.close()

live = open_source("gst:videotestsrc is-live=true ! video/x-raw,width=64,height=48")
assert live.live
assert [live.read().sequence for _ in range(3)] == [0, 1, 2]
live.close()
try:
    live.read()
except errors.SourceLostError:
    pass
else:
    raise AssertionError("a closed source was read")

for bad in (
    "gst:nonsense-element",
    "gst:videotestsrc ! ! x",
    "gst:filesrc location=/none ! decodebin",
    "gst:uridecodebin uri=//me:s3cret@192.0.2.1/x",  # GStreamer itself quotes it in its error
    "csi://0",
):
    try:
        open_source(bad, timeout=2)
    except errors.SourceOpenError as error:
        if "location" in str(error) or "s3cret" in str(error):
            raise AssertionError("a property is shown") from error
    else:
        raise AssertionError(bad)

assert pipeline_of(DeviceUri("csi", "1", (1920, 1080), 29.97)) == (
    "nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM),width=1920,height=1080,framerate=29970/1000 "
    "! nvvidconv ! video/x-raw,format=NV12"
)


class Hls(SimpleHTTPRequestHandler):
    """Sends the files of ``folder``; ``b.ts`` never comes: its headers do not end until ``released``."""

    folder, released = "", threading.Event()

    def __init__(self, *arguments):
        super().__init__(*arguments, directory=self.folder)

    def do_GET(self):
        if not self.path.endswith("b.ts"):
            return super().do_GET()
        try:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
            while not self.released.wait(0.1):
                self.wfile.write(b"x")
        except OSError:
            pass  # the client closed the connection

    def log_message(self, *_):
        """Silent."""


# The pipeline that the error about an HLS playlist names, and a server that drips while it plays.
if not all(
    map(Gst.ElementFactory.find, ("souphttpsrc", "hlsdemux", "avenc_mpeg2video", "mpegtsmux"))
):
    print("HLS is not checked: an element is not installed")
    sys.exit()
with tempfile.TemporaryDirectory() as Hls.folder:
    segment = Path(Hls.folder, "a.ts")
    chain = f'videotestsrc num-buffers=50 ! avenc_mpeg2video ! mpegtsmux ! filesink location="{segment}"'
    pipeline = Gst.parse_launch(chain)
    pipeline.set_state(Gst.State.PLAYING)
    pipeline.get_bus().timed_pop_filtered(
        Gst.CLOCK_TIME_NONE, Gst.MessageType.EOS | Gst.MessageType.ERROR
    )
    pipeline.set_state(Gst.State.NULL)
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.7,\na.ts\n{}#EXT-X-ENDLIST\n"
    Path(Hls.folder, "whole.m3u8").write_text(playlist.format(""))
    Path(Hls.folder, "drips.m3u8").write_text(playlist.format("#EXTINF:1.7,\nb.ts\n"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hls)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, expected in (("whole", EndOfSource), ("drips", errors.SourceLostError)):
        try:
            open_source(f"http://127.0.0.1:{server.server_port}/{name}.m3u8")
        except errors.SourceUriError as error:
            uri = re.search(r"gst:.*decodebin", str(error))[0]
        source, count = open_source(uri, timeout=2), 0
        try:
            while True:
                assert source.read().size == (240, 320)
                count += 1
        except (EndOfSource, errors.SourceLostError) as end:
            ended_with = type(end)
        source.close()
        assert ended_with is expected
        assert (count == 50) if name == "whole" else (0 < count <= 50), count
    Hls.released.set()
    server.shutdown()
