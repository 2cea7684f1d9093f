"""Decoders of video."""

from __future__ import annotations

import importlib.util
import re
import tempfile
from typing import Any

from .programs import output_of

_DECODERS = (
    *("nvv4l2decoder", "nvjpegdec", "nvh264dec", "nvh265dec"),
    *(
        "vah264dec",
        "vah265dec",
        "v4l2h264dec",
        "avdec_h264",
        "avdec_h265",
        "openh264dec",
        "jpegdec",
    ),
)


def opencv() -> dict[str, Any]:
    """Version of OpenCV, and the readers of video that it was compiled with."""
    import cv2

    build = cv2.getBuildInformation()
    readers = {name: _yes(build, name) for name in ("FFMPEG", "GStreamer")}
    return {"version": cv2.__version__, **readers}


def gstreamer() -> dict[str, Any] | None:
    """Version of GStreamer and its decoders of H.264, H.265 and JPEG; None if it is not installed."""
    # for what GStreamer caches, which would stay in the user's home
    with tempfile.TemporaryDirectory() as folder:
        registry = f"{folder}/registry.bin"
        text = output_of("gst-inspect-1.0", seconds=30, GST_REGISTRY=registry)
        version = output_of("gst-inspect-1.0", "--version", GST_REGISTRY=registry) or ""
    if text is None:
        return None
    elements = set(re.findall(r"^\S+: +(\S+):", text, re.MULTILINE))
    match = re.search(r"GStreamer (\S+)", version)
    return {
        "version": match[1] if match else None,
        "decoders": [name for name in _DECODERS if name in elements],
        "python": importlib.util.find_spec("gi") is not None,
    }


def _yes(build: str, name: str) -> bool | None:
    """``    FFMPEG:                      YES`` -> True; a path or a version also counts; None if not mentioned."""
    match = re.search(rf"^ +(?:NVIDIA )?{re.escape(name)}:[ \t]*(.*)$", build, re.MULTILINE)
    return None if match is None else not match[1].strip().upper().startswith("NO")
