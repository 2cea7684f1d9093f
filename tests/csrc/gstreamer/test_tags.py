"""What pvlrtag reports: the scores of Tagger, whatever the format of the frames and the colours of its caps."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import Tagger

from .conftest import ROOT, Plugin

pytestmark = pytest.mark.slow

PLAN = ROOT / "pvlr_sdk/models/pvlr-lite2-coco80/engine.plan"
VIDEO = Path(os.environ.get("PVLR_DATA", "/none")) / "video/car-detection.mp4"
PHOTO = f"filesrc location={ROOT / 'docs/images/chelsea.jpg'} ! jpegdec"  # 451 x 300
# Through 16 bits: a conversion from 8 to 8 bits rounds down.
CONVERT = "videoconvert ! video/x-raw,format=ARGB64 ! videoconvert ! video/x-raw,format="
# All labels are tags.
TAG = f"pvlrtag plan={PLAN} threshold=1e-30 ! fakesink name=sink"
PACKED = {"BGR": "bgr", "RGB": "rgb", "BGRA": "bgr", "RGBA": "rgb", "BGRx": "bgr", "RGBx": "rgb", "GRAY8": "bgr"}
# In GStreamer's numbers, matrix 3 is BT.709 and 4 is BT.601, and range 1 is 0 to 255.
COLORIMETRY = {"bt601": "", "bt709": "-bt709", "1:4:0:0": "-full", "1:3:0:0": "-bt709-full", "bt2020": "-bt709"}
YUV = {
    f"{layout},colorimetry={colorimetry}": layout.lower() + suffix
    for layout in ("NV12", "I420")
    for colorimetry, suffix in COLORIMETRY.items()
}


def scores(result: dict[str, Any]) -> dict[str, float]:
    """The scores of the only frame."""
    (message,), (buffer,) = result["messages"], result["buffers"]
    assert buffer["metadata"] == {name: message[name] for name in ("model", "labels", "scores")}
    return dict(zip(message["labels"], message["scores"], strict=True))


def test_scores_are_those_of_tagger(plugin: Plugin, tmp_path: Path) -> None:
    """In every format and colorimetry, bit for bit."""
    cases = {**PACKED, **YUV}
    branches = [
        f"{PHOTO} ! videocrop right=3 ! {CONVERT}{format_} ! tee name=t ! queue ! {TAG} "
        f"t. ! queue ! filesink location={tmp_path / format_}"
        for format_ in cases
    ]
    with Tagger(PLAN, threshold=0) as tagger:
        for (format_, color), result in zip(cases.items(), plugin.run(*branches), strict=True):
            assert result["error"] is None, format_
            rows = 450 if format_ in YUV else 300
            pixels = np.fromfile(tmp_path / format_, np.uint8).reshape(rows, 448, -1)
            expected = {tag.label: tag.score for tag in tagger.predict(pixels.squeeze(), color=color)}
            assert len(expected) == 80
            assert scores(result) == expected, format_


def test_bt601_and_bt709_have_the_scores_of_bgr(plugin: Plugin) -> None:
    """The width is odd: rows are padded, and the last column has a chroma sample of its own."""
    formats = ["BGR", *(format_ for format_ in YUV if format_.endswith(("bt601", "bt709")))]
    pipelines = [f"{PHOTO} ! {CONVERT}{format_} ! {TAG}" for format_ in formats]
    bgr, *others = map(scores, plugin.run(*pipelines))
    assert len(bgr) == 80
    assert max(bgr.values()) > 0.9
    assert len(others) == 4
    for format_, found in zip(formats[1:], others, strict=True):
        assert found == pytest.approx(bgr, abs=0.01), format_


@pytest.mark.skipif(not VIDEO.is_file(), reason="no $PVLR_DATA/video")
def test_gst_launch_prints_the_tags_of_a_video(plugin: Plugin) -> None:
    arguments = f"filesrc location={VIDEO} ! decodebin ! pvlrtag plan={PLAN} every=60 ! fakesink"
    done = plugin.launch("-m", *arguments.split())
    lines = [line for line in done.stdout.splitlines() if "pvlr-tags" in line]
    assert len(lines) == 7, done.stdout + done.stderr
    assert all('from element "pvlrtag0" (element): pvlr-tags, timestamp=' in line for line in lines)
    assert "labels=(string)< car >, scores=(float)< 0.94" in lines[1]
