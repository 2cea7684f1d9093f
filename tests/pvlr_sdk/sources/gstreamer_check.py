"""Reads real GStreamer pipelines; run by test_opening.py with the system's Python. Exit status 77: nothing to check."""

from __future__ import annotations

import sys

try:
    import gi

    gi.require_version("GstVideo", "1.0")
    import numpy as np
    from gi.repository import GstVideo  # noqa: F401
except (ImportError, ValueError) as error:
    print(error)
    sys.exit(77)

from pvlr_sdk import errors
from pvlr_sdk.frames.reference import to_rgb
from pvlr_sdk.sources import EndOfSource, open_source
from pvlr_sdk.sources.gstreamer import pipeline_of
from pvlr_sdk.sources.uri import DeviceUri

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
    assert all((frame.pixels == copy).all() for frame, copy in zip(frames, copies, strict=True)), format_
    assert len({frame.pixels.tobytes() for frame in frames}) == 9, format_
    assert all(frame.pixels.flags.writeable and frame.pixels.flags.c_contiguous for frame in frames), format_

# The matrix and the range come from the caps: the colours are those of the same pattern in BGR.
for colorimetry, suffix in (
    ("bt601", ""),
    ("bt709", "-bt709"),
    ("1:4:0:1", "-full"),  # range:matrix:transfer:primaries, as numbers
    ("1:3:5:1", "-bt709-full"),
    ("", "-bt709"),  # HD without a colorimetry
):
    for pattern, rgb in (("red", (255, 0, 0)), ("green", (0, 255, 0)), ("blue", (0, 0, 255))):
        caps = "video/x-raw,format=NV12,width=1280,height=720" + (f",colorimetry={colorimetry}" if colorimetry else "")
        plain = "video/x-raw,format=BGR"
        source = open_source(f"gst:videotestsrc num-buffers=1 pattern={pattern} ! {plain} ! videoconvert ! {caps}")
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
