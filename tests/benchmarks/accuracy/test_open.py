"""The benchmark of open labels: its rivals, its splits, its calibration and its draws on made-up photos."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import yaml

pytest.importorskip("sklearn", reason="needs the extra [test]")
pytest.importorskip("timm", reason="needs the extra [train]")

from benchmarks.accuracy.open import few, rivals, splits, taught, tuned
from benchmarks.accuracy.open.data import Photos
from benchmarks.accuracy.open.splits import calibrate, trust
from benchmarks.accuracy.open.tables import taught_table
from pvlr_sdk.labels.precision_recall import average_precision
from pvlr_training.concepts import Seen
from pvlr_training.config import load_config


def test_conse_finds_the_label_of_the_likeliest_class():
    classes = np.eye(30)
    probabilities = np.full((2, 30), 0.01)
    probabilities[[0, 1], [3, 7]] = 0.7
    scores = rivals.conse(probabilities, classes, classes[[3, 7]], best=5)
    np.testing.assert_array_equal(scores.argmax(1), [0, 1])


def test_eszsl_is_the_minimum_of_its_objective():
    random = np.random.default_rng(0)
    features, seen, true = (random.normal(size=shape) for shape in ((200, 6), (40, 4), (6, 4)))
    targets = features @ true @ seen.T
    found = features @ rivals.eszsl(features, targets, seen, seen, 1e-9, 1e-9)
    np.testing.assert_allclose(found, targets, atol=1e-4)


@pytest.mark.parametrize("way", [rivals.logistic_regression, rivals.cache_model])
def test_rivals_find_what_photos_have_in_common(way):
    random = np.random.default_rng(1)
    features = rivals.unit(random.normal(size=(80, 20)))
    features[:20] = rivals.unit(features[:20] + 2 * features[0])
    present = np.arange(80) < 20
    scores = way(features[::2], present[::2], features[1::2])
    assert average_precision(scores, np.where(present[1::2], 1, -1)) > 0.9


def test_the_splits_are_disjoint_and_always_the_same():
    found = splits.splits([str(label) for label in range(80)])
    assert [len(of) for of in found] == [20, 20, 20]
    assert len(set(np.concatenate(found).tolist())) == 60
    assert len(set(np.concatenate(splits.splits([str(label) for label in range(80)], 4)).tolist())) == 80


def test_the_calibration_finds_the_probability_of_a_score():
    random = np.random.default_rng(2)
    scores = random.normal(size=(4000, 5))
    targets = np.where(random.random(scores.shape) < 1 / (1 + np.exp(3 - 2 * scores)), 1, -1).astype(np.int8)
    found = calibrate(scores, targets)
    assert (found.scale, found.offset) == pytest.approx((2, -3), abs=0.15)
    assert found.threshold < found.precise_threshold
    measured = trust(scores, targets, found)
    assert measured["precise precision"] > 85
    assert measured["present at 0.3"] == pytest.approx(30, abs=5)


def test_draws_have_k_photos_of_the_label():
    random = np.random.default_rng(3)
    targets = np.where(random.random((400, 3)) < 0.2, 1, -1).astype(np.int8)
    empty = np.zeros((400, 1))
    train = Photos(Seen(random.normal(size=(400, 8)), empty, empty), targets)
    made = list(few.draws(train, np.zeros((400, 3)), np.arange(400), 1, 4, 2))
    assert [int(draw.present.sum()) for draw in made] == [4, 4]
    assert [len(draw.present) for draw in made] == [104, 104]
    assert not np.array_equal(made[0].features, made[1].features)


def test_a_label_counts_with_its_own_network_only(monkeypatch):
    monkeypatch.setattr(few, "COUNTS", (2,))
    random = np.random.default_rng(4)
    targets = np.where(random.random((600, 2)) < 0.2, 1, -1).astype(np.int8)
    empty = np.zeros((600, 1))
    known = []
    for label in range(2):  # the features of each network show its label, and its words the other one
        features = np.column_stack([(targets[:, label] == 1) + 0.1 * random.random(600), np.ones(600)])
        photos = Photos(Seen(rivals.unit(features), empty, empty), targets)
        words = targets[:, ::-1] + random.normal(size=(600, 2))
        known.append(few.Known([label], photos, photos, words, words))
    table = few.few_photos(known, 1)
    assert table["labels"] == {"count": 2}
    assert table["photos alone"]["2"] == 100
    assert table["words and photos"]["0"] < 40


def test_the_backbone_sees_neither_the_photos_nor_the_labels_it_is_tested_on(monkeypatch, tmp_path):
    labels = ["cat", "bus", "dog", "motorcycle"]
    count = few.POOL + 7
    (tmp_path / "coco").mkdir()
    with (tmp_path / "coco/labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "split", *labels])
        writer.writerows([f"{row}.jpg", "train" if row % 2 else "testdev", 1, -1, 1, -1] for row in range(2 * count))
    trained = []
    monkeypatch.setattr(tuned, "train", lambda path, *_, **options: trained.append((path, options["resume"])))
    monkeypatch.setenv("PVLR_DATA", str(tmp_path))
    tuned.train_backbone(tmp_path, labels, [1, 3], tmp_path / "run")
    assert trained == [(tmp_path / "run/recipe.yaml", False)]
    config = load_config(tmp_path / "run/recipe.yaml")
    coco, voc = config.data.sources
    assert config.data.labels == ("cat", "dog")
    assert "motorcycle" not in yaml.safe_load(voc.rename.read_text()).values()
    with coco.labels.open(newline="") as file:
        left = {row["file"] for row in csv.DictReader(file) if row["split"] == "train"}
    train = [f"{row}.jpg" for row in range(2 * count) if row % 2]
    assert len(left) == 7
    assert left.isdisjoint(train[index] for index in few.pool(count))


def test_intervals_of_a_label_that_is_easy_contain_what_others_show(monkeypatch):
    monkeypatch.setattr(taught, "OTHERS", 100)
    random = np.random.default_rng(5)
    target = np.where(np.arange(300) < 40, 1, -1)
    features = random.normal(size=(300, 1280))
    features[:, 0] += 60 * (target == 1)
    found = taught.measure("steed", rivals.unit(features), target, 14, 3)
    assert found["others"] == found["inside"] == [100, 100]
    assert [found["reported"][place] for place in (0, 2, 3, 5)] == [100] * 4
    (row,) = taught_table({"steed": found}).rows
    assert row[2:4] == ["100", "100.0 %"]
