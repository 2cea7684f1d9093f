"""Thresholds written to a plan: they meet the objective, and nothing else in the bundle changes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.bundle.bundle import labels_path, manifest_path, write_thresholds
from pvlr_sdk.labels.thresholds import Objective
from pvlr_sdk.models.find import load_bundle
from pvlr_sdk.workshop.evaluation.labels_csv import LabelTable
from pvlr_sdk.workshop.evaluation.thresholds import set_thresholds
from tests.pvlr_sdk.workshop.evaluation.conftest import COUNT


@pytest.fixture
def table(plan: Path) -> LabelTable:
    """Random targets; no image shows "rocket"."""
    names = [label.name for label in load_bundle(plan).manifest.labels]
    targets = np.random.default_rng(1).choice(
        np.array([-1, -1, 0, 1], np.int8), (COUNT, len(names))
    )
    column = targets[:, names.index("rocket")]
    column[column == 1] = -1
    return LabelTable([f"{index}.png" for index in range(COUNT)], targets, [], [])


def tag_sets(plan: Path, images: Path, table: LabelTable) -> np.ndarray:
    with Tagger(plan) as tagger:
        results = [tagger.predict(images / file) for file in table.files]
        return np.array(
            [
                [name in {tag.label for tag in result} for name in tagger.labels]
                for result in results
            ]
        )


@pytest.mark.parametrize(
    ("objective", "kind"), [("recall=0.8", "recall"), ("precision=0.5", "precision")]
)
def test_the_new_thresholds_reach_the_objective(
    own_plan: Path, images: Path, table: LabelTable, objective: str, kind: str
) -> None:
    report = set_thresholds(own_plan, images, table, Objective.parse(objective))
    tagged = tag_sets(own_plan, images, table)
    value = 100 * float(objective.partition("=")[2])
    for index, label in enumerate(report.labels):
        present, known = table.targets[:, index] == 1, table.targets[:, index] != 0
        hits = (tagged[:, index] & present).sum()
        assert label.positives == present.sum()
        if label.label == "rocket":
            assert label.positives == 0
            assert label.after == label.before
            continue
        assert label.precision == pytest.approx(100 * hits / (tagged[:, index] & known).sum())
        assert label.recall == pytest.approx(100 * hits / present.sum())
        reached = label.recall if kind == "recall" else label.precision
        assert (reached >= value) != (label.label in report.missed)
    assert any(label.before != label.after for label in report.labels)


def test_f1_does_not_get_worse_and_both_are_reported(
    own_plan: Path, images: Path, table: LabelTable
) -> None:
    report = set_thresholds(own_plan, images, table, Objective())
    assert report.images == COUNT
    assert report.after["OF1"] >= report.before["OF1"]
    tagged, known = tag_sets(own_plan, images, table), table.targets != 0
    hits = (tagged & (table.targets == 1)).sum()
    f1 = 2 * hits / ((tagged & known).sum() + (table.targets == 1).sum())
    assert report.after["OF1"] == pytest.approx(100 * f1, abs=1e-3)
    json.dumps(report.to_dict())


def test_only_thresholds_and_the_banks_hash_change(
    own_plan: Path, images: Path, table: LabelTable
) -> None:
    paths = [own_plan, manifest_path(own_plan), labels_path(own_plan)]
    payload, text, bank = (path.read_bytes() for path in paths)
    before, old = json.loads(text), load_bundle(own_plan)
    report = set_thresholds(own_plan, images, table, Objective.parse("recall=0.9"))
    after, new = json.loads(paths[1].read_bytes()), load_bundle(own_plan)
    assert own_plan.read_bytes() == payload
    assert paths[2].read_bytes() != bank
    assert after["files"]["labels"]["sha256"] == hashlib.sha256(paths[2].read_bytes()).hexdigest()
    assert [label["threshold"] for label in after["labels"]] == [
        label.after for label in report.labels
    ]
    np.testing.assert_array_equal(
        new.labels.thresholds, np.array([x.after for x in report.labels], np.float32)
    )
    np.testing.assert_array_equal(new.labels.embeddings, old.labels.embeddings)
    assert (new.labels.names, new.labels.text) == (old.labels.names, old.labels.text)
    assert [label["precise_threshold"] for label in after["labels"]] == [
        label.precise for label in report.labels
    ]
    np.testing.assert_array_equal(
        new.labels.precise_thresholds, np.array([x.precise for x in report.labels], "f4")
    )
    for manifest in (before, after):
        manifest["files"].pop("labels")
        manifest.pop("format")
        for label in manifest["labels"]:
            label.pop("threshold")
            label.pop("precise_threshold", None)
    assert after == before
    assert {path.name for path in own_plan.parent.iterdir()} == {path.name for path in paths}, (
        "leftovers"
    )


def test_the_old_thresholds_again_give_the_old_files(own_plan: Path) -> None:
    """The files do not depend on when or how often they were written."""
    paths = [own_plan, manifest_path(own_plan), labels_path(own_plan)]
    before = [path.read_bytes() for path in paths]
    bundle = load_bundle(own_plan)
    write_thresholds(bundle, np.full(len(bundle.labels), 0.25, np.float32))
    assert [path.read_bytes() for path in paths] != before
    write_thresholds(load_bundle(own_plan), bundle.labels.thresholds)
    assert [path.read_bytes() for path in paths] == before


def test_the_precise_thresholds_are_chosen_with_every_objective(
    own_plan: Path, images: Path, table: LabelTable
) -> None:
    """Twice: labels without an image keep what the first run found or had."""
    rocket = [label.name for label in load_bundle(own_plan).manifest.labels].index("rocket")
    write_thresholds(
        load_bundle(own_plan), np.full(5, 0.25, np.float32), np.full(5, 0.75, np.float32)
    )
    for objective in ("f1", "recall=1"):
        report = set_thresholds(own_plan, images, table, Objective.parse(objective))
        assert (report.labels[rocket].after, report.labels[rocket].precise) == (0.25, 0.75)
        assert all(label.precise >= label.after for label in report.labels)
        with Tagger(own_plan, operating_point="precise") as tagger:
            np.testing.assert_array_equal(
                tagger.thresholds, np.float32([label.precise for label in report.labels])
            )
            tagged = np.array(
                [tagger.predict(images / file).scores >= tagger.thresholds for file in table.files]
            )
        for index, label in enumerate(report.labels):
            known, present = table.targets[:, index] != 0, table.targets[:, index] == 1
            hits, tags = (tagged[:, index] & present).sum(), (tagged[:, index] & known).sum()
            assert label.precise_precision == (pytest.approx(100 * hits / tags) if tags else None)
            if label.positives:
                assert not tags or label.precise_precision >= 90
                assert label.precise_recall == pytest.approx(100 * hits / present.sum())


def test_a_dry_run_and_a_failure_change_nothing(
    own_plan: Path, images: Path, table: LabelTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [own_plan, manifest_path(own_plan), labels_path(own_plan)]
    before = [path.read_bytes() for path in paths]
    report = set_thresholds(own_plan, images, table, Objective.parse("recall=0.9"), write=False)
    assert not report.written
    assert [path.read_bytes() for path in paths] == before

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pvlr_sdk._util.files.os.fsync", full)
        with pytest.raises(errors.OutputError, match="No space left"):
            set_thresholds(own_plan, images, table, Objective.parse("recall=0.9"))
    assert [path.read_bytes() for path in paths] == before
    assert len(list(own_plan.parent.iterdir())) == 3


def test_thresholds_for_a_plan_that_was_replaced_are_refused(own_plan: Path) -> None:
    bundle = load_bundle(own_plan)
    thresholds = np.full(len(bundle.labels), 0.25, np.float32)
    write_thresholds(bundle, thresholds)
    with pytest.raises(errors.ManifestError, match="replaced in the meantime"):
        write_thresholds(bundle, thresholds)


def test_photos_without_a_label_are_an_error(
    own_plan: Path, images: Path, table: LabelTable
) -> None:
    none = LabelTable(table.files, -np.abs(table.targets), [], [])
    with pytest.raises(errors.LabelsFileError, match="at least one of the plan's labels"):
        set_thresholds(own_plan, images, none, Objective())


@pytest.mark.slow
def test_thresholds_of_tiles_keep_the_precision_and_all_other_thresholds(
    two_points: Path, images: Path, table: LabelTable
) -> None:
    before = json.loads(manifest_path(two_points).read_bytes())
    report = set_thresholds(two_points, images, table, Objective(), tiles=(2, 2))
    assert (report.tiles, report.objective) == ("2x2", "precision without tiles")
    after = json.loads(manifest_path(two_points).read_bytes())
    tiles = after.pop("tiles")
    assert (before.pop("format"), after.pop("format")) == (2, 3)
    assert tiles == {
        "2x2": {
            "f1": [x.after for x in report.labels],
            "precise": [x.precise for x in report.labels],
        }
    }
    assert after == before
    for point, measured in (("f1", report.after), ("precise", report.precise)):
        with Tagger(two_points, operating_point=point) as tagger:
            results = [tagger.predict(images / file, tiles=(2, 2)) for file in table.files]
            limits = results[0].thresholds
            np.testing.assert_array_equal(
                limits, np.maximum(tagger.thresholds, np.float32(tiles["2x2"][point]))
            )
            tags = [np.array([result.scores for result in results]) >= limits]
            tags += [
                np.array([tagger.predict(images / file).scores for file in table.files])
                >= tagger.thresholds
            ]
        for tagged, reported in zip(
            tags, (measured, report.before) if point == "f1" else (measured,), strict=False
        ):
            known, hits = table.targets != 0, (tagged & (table.targets == 1)).sum()
            # Where no threshold is precise there is no tag, and the measure is 0.
            count = max((tagged & known).sum(), 1)
            assert reported["OP"] == pytest.approx(100 * hits / count, abs=1e-3)
    # Another layout adds its own, and thresholds without tiles leave both.
    set_thresholds(two_points, images, table, Objective(), tiles=(3, 1))
    set_thresholds(two_points, images, table, Objective.parse("recall=0.9"))
    kept = load_bundle(two_points).manifest
    assert (sorted(kept.tiles), kept.format) == (["2x2", "3x1"], 3)
    assert list(kept.tiles["2x2"]["f1"]) == tiles["2x2"]["f1"]
    write_thresholds(load_bundle(two_points), np.full(5, 0.25, np.float32))
    assert load_bundle(two_points).labels.precise_thresholds.tolist() == [0.25] * 5


def test_tiles_have_no_objective_of_their_own(
    own_plan: Path, images: Path, table: LabelTable
) -> None:
    for objective, prevalence in ((Objective.parse("recall=0.9"), None), (Objective(), "0.1")):
        with pytest.raises(
            errors.OptionError, match="tiles: expected no objective and no prevalence"
        ):
            set_thresholds(own_plan, images, table, objective, prevalence=prevalence, tiles=(2, 2))
