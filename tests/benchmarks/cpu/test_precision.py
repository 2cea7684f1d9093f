"""fp16, bf16 and int8 of a shipped model keep its tags on real images: docs/precision.md on fewer of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.common import ROOT

pytest.importorskip("nncf")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("PVLR_DATA" not in os.environ, reason="PVLR_DATA is not set: no labelled images"),
]


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    voc = Path(os.environ["PVLR_DATA"]) / "voc2007"
    out = tmp_path_factory.mktemp("precision") / "precision.json"
    command = [sys.executable, "-m", "benchmarks.cpu.precision", "models/pvlr-lite2-coco80/engine.plan", "--json", out]
    few = ["--count", "50", "--calibration", "40"]
    images = ["--images", str(voc / "images"), "--labels", str(voc / "labels.csv")]
    done = subprocess.run([*command, *images, *few], cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, Any] = json.loads(out.read_text())["figures"]
    return result


@pytest.mark.parametrize(("precision", "changed", "mean"), [("fp16", 0, 0.01), ("bf16", 1, 0.03), ("int8", 5, 0.15)])
def test_tags_stay(figures: dict[str, Any], precision: str, changed: int, mean: float) -> None:
    row = figures[precision]
    assert row["photos"] == 50
    assert row["tag_sets"] >= 1 - changed / 50
    assert 0 < row["mean_logit_difference"] < mean
    assert row["mAP"] > row["mAP_fp32"] - 1.5  # of 50 images


def test_files_shrink(figures: dict[str, Any]) -> None:
    assert figures["int8"]["bytes"] < 0.65 * figures["fp16"]["bytes"]
