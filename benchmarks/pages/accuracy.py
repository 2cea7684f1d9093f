"""The tables of the pages about accuracy, from the results."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from ..accuracy.clips.__main__ import table as clips_table
from ..accuracy.corruptions import corruptions_table
from ..accuracy.frontier import frontier_table
from ..accuracy.open import tables
from ..accuracy.rows import Row, read_rows
from ..common import Table
from .charts import draw_frontier

TRAIN = "python -m benchmarks.accuracy train"


def rows_table(name: str, results: Path, _: Path) -> str:
    """The rows of a table that have results; differences are relative to the first row of the recipe.

    Times are those of the fastest seed: the others shared the machine with more load.
    """
    every = read_rows()
    rows = [row for row in every if row.table == name]
    several = len({row.group for row in rows}) > 1
    table: list[list[str]] = []
    group = None
    for row in rows:
        found = seeds_of(row, results)
        if not found:
            continue
        if row.group != group and several:
            table.append([f"**{row.group}**", *[""] * 6])
        group = row.group
        base = next(other for other in every if other.recipe == row.recipe)
        seconds = min(list(one["seconds_an_epoch"].values())[-1] for one in found)
        cells = [_scores(found), "" if row.name == base.name else _difference(found, seeds_of(base, results))]
        cells += [f"{found[0]['parameters']['head'] / 1e6:.2f} M", f"{seconds:.0f}" if seconds >= 1 else "< 1"]
        minutes = max(1, min(one["seconds"] for one in found) / 60)
        table.append([row.label, *cells, f"`{TRAIN} {row.name}`", f"{minutes:.0f} min"])
    if not table:
        return f"Not measured: `{TRAIN} {' '.join(row.name for row in rows)}`."
    columns = ["", "mAP", "Difference", "Parameters of the head", "Seconds per epoch", "Command", "Time"]
    return Table("", columns, table).markdown()


def seeds_of(row: Row, results: Path) -> list[dict[str, Any]]:
    """The results of a row, by seed."""
    return [_read(path) for path in sorted((results / "accuracy").glob(f"{row.name}-[0-9].json"))]


@lru_cache
def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def _mean(found: list[dict[str, Any]]) -> float:
    return statistics.mean(one["testdev"]["mAP"] for one in found)


def _scores(found: list[dict[str, Any]]) -> str:
    """The mean mAP, and that of each seed if there are several."""
    each = ", ".join(f"{one['testdev']['mAP']:.2f}" for one in found)
    return f"{_mean(found):.2f} ({each})" if len(found) > 1 else each


def _difference(found: list[dict[str, Any]], base: list[dict[str, Any]]) -> str:
    return f"{round(_mean(found) - _mean(base), 2) + 0.0:+.2f}" if base else ""  # + 0.0: no -0.00


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


def frontier_section(results: Path, images: Path) -> str:
    """The chart of mAP against time, its table and where it was measured."""
    path = results / "frontier.json"
    if not path.exists():
        return "Not measured."
    data = _read(path)
    draw_frontier(data, images / "frontier.svg")
    chart = "![mAP against milliseconds per frame](images/frontier.svg)"
    where = data["conditions"]
    measured = f"{data['images']['count']:,} images; {where['machine']}, {where['threads']} threads, {where['date']}."
    return f"{chart}\n\n{measured}\n\n{frontier_table(data['points'], '').markdown()}"


PARTS: dict[str, Callable[[Path, Path], str]] = {
    "shipped": shipped_table,
    "clips": partial(reports_table, "clips-*.json", clips_table),
    "corruptions": partial(reports_table, "corruptions-*.json", corruptions_table),
    "frontier": frontier_section,
    "open_words": partial(open_table, "open", "words", tables.words_table),
    "open_grades": partial(open_table, "open-grades", "grades", tables.grades_table),
    "open_splits": partial(open_table, "open", "splits", tables.splits_table),
    "open_trust": partial(open_table, "open", "splits", tables.trust_table),
    "open_few": partial(open_table, "open", "few", tables.few_table),
    "open_tuned": partial(open_table, "open-tuned", "few", tables.few_table),
    "open_taught": partial(open_table, "open-taught", "taught", tables.taught_table),
    **{name: partial(rows_table, name) for name in dict.fromkeys(row.table for row in read_rows())},
}
"""By name: the text of a part of a page for the folders of the results and of the charts."""
