"""The frontier: which points are on it, and its chart."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import common
from benchmarks.accuracy.frontier import Point, frontier_table, main, mark_frontier, open_all


def points() -> list[Point]:
    measured = [(2.0, 88.0), (3.0, 90.0), (3.5, 89.9), (3.0, 89.0), (5.0, 92.0), (5.0, 92.0), (9.0, 92.0)]
    return [
        {"model": f"pvlr-{number}", "input": 288, "precision": "bf16", "median_ms": ms, "mAP": score}
        for number, (ms, score) in enumerate(measured)
    ]


def test_a_point_is_on_the_frontier_unless_another_beats_it() -> None:
    found = points()
    mark_frontier(found)
    assert [point["frontier"] for point in found] == [True, True, False, False, True, True, False]
    rows = frontier_table(found, "").rows
    assert [row[0] for row in rows] == [f"pvlr-{number}" for number in (0, 1, 3, 2, 4, 5, 6)]


@pytest.mark.slow
def test_the_chart_names_every_model_and_depends_on_the_results_alone(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from benchmarks.pages.charts import draw_frontier

    found = points()
    found += [{**found[-1], "input": 224, "median_ms": 7.0}]
    mark_frontier(found)
    for name in ("a", "b"):
        draw_frontier({"points": found}, tmp_path / f"{name}.svg")
    drawn = (tmp_path / "a.svg").read_text()
    assert drawn == (tmp_path / "b.svg").read_text()
    for number in range(7):
        assert f">pvlr-{number}<" in drawn
    assert ">bf16<" in drawn
    assert ">224<" in drawn


def test_the_page_shows_the_chart_and_the_table(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from benchmarks.pages.accuracy import frontier_section

    images = tmp_path / "images"
    images.mkdir()
    assert frontier_section(tmp_path / "none", images) == "Not measured."
    found = points()
    mark_frontier(found)
    where = {"machine": "a machine", "threads": 2, "date": "2026-01-31"}
    data = {"points": found, "images": {"count": 1000}, "conditions": where}
    (tmp_path / "frontier.json").write_text(json.dumps(data))
    text = frontier_section(tmp_path, images)
    assert "1,000 images; a machine, 2 threads, 2026-01-31." in text
    assert "| pvlr-0 | 288 | bf16 | 2.00 | 88.00 | yes |" in text
    assert (tmp_path / "images" / "frontier.svg").exists()


@pytest.mark.slow
def test_a_plan_is_opened_once_in_each_precision() -> None:
    taggers = open_all("pvlr-lite0-coco80", 1)
    precisions = [tagger.info["precision"] for tagger in taggers]
    for tagger in taggers:
        tagger.close()
    assert precisions in (["bf16", "fp32"], ["fp32"])


def test_a_missing_plan_is_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.argv", ["frontier", "no-such-model", "--data", str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        common.run(main)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("error: no-such-model: expected a plan file")


@pytest.mark.slow
@pytest.mark.skipif("PVLR_DATA" not in os.environ, reason="PVLR_DATA is not set: no labelled images")
def test_frontier_end_to_end(run: Callable[..., str], tmp_path: Path) -> None:
    out = tmp_path / "frontier.json"
    options = ["--share", "0.02", "--rounds", "1", "--threads", "1", "--json", out]
    run("benchmarks.accuracy.frontier", "pvlr-lite0-coco80", "pvlr-lite2-coco80", *options)
    found = json.loads(out.read_text())
    assert {point["model"] for point in found["points"]} == {"pvlr-lite0-coco80", "pvlr-lite2-coco80"}
    assert any(point["frontier"] for point in found["points"])
    assert all(point["mAP"] > 60 and point["median_ms"] > 0 for point in found["points"])
    shutil.copy(common.DOCS / "accuracy_and_time.md", tmp_path)
    run("benchmarks.pages", "accuracy_and_time", "--results", tmp_path, "--docs", tmp_path)
    assert (tmp_path / "images" / "frontier.svg").read_text().startswith("<?xml")
