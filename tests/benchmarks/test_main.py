"""A short run of all benchmarks of docs/performance.md: the compared results agree. No time is asserted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.common import DOCS

pytestmark = pytest.mark.slow  # one run of all benchmarks serves them all


def test_every_script_says_where_it_ran(results: dict[str, Any]) -> None:
    assert set(results) == {"peers", "path"}
    for name in set(results) - {"path"}:
        assert {"machine", "threads", "versions"} <= set(results[name]["conditions"]), name


def test_peers_compute_the_same(results: dict[str, Any]) -> None:
    """Except INTER_LINEAR and Model API, which see other pixels: the page shows how much their scores differ."""
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


def test_report_writes_the_page(results: dict[str, Any], run: Callable[..., str], tmp_path: Path) -> None:
    shutil.copy(DOCS / "performance.md", tmp_path)
    run("benchmarks.pages", "performance", "--results", results["path"], "--docs", tmp_path)
    text = (tmp_path / "performance.md").read_text()
    assert text.count("Not measured") == 1  # cameras, which take minutes
    first = next(iter(results["peers"]["figures"].values()))
    assert f"{first['median_ms']:.2f}" in text
