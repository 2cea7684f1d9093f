"""fp16, bf16 and int8 of a shipped model keep its tags on real images: docs/precision.md on fewer of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pvlr_sdk import LabelBank
from pvlr_sdk.bundle.bundle import labels_path
from pvlr_sdk.workshop.compile.calibration import CalibrationImages
from pvlr_sdk.workshop.compile.export import check
from pvlr_sdk.workshop.compile.onnx.convert import convert
from pvlr_sdk.workshop.evaluation.labels_csv import read_labels

pytest.importorskip("nncf")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        "PVLR_DATA" not in os.environ, reason="PVLR_DATA is not set: no labelled images"
    ),
]


@pytest.mark.parametrize(
    ("precision", "changed", "mean"), [("fp16", 0, 0.01), ("bf16", 1, 0.03), ("int8", 8, 0.15)]
)
def test_tags_stay_and_int8_shrinks(
    closed: Path, precision: str, changed: int, mean: float
) -> None:
    voc = Path(os.environ["PVLR_DATA"]) / "voc2007"
    labels = LabelBank.load(labels_path(closed))
    exact = closed.read_bytes()
    photos, ranges = (
        CalibrationImages.listed(
            voc / "images", read_labels(voc / "labels.csv", split, labels.names)
        ).evenly(n)
        for split, n in (("testdev", 50), ("train", 40))
    )
    payload = convert(exact, precision=precision, frames=ranges.frames, source=str(closed))
    found = check(payload, exact, photos.frames, labels.thresholds, photos.targets)
    assert found.photos == 50
    assert found.tag_sets >= 1 - changed / 50
    assert 0 < found.mean_logit_difference < mean
    assert found.mAP > found.mAP_fp32 - 1.5  # of 50 images
    if precision == "int8":
        assert len(payload) < 0.65 * len(convert(exact, precision="fp16", source=str(closed)))
