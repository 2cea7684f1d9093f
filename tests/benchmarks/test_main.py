"""A short run of the comparison with peers, whose results agree, and its page. No time is asserted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.common import DOCS
from pvlr_sdk.bundle.bundle import labels_path
from pvlr_sdk.models.find import default_plan
from pvlr_sdk.workshop.compile.build import build
from pvlr_sdk.workshop.compile.calibration import CalibrationImages

from .photos import make_images


@pytest.mark.slow
def test_peers_compute_the_same(run: Callable[..., str], tmp_path: Path) -> None:
    """Except INTER_LINEAR and Model API, which see other pixels: the page shows how much their scores differ."""
    plan = default_plan()
    int8 = tmp_path / "int8/engine.plan"
    photos = CalibrationImages(make_images(tmp_path / "photos", 40))
    build(
        plan,
        int8,
        precision="int8",
        bank=labels_path(plan),
        calibration_images=photos,
        min_agreement=0.0,
    )
    short = ("--rounds", "1", "--count", "3")
    run("benchmarks.cpu.peers", plan, "--int8", int8, *short, "--json", tmp_path / "peers.json")
    peers = json.loads((tmp_path / "peers.json").read_text())
    assert {"machine", "threads", "versions"} <= set(peers["conditions"])
    assert "predict(), int8" in peers["agreement"]
    for name, agreement in peers["agreement"].items():
        if name.startswith("predict"):
            assert agreement["largest_score_difference"] < (
                0.3 if name.endswith("int8") else 0.05
            ), name
        assert agreement["same_tag_sets"] >= 2 / 3, name
        assert peers["figures"][name]["median_ms"] > 0

    pytest.importorskip("timm")
    short = ("--precision", "fp32", "--rounds", "1")
    run("benchmarks.cpu.rivals", *short, "--json", tmp_path / "rivals.json")
    rivals = json.loads((tmp_path / "rivals.json").read_text())["figures"]
    assert {"pvlr-lite2-open", "PP-LCNet_x1_0 (PaddleX)"} <= set(rivals)
    times = [rival["median_ms"] for rival in rivals.values()]
    assert times == sorted(times)

    shutil.copy(DOCS / "performance.md", tmp_path)
    run("benchmarks.pages", "performance", "--results", tmp_path, "--docs", tmp_path)
    text = (tmp_path / "performance.md").read_text()
    assert text.count("Not measured") == 1  # cameras, which take minutes
    assert f"{next(iter(peers['figures'].values()))['median_ms']:.2f}" in text
