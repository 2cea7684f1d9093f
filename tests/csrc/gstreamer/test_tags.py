"""What pvlrtag reports: the scores of Tagger, whatever the format of the frames and the colours of its caps."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pvlr_sdk import Tagger

from .conftest import ROOT, Plugin

pytestmark = pytest.mark.slow

PLAN = ROOT / "pvlr_sdk/models/pvlr-lite2-coco80/engine.plan"
ASTRONAUT = ROOT / "docs/images/astronaut.jpg"
VIDEO = Path(os.environ.get("PVLR_DATA", "/none")) / "video/car-detection.mp4"
# All labels are tags.
TAG = f"pvlrtag plan={PLAN} threshold=1e-30"
PACKED = ("BGR", "RGB", "BGRA", "RGBA", "BGRx", "RGBx")
YUV = tuple(
    f"{layout},colorimetry={colorimetry}"
    for layout in ("NV12", "I420")
    # Matrix 3 is BT.709 and 4 is BT.601; range 1 is 0 to 255.
    for colorimetry in ("bt601", "bt709", "1:4:0:0", "1:3:0:0")
)


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo without loss. Its sides are odd, so that rows are padded and chroma is rounded up."""
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    cv2.imwrite(str(path), cv2.imread(str(ASTRONAUT))[:497, :501])
    return path


def scores(result: dict[str, Any]) -> dict[str, float]:
    """The scores of the only frame."""
    assert result["error"] is None
    (message,), (buffer,) = result["messages"], result["buffers"]
    assert buffer["metadata"] == {name: message[name] for name in ("model", "labels", "scores")}
    return dict(zip(message["labels"], message["scores"], strict=True))


def test_scores_are_those_of_tagger_in_every_format(plugin: Plugin, photo: Path) -> None:
    formats = [*PACKED, "GRAY8", *YUV]
    read = f"filesrc location={photo} ! pngdec ! videoconvert"
    pipelines = [f"{read} ! video/x-raw,format={format_} ! {TAG} ! fakesink name=sink" for format_ in formats]
    found = dict(zip(formats, map(scores, plugin.run(*pipelines)), strict=True))
    frame = cv2.imread(str(photo))
    with Tagger(PLAN, threshold=0) as tagger:
        expected = {tag.label: tag.score for tag in tagger.predict(frame)}
        gray = {tag.label: tag.score for tag in tagger.predict(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY))}
    assert len(expected) == 80
    for format_ in PACKED:
        assert found[format_] == {label: np.float32(score) for label, score in expected.items()}, format_
    strong = [label for label, score in expected.items() if score > 0.1]
    assert "person" in strong
    assert len(strong) > 1
    for format_ in YUV:
        assert found[format_] == pytest.approx(expected, abs=0.01), format_
    assert found["GRAY8"] == pytest.approx(gray, abs=0.01)


@pytest.mark.skipif(not VIDEO.is_file(), reason="no $PVLR_DATA/video")
def test_gst_launch_prints_the_tags_of_a_video(plugin: Plugin) -> None:
    read = f"filesrc location={VIDEO} ! decodebin ! identity eos-after=31"
    done = plugin.launch("-m", *f"{read} ! pvlrtag plan={PLAN} every=10 ! fakesink".split())
    lines = [line for line in done.stdout.splitlines() if "pvlr-tags" in line]
    assert len(lines) == 3, done.stdout + done.stderr
    for line in lines:
        assert 'from element "pvlrtag0"' in line
        assert "labels=(string)< car" in line, line
        assert "scores=(float)< 0." in line, line
