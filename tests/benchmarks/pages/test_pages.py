"""The pages are generated from the results, and those in docs/ are up to date."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.common import DOCS, RESULTS
from benchmarks.pages.__main__ import PAGES, page


@pytest.mark.slow
def test_report_writes_the_page_and_its_pictures(
    results: dict[str, Any], run: Callable[..., str], tmp_path: Path
) -> None:
    shutil.copy(DOCS / "performance.md", tmp_path)
    run("benchmarks.pages", "performance", "--results", results["path"], "--docs", tmp_path)
    text = (tmp_path / "performance.md").read_text()
    assert text.count("Not measured") == 1  # cameras, which take minutes
    for name in ("peers", "scaling"):
        assert f"images/{name}.svg" in text
        assert (tmp_path / "images" / f"{name}.svg").read_text().startswith("<?xml")
    first = next(iter(results["peers"]["figures"].values()))
    assert f"{first['median_ms']:.2f}" in text


def test_report_says_what_was_not_measured(run: Callable[..., str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    shutil.copy(DOCS / "performance.md", tmp_path)
    run("benchmarks.pages", "performance", "--results", tmp_path / "nothing", "--docs", tmp_path)
    assert (tmp_path / "performance.md").read_text().count("Not measured") == 7


@pytest.mark.parametrize("name", PAGES)
def test_the_pages_in_docs_are_up_to_date(name: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    shutil.copy(DOCS / f"{name}.md", tmp_path)
    assert page(tmp_path / f"{name}.md", RESULTS) == (DOCS / f"{name}.md").read_text()
