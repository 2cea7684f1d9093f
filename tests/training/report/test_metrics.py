"""The metrics of a report equal scikit-learn's on the same images and scores."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    precision_recall_fscore_support,
)

from pvlr_training.checkpoint import load_model
from pvlr_training.data.augmentation import Views
from pvlr_training.data.images import load_dataset, split_holdout
from pvlr_training.deploy import DeployedPVLR
from pvlr_training.evaluate import predict_logits
from pvlr_training.report.metrics import run_metrics

Run = Callable[..., Path]
Page = Callable[..., dict[str, Any]]


def scored(
    run: Path,
) -> tuple[NDArray[np.float64], NDArray[np.int8], NDArray[np.float64], list[str]]:
    """Logits, targets, thresholds and names of a run's held-out images, from the training code."""
    model, config, extra = load_model(run)
    _, holdout = split_holdout(load_dataset(config.data))
    logits = predict_logits(DeployedPVLR(model), holdout, Views(config.data, 0))
    return logits, holdout.targets.numpy(), np.array(extra["thresholds"]), holdout.names


@pytest.mark.slow
def test_the_numbers_are_those_of_scikit_learn(make_run: Run, write_page: Page) -> None:
    run = make_run()
    (data,) = write_page(run)["runs"]
    logits, targets, thresholds, names = scored(run)
    assert data["images"] == len(names) > 15
    assert (targets == 0).any()

    expected = []
    for one, score, target, threshold in zip(
        data["classes"], logits.T, targets.T, thresholds, strict=True
    ):
        known = target != 0
        truth, score = target[known] > 0, score[known]
        expected.append(average_precision_score(truth, score))
        assert one["ap"] == pytest.approx(expected[-1], abs=1e-5)
        precision, recall, _ = precision_recall_curve(truth, score)
        # the last point has no threshold: recall 0, precision 1
        precision, recall = (
            precision[:-1],
            recall[:-1],
        )
        for share, found in zip((0.5, 0.7, 0.9), one["precision_at_recall"], strict=True):
            assert found == pytest.approx(precision[recall >= share - 1e-9].max(), abs=1e-5)
        tagged = score >= np.log(threshold / (1 - threshold))
        p, r, _, _ = precision_recall_fscore_support(
            truth, tagged, average="binary", zero_division=0
        )
        assert (one["precision"] or 0, one["recall"]) == pytest.approx((p, r), abs=1e-5)
        assert (one["positives"], one["images"]) == (truth.sum(), known.sum())
    assert data["mAP"] == pytest.approx(np.mean(expected), abs=1e-5)

    known = targets != 0
    tagged = logits >= np.log(thresholds / (1 - thresholds))
    _, _, overall, _ = precision_recall_fscore_support(
        targets[known] > 0, tagged[known], average="binary"
    )
    assert data["OF1"] == pytest.approx(overall, abs=1e-5)
    # The metrics that training wrote for the same images.
    written = json.loads((run / "model.json").read_text())["holdout"]
    for key in ("mAP", "CF1", "OF1"):
        assert 100 * data[key] == pytest.approx(written[key], abs=0.006)


@pytest.mark.slow
def test_confusions_count_photos(make_run: Run, write_page: Page) -> None:
    run = make_run()
    (data,) = write_page(run)["runs"]
    logits, targets, thresholds, _ = scored(run)
    tagged = logits >= np.log(thresholds / (1 - thresholds))
    expected = []
    for a in range(3):
        for b in range(3):
            of = [i for i in range(len(targets)) if targets[i, a] == 1 and targets[i, b] == -1]
            count = sum(bool(tagged[i, b]) for i in of)
            if count:
                expected.append([a, b, count, len(of)])
    assert sorted(data["confusions"]) == expected
    counts = [row[2] for row in data["confusions"]]
    assert counts == sorted(counts, reverse=True)
    assert counts


@pytest.mark.slow
def test_mistakes_are_the_widest_misses_with_their_pictures(
    make_run: Run, write_page: Page
) -> None:
    run = make_run(epochs=3)
    data = write_page(run, mistakes=4)
    logits, targets, thresholds, names = scored(run)
    over = logits - np.log(thresholds / (1 - thresholds))
    labels = ["red", "green", "blue"]
    for kind, wrong in (
        ("missed", (over < 0) & (targets == 1)),
        ("added", (over >= 0) & (targets == -1)),
    ):
        distance = np.where(wrong, np.abs(over), -1)
        order = [i for i in np.argsort(-distance.max(1), kind="stable") if wrong[i].any()][:4]
        shown = [one for one in data["runs"][0]["mistakes"] if one["kind"] == kind]
        assert [(one["file"], one["label"]) for one in shown] == [
            (names[i], labels[distance[i].argmax()]) for i in order
        ]
        assert shown
        for one, i in zip(shown, order, strict=True):
            states = {tag["label"]: tag["state"] for tag in one["tags"]}
            for c, label in enumerate(labels):
                found = {1: "right", -1: "added", 0: "unknown"}[int(targets[i, c])]
                assert states.get(label) == (
                    found if over[i, c] >= 0 else "missed" if targets[i, c] == 1 else None
                )
    for source in data["pictures"]:
        kind, payload = source.split(",")
        picture = cv2.imdecode(np.frombuffer(base64.b64decode(payload), np.uint8), cv2.IMREAD_COLOR)
        assert kind == "data:image/jpeg;base64"
        assert max(picture.shape[:2]) <= 400


def test_the_precision_at_a_recall_is_that_of_the_best_threshold() -> None:
    """Four images show the label: the first, third, sixth and seventh of seven by score."""
    logits = np.array([6.0, 5, 4, 3, 2, 1, 0])
    targets = np.array([1, -1, 1, -1, -1, 1, 1], np.int8)
    (label,) = run_metrics(("a",), logits[:, None], targets[:, None], np.array([0.5]))["classes"]
    assert label["precision_at_recall"] == [round(2 / 3, 5), round(4 / 7, 5), round(4 / 7, 5)]


@pytest.mark.slow
def test_other_weights_and_other_photos_are_predicted_anew(
    make_run: Run, write_page: Page, folder: Path
) -> None:
    run, other = make_run(), make_run("other", epochs=1)
    first = write_page(run)
    (run / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    assert write_page(run)["runs"][0]["mAP"] != first["runs"][0]["mAP"]
    for split, count in (("val", 20), (None, 80)):
        (of_run,) = write_page(run, images=folder, labels=folder / "labels.csv", split=split)[
            "runs"
        ]
        assert of_run["images"] == count
    assert of_run["failed"] == ["no_decode.png"]
    assert write_page(run, split="val")["runs"][0]["images"] == 20
