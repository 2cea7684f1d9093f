"""The pages are generated from the results, and those in docs/ are up to date."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.common import DOCS, RESULTS
from benchmarks.pages import PAGES, page


@pytest.mark.slow
def test_report_says_what_was_not_measured(run: Callable[..., str], tmp_path: Path) -> None:
    shutil.copy(DOCS / "performance.md", tmp_path)
    run("benchmarks.pages", "performance", "--results", tmp_path / "nothing", "--docs", tmp_path)
    assert (tmp_path / "performance.md").read_text().count("Not measured") == 3


@pytest.mark.parametrize("name", PAGES)
def test_the_pages_in_docs_are_up_to_date(name: str, tmp_path: Path) -> None:
    shutil.copy(DOCS / f"{name}.md", tmp_path)
    assert page(tmp_path / f"{name}.md", RESULTS) == (DOCS / f"{name}.md").read_text()
