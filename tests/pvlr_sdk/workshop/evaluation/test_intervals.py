"""Intervals of mAP, precision and recall, and other frequencies of labels."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import Tagger
from pvlr_sdk.errors import OptionError, UnknownLabelError
from pvlr_sdk.labels import intervals
from pvlr_sdk.labels.intervals import expected, reweighted, weights
from pvlr_sdk.labels.thresholds import choose_thresholds, sigmoid
from pvlr_sdk.workshop.evaluation import metrics
from pvlr_sdk.workshop.evaluation.prevalence import estimate, find_prevalence

RARE = np.array([0.05, 0.1])


def draw(random: np.random.Generator, count: int, share: Any) -> tuple[np.ndarray, np.ndarray]:
    """Logits and targets (count, 2) with these shares of positives."""
    targets = np.where(random.random((count, 2)) < share, 1, -1)
    return 3 * targets + random.normal(0, 2, targets.shape), targets


def test_draws_without_a_prior_are_a_bayesian_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fast computation equals the definition, for weighted images with ties and unknown labels."""
    random = np.random.default_rng(3)
    targets = random.choice([-1, -1, 0, 1], (40, 3))
    scores = np.round(targets + random.normal(0, 1, targets.shape), 1)
    monkeypatch.setattr(intervals, "_PRIOR", 1e-12)
    monkeypatch.setattr(intervals, "_ROUNDS", 200)
    got = expected(scores, scores >= 0.5, targets)
    counts = (np.random.default_rng(0).exponential(size=(200, 40)) * 1e4).astype(int)
    share = (targets == 1).sum(0) / (targets != 0).sum(0)
    areas, precisions = [], []
    for drawn in counts:
        each = []
        for c in range(3):
            positive, negative = drawn * (targets[:, c] == 1), drawn * (targets[:, c] == -1)
            mass = share[c] * positive / positive.sum(), (1 - share[c]) * negative / negative.sum()
            levels = np.unique(scores[targets[:, c] != 0, c])[::-1]
            hits = np.array([0, *(mass[0][scores[:, c] >= level].sum() for level in levels)])
            wrong = np.array([mass[1][scores[:, c] >= level].sum() for level in levels])
            tagged = scores[:, c] >= 0.5
            right, false = mass[0][tagged].sum(), mass[1][tagged].sum()
            each.append(
                (
                    (np.diff(hits) * hits[1:] / (hits[1:] + wrong)).sum() / share[c],
                    right / (right + false),
                )
            )
        areas.append(np.mean([area for area, _ in each]))
        precisions.append(np.mean([precision for _, precision in each]))
    for name, values in (("mAP", areas), ("CP", precisions)):
        wanted = np.quantile(values, [0.5, 0.025, 0.975])
        np.testing.assert_allclose(
            (got[name].value, got[name].low, got[name].high), wanted, atol=1e-3
        )


@pytest.mark.slow
@pytest.mark.parametrize("share", [None, RARE], ids=["own", "rarer"])
def test_intervals_cover_the_truth_at_thresholds_chosen_on_the_same_images(
    share: np.ndarray | None,
) -> None:
    """Even where labels are rarer than on the labelled images, and no labelled image is tagged wrongly."""
    random = np.random.default_rng(0)
    wide = draw(random, 50_000, 0.3 if share is None else share)
    covered = {"mAP": 0, "OP": 0, "OR": 0}
    for _ in range(40):
        logits, targets = draw(random, 80, 0.3)
        cuts = choose_thresholds(
            *((logits, targets) if share is None else reweighted(logits, targets, share))
        )
        got = expected(logits, sigmoid(logits) >= cuts, targets, prevalence=share)
        truth = metrics.f1_scores(sigmoid(wide[0]) >= cuts, wide[1]) | {
            "mAP": metrics.mean_average_precision(*wide)
        }
        for name in covered:
            covered[name] += got[name].low <= truth[name] <= got[name].high
    assert min(covered.values()) >= 35, covered


def test_intervals_on_a_number_of_other_images_cover_what_they_show() -> None:
    """Also a measure of exactly 100 %, which is frequent on few images."""
    random, covered = np.random.default_rng(0), {"OP": 0, "OR": 0}
    for _ in range(40):
        logits, targets = draw(random, 70, 0.15)
        cuts = choose_thresholds(logits, targets)
        got = expected(logits, sigmoid(logits) >= cuts, targets, others=100)
        others = draw(random, 100, 0.15)
        shown = metrics.f1_scores(sigmoid(others[0]) >= cuts, others[1])
        for name in covered:
            covered[name] += got[name].low <= shown[name] <= got[name].high
    assert min(covered.values()) >= 36, covered


def test_more_images_and_fewer_groups() -> None:
    random = np.random.default_rng(0)
    logits, targets = draw(random, 1500, 0.3)
    width = lambda rows, **more: np.subtract(
        *(lambda one: (one.high, one.low))(
            expected(logits[rows], logits[rows] > 0, targets[rows], **more)["OP"]
        )
    )
    assert width(slice(None)) < 0.5 * width(slice(80))
    assert width(slice(80), groups=np.arange(80) // 8) > 1.2 * width(slice(80))


def test_no_positives_no_interval() -> None:
    for targets in (np.empty((0, 2)), -np.ones((3, 2)), np.zeros((3, 2))):
        assert expected(targets, targets > 0, targets)["mAP"].percent() is None


def test_weights_give_each_label_its_frequency() -> None:
    targets = np.random.default_rng(1).choice([-1, 1, 1], (60, 2))
    weight = weights(targets, RARE)
    np.testing.assert_allclose(
        [(weight * (column == 1)).mean() for column in targets.T], RARE, rtol=1e-3
    )
    assert intervals.count(np.ones(60)) == pytest.approx(60)
    assert intervals.count(weight) < 30


@pytest.mark.slow
def test_the_prevalence_is_estimated_from_images_without_labels() -> None:
    random = np.random.default_rng(0)
    found = [estimate(*draw(random, 200, 0.4), draw(random, 500, RARE)[0]) for _ in range(20)]
    np.testing.assert_allclose(np.median(found, axis=0), RARE, rtol=0.35)


def test_stated_prevalences(tmp_path: Path, tagger: Tagger) -> None:
    first, cat = np.array([1, -1, 0, -1], np.int8), np.array([-1, 1, 1, 1], np.int8)
    targets = np.stack([cat if label == "cat" else first for label in tagger.labels], axis=1)
    find = partial(find_prevalence, tagger=tagger, logits=np.zeros(targets.shape), targets=targets)
    assert find("0.05").tolist() == [0.05] * len(tagger.labels)
    (tmp_path / "shares.json").write_text(json.dumps({"cat": 0.02}))
    assert find(str(tmp_path / "shares.json")) == pytest.approx(
        [0.02 if label == "cat" else 1 / 3 for label in tagger.labels]
    )
    for text, error in (
        ('{"cta": 0.1}', UnknownLabelError),
        ('{"cat": 5}', OptionError),
        ("[1]", OptionError),
    ):
        (tmp_path / "shares.json").write_text(text)
        with pytest.raises(error, match="--prevalence"):
            find(str(tmp_path / "shares.json"))
    for text in ("1", "0", "nan", "often"):
        with pytest.raises(
            OptionError, match="--prevalence: expected shares of images between 0 and 1"
        ):
            find(text)
