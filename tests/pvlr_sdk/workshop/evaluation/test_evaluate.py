"""The evaluation of a compiled plan, compared with scikit-learn on scores of single calls."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics

from pvlr_sdk import Tagger, errors
from pvlr_sdk.workshop.evaluation.evaluate import evaluate
from pvlr_sdk.workshop.evaluation.labels_csv import LabelTable, read_labels
from tests.pvlr_sdk.workshop.evaluation.conftest import COUNT


@pytest.fixture
def tagger(plan: Path):
    with Tagger(plan) as tagger:
        yield tagger


def table_for(tagger: Tagger, seed: int = 0, missing: tuple[str, ...] = ()) -> LabelTable:
    targets = np.random.default_rng(seed).choice(
        np.array([-1, -1, 0, 1], np.int8), (COUNT, len(tagger.labels))
    )
    for name in missing:
        targets[:, tagger.labels.index(name)] = 0
    return LabelTable(
        [f"{index}.png" for index in range(COUNT)], targets, list(missing), ["photographer"]
    )


def test_the_measures_are_those_of_the_plans_own_scores(tagger, images):
    table = table_for(tagger, missing=("rocket",))
    steps: list[int] = []
    report = evaluate(tagger, images, table, steps.append)
    results = [tagger.predict(images / file) for file in table.files]
    logits = np.array([result.logits for result in results])

    expected = {}
    for index, label in enumerate(tagger.labels):
        known = table.targets[:, index] != 0
        if label != "rocket":
            expected[label] = 100 * sklearn.metrics.average_precision_score(
                table.targets[known, index] > 0, logits[known, index]
            )
    assert report.per_class == pytest.approx(expected)
    assert report.mAP == pytest.approx(np.mean(list(expected.values())))
    assert report.images == COUNT
    assert report.missing_labels == ["rocket"]
    assert report.extra_columns == ["photographer"]
    assert report.failed_images == []
    assert report.model == "tiny"
    assert report.precision == tagger.info["precision"]
    assert steps == list(range(1, COUNT + 1))

    known = table.targets != 0
    tagged = np.array(
        [[label in {tag.label for tag in result} for label in tagger.labels] for result in results]
    )
    assert 0 < tagged[known].mean() < 1  # else the next lines test nothing
    precision, recall, f1, _ = sklearn.metrics.precision_recall_fscore_support(
        table.targets[known] > 0, tagged[known], average="binary"
    )
    got = (report.OP, report.OR, report.OF1)
    assert got == pytest.approx((100 * precision, 100 * recall, 100 * f1))


def test_a_label_without_a_positive_is_none_and_leaves_the_mean_alone(tagger, images):
    table = table_for(tagger)
    table.targets[:, 1] = -1
    report = evaluate(tagger, images, table)
    label = tagger.labels[1]
    assert report.per_class[label] is None
    others = [value for name, value in report.per_class.items() if name != label]
    assert report.mAP == pytest.approx(np.mean(others))
    assert json.loads(json.dumps(report.to_dict()))["per_class"][label] is None


def test_bad_photos_are_reported_and_left_out(tagger, images):
    table = table_for(tagger)
    (images / "3.png").write_text("not an image")
    (images / "7.png").unlink()
    report = evaluate(tagger, images, table)
    assert report.images == COUNT - 2
    assert [(bad["file"], bad["error"]) for bad in report.failed_images] == [
        ("3.png", "ImageDecodeError"),
        ("7.png", "ImageNotFoundError"),
    ]
    keep = [index for index in range(COUNT) if index not in (3, 7)]
    rest = LabelTable([table.files[index] for index in keep], table.targets[keep], [], [])
    assert report.per_class == evaluate(tagger, images, rest).per_class


def test_what_makes_no_sense_is_an_error(tagger, images, tmp_path):
    table = table_for(tagger)
    with pytest.raises(errors.ImageNotFoundError, match="--images"):
        evaluate(tagger, tmp_path / "nowhere", table)
    with pytest.raises(errors.ImageNotFoundError, match=r"0\.png"):
        evaluate(tagger, tmp_path, table)  # a folder, but the wrong one
    with pytest.raises(errors.OptionError, match="names="):
        evaluate(tagger, images, LabelTable(table.files, table.targets[:, :2], [], []))


def test_from_the_csv_on(tagger, images, tmp_path):
    lines = ["file,split,human,cat"] + [
        f"{index}.png,val,{index % 2},{1 - index % 2}" for index in range(COUNT)
    ]
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(lines))
    table = read_labels(path, "val", tagger.labels, {"human": "person"})
    report = evaluate(tagger, images, table)
    assert set(report.per_class) == {"person", "cat"}
    assert report.missing_labels == ["coffee cup", "rocket", "dining table"]
