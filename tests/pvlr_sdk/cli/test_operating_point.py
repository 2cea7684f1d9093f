"""``--operating-point`` of tag, eval and batch, and both thresholds in labels and thresholds."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from pvlr_sdk.bundle.bundle import write_thresholds
from pvlr_sdk.models.find import load_bundle


@pytest.mark.slow
def test_tag_uses_the_best_f1_unless_told_otherwise(pvlr, two_points, folder):
    def thresholds(*extra):
        done = pvlr("tag", folder / "a.jpg", "--plan", two_points, "--json", *extra)
        assert (done.code, done.err) == (0, "")
        return {tag["label"]: round(tag["threshold"], 6) for tag in json.loads(done.out)["tags"]}

    f1 = {"person": 0.3, "cat": 0.375, "coffee cup": 0.45, "rocket": 0.525, "dining table": 0.6}
    precise = {"person": 0.7, "cat": 0.8, "coffee cup": 0.9, "rocket": 0.95, "dining table": 0.6}
    assert thresholds()
    assert thresholds().items() <= f1.items()
    assert thresholds() == thresholds("--operating-point", "f1")
    assert thresholds("--operating-point", "precise").items() <= precise.items()
    assert set(thresholds("--operating-point", "precise", "--threshold", 0).values()) == {0.0}
    done = pvlr("tag", folder / "a.jpg", "--plan", two_points, "--operating-point", "recall")
    assert (done.code, done.out) == (2, "")
    assert "operating_point: expected one of f1, precise, got 'recall'" in done.err


def test_eval_measures_the_tags_at_either_point(pvlr, two_points, folder):
    (folder / "labels.csv").write_text("file,person\na.jpg,1\nb.png,1\n")
    low, high = np.full(5, 1e-6, np.float32), np.full(5, 0.999999, np.float32)
    write_thresholds(load_bundle(two_points), low, high)

    def recall(*extra):
        done = pvlr(
            "eval",
            two_points,
            "--images",
            folder,
            "--labels",
            folder / "labels.csv",
            "--json",
            *extra,
        )
        assert (done.code, done.err.count("OptionError")) == (0, 0)
        return json.loads(done.out)["OR"]

    assert (
        recall(),
        recall("--operating-point", "f1"),
        recall("--operating-point", "precise"),
    ) == (100.0, 100.0, 0.0)


def test_batch_writes_a_dataset_for_each_point(pvlr, two_points, folder, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")

    def dataset(*extra):
        done = pvlr(
            "batch", folder, "--out", tmp_path / "out", "--plan", two_points, "--json", *extra
        )
        assert (done.code, done.err) == (0, "")
        return json.loads(done.out)["dataset"]

    assert (
        dataset() == dataset("--operating-point", "f1") != dataset("--operating-point", "precise")
    )
    rows = parquet.read_table(dataset("--operating-point", "precise")).to_pylist()
    limits = {tag["label"]: round(tag["threshold"], 6) for row in rows for tag in row["tags"]}
    assert (
        limits.items()
        <= {
            "person": 0.7,
            "cat": 0.8,
            "coffee cup": 0.9,
            "rocket": 0.95,
            "dining table": 0.6,
        }.items()
    )


@pytest.mark.slow
def test_labels_lists_both(pvlr, two_points, plan):
    rows = json.loads(pvlr("labels", two_points, "--json").out)
    limits = {"label": "cat", "threshold": 0.375, "precise_threshold": 0.8}
    assert limits.items() <= rows[1].items()
    assert rows[1]["parents"] == ["mammal", "animal"]
    assert pvlr("labels", two_points).out.splitlines()[1] == "cat\t0.375\t0.8"
    assert json.loads(pvlr("labels", plan, "--json").out)[1]["precise_threshold"] is None
    assert pvlr("labels", plan).out.splitlines()[1] == "cat\t0.375"


def test_labels_on_a_terminal(pvlr, two_points, plan, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    text = pvlr("labels", two_points).out
    assert "thresholds f1, precise" in text
    assert "0.375  0.800" in text
    assert "precise" not in pvlr("labels", plan).out
