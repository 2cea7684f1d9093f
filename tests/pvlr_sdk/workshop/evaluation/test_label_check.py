"""Suspect labels: what is found, what is not learned from, and the learning curve."""

from __future__ import annotations

import numpy as np
import pytest

from pvlr_sdk import errors
from pvlr_sdk.workshop.evaluation import metrics
from pvlr_sdk.workshop.evaluation.label_check import disagreeing, judge, twice
from pvlr_sdk.workshop.evaluation.probe import out_of_fold

COUNT, WIDTH = 400, 24
LABELS = ["dog", "cat", "cup"]


@pytest.fixture
def photos():
    """Features of unit length and what they show: 30 % of the photos show a label, with some noise."""
    random = np.random.default_rng(4)
    features = random.normal(size=(COUNT, WIDTH))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    logits = features @ random.normal(size=(WIDTH, len(LABELS)))
    logits += random.normal(0, 0.1, logits.shape)
    present = logits > np.quantile(logits, 0.7, axis=0)
    return features, np.where(present, 1, -1).astype(np.int8), np.arange(COUNT)


def test_wrong_labels_are_at_the_head_of_the_list(photos):
    pytest.importorskip("cleanlab")
    features, targets, groups = photos
    wrong = np.random.default_rng(1).random(targets.shape) < 0.05
    judged = judge(features, np.where(wrong, -targets, targets), groups, LABELS)
    worst = np.argsort(judged.quality, axis=None)[: targets.size // 10]
    assert wrong.ravel()[worst].sum() >= 0.7 * wrong.sum()
    assert judged.issues[wrong].mean() > 0.6
    assert judged.issues[~wrong].mean() < 0.05


def test_a_complete_set_is_judged_as_by_cleanlabs_multilabel_functions(photos):
    pytest.importorskip("cleanlab")
    from cleanlab.internal.multilabel_utils import onehot2int
    from cleanlab.multilabel_classification.filter import find_multilabel_issues_per_class
    from cleanlab.multilabel_classification.rank import get_label_quality_scores_per_class

    features, targets, groups = photos
    targets[::20, 1] *= -1
    judged = judge(features, targets, groups, LABELS)
    labels = onehot2int((targets == 1).astype(int))
    issues = find_multilabel_issues_per_class(labels, judged.scores, n_jobs=1)
    np.testing.assert_array_equal(judged.issues, issues)
    quality = get_label_quality_scores_per_class(labels, judged.scores)
    np.testing.assert_allclose(judged.quality, quality)


def test_unknown_cells_are_scored_and_neither_learned_from_nor_suspect(photos):
    pytest.importorskip("cleanlab")
    features, targets, groups = photos
    unknown = np.random.default_rng(2).random(targets.shape) < 0.4
    targets[unknown] = 0
    judged = judge(features, targets, groups, LABELS)
    assert not judged.issues[unknown].any()
    assert np.isnan(judged.quality[unknown]).all()
    assert np.isfinite(judged.scores).all()
    raw = out_of_fold(features, targets, groups)
    order = np.random.default_rng(0).permutation(COUNT)
    centred = features - features.mean(0)
    design = np.column_stack(
        [centred, np.full(COUNT, np.sqrt(3e3))]
    )  # prior variance 1000, ridge 3
    for share, scores in zip((1, 2, 4), raw, strict=True):
        for fold in range(5):
            held = order % 5 == fold
            for column, cells in enumerate(targets.T):
                seen = ~held & (cells != 0) & (order // 5 % 4 < share)
                rows = np.vstack([design[seen], np.sqrt(3) * np.eye(WIDTH + 1)])
                values = np.append(cells[seen], np.zeros(WIDTH + 1))
                weights = np.linalg.lstsq(rows, values, rcond=None)[0]
                np.testing.assert_allclose(scores[held, column], design[held] @ weights, atol=1e-6)


def test_a_score_does_not_depend_on_the_labels_of_the_photo_and_its_group(photos):
    features, targets, groups = photos
    groups[7] = groups[300]
    before = out_of_fold(features, targets, groups)[-1]
    targets[7] *= -1
    after = out_of_fold(features, targets, groups)[-1]
    np.testing.assert_array_equal(after[[7, 300]], before[[7, 300]])
    assert (after != before).any()


def test_near_duplicates_that_disagree(photos):
    features, targets, _ = photos
    copies = features.copy()
    copies[9] = features[3]
    copies[399] = features[3] + 0.01  # less alike
    targets[[3, 9, 399]] = [[1, 1, 1], [-1, 1, 0], [-1, 1, -1]]
    twins = disagreeing(copies / np.linalg.norm(copies, axis=1, keepdims=True), targets)
    expected = np.full(targets.shape, -1)
    expected[3, 0] = 9
    expected[3, 2] = 399
    expected[9, 0] = expected[399, 0] = expected[399, 2] = 3
    np.testing.assert_array_equal(twins, expected)


def test_labels_with_too_few_photos_are_not_judged(photos):
    pytest.importorskip("cleanlab")
    features, targets, groups = photos
    targets[:, 2] = -1
    targets[:4, 2] = 1
    judged = judge(features, targets, groups, LABELS)
    assert np.isnan(judged.scores[:, 2]).all()
    assert np.isnan(judged.curve[:, 2]).all()
    assert np.isfinite(judged.scores[:, :2]).all()
    groups[:] = np.arange(COUNT) // 100  # four groups of copies
    with pytest.raises(errors.OptionError, match=r"5 different photos.*cup: 1 and 4.*Label more"):
        judge(features, targets, groups, LABELS)


def test_the_promise_continues_a_power_law():
    photos = np.array([250, 500, 1000, 2000])[:, None]
    curve = 1 - np.array([2.0, 3.0]) * photos ** np.array([-0.3, -0.5])
    np.testing.assert_allclose(twice(curve[:3]), curve[3])
    falling = np.array([[0.6], [0.5], [0.5]])
    np.testing.assert_allclose(twice(falling), [0.5])  # more photos are not expected to harm


def test_the_curve_is_the_average_precision_of_scores_out_of_fold(photos):
    pytest.importorskip("cleanlab")
    curve = judge(*photos, LABELS).curve
    raw = out_of_fold(*photos)
    np.testing.assert_allclose(curve[1], metrics.per_class(raw[1], photos[1]))
    assert curve[0].mean() < curve[2].mean()
