"""The benchmark scripts run in short, and what they compare agrees; no time is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(*arguments: str | Path, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        cwd=BENCHMARKS.parent,
    )
    assert done.returncode == status, done.stdout + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one short run of all scripts wrote, by script, and ``folder`` where it lies."""
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("results")
    run("-m", "benchmarks", "--short", "--out", folder)
    return {**{path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}, "path": folder}


def test_every_script_says_where_it_ran(results: dict[str, Any]) -> None:
    assert set(results) == {"peers", "layers", "scaling", "folder", "preprocess", "start", "path"}
    for name in set(results) - {"path"}:
        assert {"machine", "threads", "versions"} <= set(results[name]["conditions"]), name


def test_peers_compute_the_same(results: dict[str, Any]) -> None:
    """Not INTER_LINEAR and Model API, which see other pixels: the page shows by how much their scores differ."""
    agreement = results["peers"]["agreement"]
    exact = [name for name in agreement if name.startswith("predict")]
    assert len(exact) >= 1
    assert "predict(), int8" in exact
    for name in exact:
        limit = 0.3 if name.endswith("int8") else 0.05
        assert agreement[name]["largest_score_difference"] < limit, name
    for name in agreement:
        assert agreement[name]["same_tag_sets"] >= 2 / 3, name
        assert results["peers"]["figures"][name]["median_ms"] > 0


def test_layers_add_up(results: dict[str, Any]) -> None:
    assert "int8" in results["layers"]["layers"]
    for table in results["layers"]["layers"].values():
        parts = sum(row["ms"] for kind, row in table.items() if not kind.startswith("~"))
        assert 0 < parts <= table["~ all"]["ms"] * 1.001
        assert table["pointwise convolutions"]["gflop"] == pytest.approx(1.69, abs=0.02)  # EfficientNet-Lite2 at 288
    assert all(value > 0 for value in results["layers"]["peak"].values())


def test_scaling_has_the_ends_of_each_curve(results: dict[str, Any]) -> None:
    curves = results["scaling"]["curves"]
    assert list(curves["labels C (head alone, 81 tokens)"]["figures"]) == ["20", "4585"]
    assert all(len(curve["figures"]) >= 1 for curve in curves.values())


def test_folder_tags_every_photo_in_every_way(results: dict[str, Any]) -> None:
    # The script itself stops if one way gives fewer results than photos.
    for rates in results["folder"]["images_per_second"].values():
        assert min(rates.values()) > 0
    reduced = results["folder"]["reduced_jpeg"]
    assert 0 < reduced["mean logit difference"] < 0.1
    assert reduced["share of photos with the same tags"] >= 0.5


def test_start_measures_cold_and_warm(results: dict[str, Any]) -> None:
    figures = results["start"]["figures"]
    assert {"Tagger(), s", "pvlr tag photo.jpg, s"} <= set(figures)
    assert figures["Tagger(), s"].keys() == {"cold", "warm, median"}


def test_report_writes_the_page_and_its_pictures(results: dict[str, Any], tmp_path: Path) -> None:
    run(BENCHMARKS / "report.py", "--results", results["path"], "--docs", tmp_path)
    page = (tmp_path / "performance.md").read_text()
    assert "Not measured" not in page
    for name in ("peers", "layers", "scaling"):
        assert f"images/{name}.svg" in page
        assert (tmp_path / "images" / f"{name}.svg").read_text().startswith("<?xml")
    first = next(iter(results["peers"]["figures"].values()))
    assert f"{first['median_ms']:.2f}" in page


def test_report_says_what_was_not_measured(tmp_path: Path) -> None:
    run(BENCHMARKS / "report.py", "--results", tmp_path / "nothing", "--docs", tmp_path)
    assert (tmp_path / "performance.md").read_text().count("Not measured") == 6


def test_cameras_measures_ages_and_shares(tmp_path: Path) -> None:
    out = tmp_path / "cameras.json"
    run(BENCHMARKS / "cameras.py", "--minutes", "0.05", "--threads", "1", "--size", "160x120", "--json", str(out))
    figures = json.loads(out.read_text())
    assert figures["latency"]["tagged"] > 20
    assert figures["latency"]["age p50, ms"] > 50
    assert 0 < figures["four cameras"]["smallest share of a fair one"] <= 1


def test_soak_sees_a_leak(tmp_path: Path) -> None:
    out = tmp_path / "soak.json"
    run(BENCHMARKS / "soak.py", "--minutes", "0.25", "--fps", "10", "--leak", "--json", str(out), status=1)
    figures = json.loads(out.read_text())
    assert figures["growth_percent"] > 2
    assert figures["reconnects"]["freezes"] > 0
    assert figures["reconnects"]["breaks-off"] > 0
