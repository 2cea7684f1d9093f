"""The tables of the pages about accuracy, from the results."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from ..accuracy.clips.__main__ import table as clips_table
from ..accuracy.corruptions import corruptions_table
from ..accuracy.open import tables
from ..common import Table


@lru_cache
def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def shipped_table(results: Path, _: Path) -> str:
    """The output of ``pvlr eval --json`` for the shipped plans."""
    rows = []
    for path in sorted(results.glob("eval-*.json"), reverse=True):
        report = _read(path)
        data = path.stem.split("-on-")[1].replace("_", " ")  # eval-<plan>-on-<data>.json
        scores = [f"{report[key]:.2f}" for key in ("mAP", "mAP_11pt", "CF1", "OF1")]
        rows.append([f"`{report['model']}`", f"{data}, {report['images']:,}", *scores])
    return Table("", ["Model", "Images", "mAP", "mAP, 11 points", "CF1", "OF1"], rows).markdown()


def open_table(file: str, part: str, table: Callable[[Any], Table], results: Path, _: Path) -> str:
    """One of the tables of open labels."""
    path = results / f"{file}.json"
    return table(_read(path)[part]).markdown() if path.exists() else "Not measured."


def reports_table(pattern: str, table: Callable[[Any], Table], results: Path, _: Path) -> str:
    """One table of the reports of several models."""
    reports = [_read(path) for path in sorted(results.glob(pattern), reverse=True)]
    return table(reports).markdown() if reports else "Not measured."


PARTS: dict[str, Callable[[Path, Path], str]] = {
    "shipped": shipped_table,
    "clips": partial(reports_table, "clips-*.json", clips_table),
    "corruptions": partial(reports_table, "corruptions-*.json", corruptions_table),
    "open_grades": partial(open_table, "open-grades", "grades", tables.grades_table),
    "open_taught": partial(open_table, "open-taught", "taught", tables.taught_table),
}
"""By name: the text of a part of a page for the folders of the results and of the charts."""
