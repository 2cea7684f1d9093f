"""The metrics compared with scikit-learn and a literal transcription of the VOC devkit."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.calibration import calibration_curve

from pvlr_sdk import errors
from pvlr_sdk.workshop.evaluation import metrics

PAIRS = st.integers(1, 40).flatmap(
    lambda n: st.tuples(
        hnp.arrays(
            np.float64, n, elements=st.integers(-6, 6).map(lambda value: value / 4)
        ),  # many ties
        hnp.arrays(np.int8, n, elements=st.sampled_from([-1, 0, 1])),
    )
)


def devkit_11pt(scores: np.ndarray, targets: np.ndarray) -> float:
    """VOCevalcls.m of 2007, line by line; whole numbers where MATLAB compares rounded recalls."""
    order = np.argsort(-scores, kind="stable")
    true, false = np.cumsum(targets[order] > 0), np.cumsum(targets[order] < 0)
    positives = int((targets > 0).sum())
    total = 0.0
    for tenth in range(11):
        reached = true * 10 >= tenth * positives
        total += (true / np.maximum(true + false, 1))[reached].max(initial=0.0) / 11
    return total


@pytest.mark.slow
@given(PAIRS)
def test_average_precision_is_scikit_learns_ties_and_unknown_included(pair):
    scores, targets = pair
    value = metrics.average_precision(scores, targets)
    known = targets != 0
    if not (targets > 0).any():
        assert np.isnan(value)
    else:
        expected = sklearn.metrics.average_precision_score(targets[known] > 0, scores[known])
        assert value == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow
@given(PAIRS, st.randoms(use_true_random=False))
def test_eleven_points_are_the_devkits_where_no_scores_are_equal(pair, random):
    scores, targets = pair
    scores = np.array(random.sample(range(1000), len(scores)), float)
    known = targets != 0
    value = metrics.average_precision_11pt(scores, targets)
    if not (targets > 0).any():
        assert np.isnan(value)
    else:
        assert value == pytest.approx(devkit_11pt(scores[known], targets[known]), abs=1e-12)


@pytest.mark.slow
@given(PAIRS, st.randoms(use_true_random=False))
def test_neither_measure_depends_on_the_order_of_the_images(pair, random):
    scores, targets = pair
    order = np.array(random.sample(range(len(scores)), len(scores)))
    for measure in (metrics.average_precision, metrics.average_precision_11pt):
        np.testing.assert_equal(measure(scores, targets), measure(scores[order], targets[order]))


def test_eleven_points_do_not_lose_a_recall_to_rounding():
    # Recall 0.3 and 0.7 are reached exactly here; 3 * 0.1 > 0.3 in floating point.
    scores = np.arange(20.0)[::-1]
    targets = np.tile([1, -1], 10)
    assert metrics.average_precision_11pt(scores, targets) == pytest.approx(
        devkit_11pt(scores, targets), abs=1e-12
    )
    assert metrics.average_precision_11pt([2, 1], [1, -1]) == 1.0
    assert metrics.average_precision_11pt([1, 2], [1, -1]) == pytest.approx(0.5)


def test_mean_leaves_out_classes_without_a_positive():
    scores = np.array([[3.0, 1.0, 0.0], [2.0, 2.0, 0.0], [1.0, 3.0, 0.0]])
    targets = np.array([[1, 1, -1], [-1, -1, 0], [-1, -1, -1]])
    np.testing.assert_allclose(metrics.per_class(scores, targets), [1, 1 / 3, np.nan])
    assert metrics.mean_average_precision(scores, targets) == pytest.approx(2 / 3)
    assert np.isnan(metrics.mean_average_precision(scores, -np.ones((3, 3), int)))


@pytest.mark.slow
@given(st.integers(1, 30), st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_f1_is_scikit_learns(images, classes, seed):
    random = np.random.default_rng(seed)
    predicted = random.random((images, classes)) < 0.4
    present = random.random((images, classes)) < 0.4
    present[0] = True  # every class has a positive: scikit-learn has no rule for the others
    values = metrics.f1_scores(predicted, np.where(present, 1, -1))
    for prefix, average in (("C", "macro"), ("O", "micro")):
        precision, recall, _, _ = sklearn.metrics.precision_recall_fscore_support(
            present, predicted, average=average, zero_division=0
        )
        expected = 2 * precision * recall / (precision + recall) if precision + recall else 0
        got = [values[prefix + name] for name in ("P", "R", "F1")]
        np.testing.assert_allclose(got, [precision, recall, expected], atol=1e-12)


def test_f1_leaves_unknown_entries_out():
    predicted = np.array([[True], [True], [False], [True]])
    values = metrics.f1_scores(predicted, [[1], [0], [0], [-1]])
    assert values["OP"] == 0.5
    assert values["OR"] == 1.0
    assert all(np.isnan(value) for value in metrics.f1_scores(predicted, [[-1]] * 4).values())


def test_top_k_by_hand():
    scores = np.array([[0.9, 0.8, 0.7, 0.6], [0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.5, 0.5]])
    tagged = np.array(
        [[True, True, True, True], [False, False, False, True], [False, True, True, True]]
    )
    # the first of equal ones
    assert metrics.top_k(scores, 3).tolist() == [
        [1, 1, 1, 0],
        [0, 1, 1, 1],
        [1, 1, 1, 0],
    ]
    # Labels below their threshold keep their rank: the third image's first label does.
    assert metrics.top_k(scores, 3, tagged).tolist() == [[1, 1, 1, 0], [0, 0, 0, 1], [0, 1, 1, 0]]
    assert metrics.top_k(scores, 9).all()


def test_top_3_measures_by_hand():
    """COCO-style: five labels, four images; counted on paper."""
    scores = [[9, 8, 7, 6, 1], [9, 1, 8, 2, 7], [1, 2, 3, 8, 9], [5, 4, 3, 2, 1]]
    targets = np.array(
        [[1, 1, -1, 1, -1], [1, -1, -1, 1, 1], [-1, -1, 1, -1, 1], [-1, 0, 1, -1, -1]]
    )
    tagged = np.array(scores) >= 3
    # Tagged, top 3:  abc, ace, cde, abc; without a threshold the same, the fourth's too.
    # Right:          ab,  ae,  ce,  c.    Unknown: b of the fourth.   Present: abd, ade, ce, c.
    values = metrics.f1_scores(metrics.top_k(scores, 3, tagged), targets)
    # a: images 1, 2, 4; b: 1; c: 1 to 4; d: 3; e: 2, 3
    precision = [
        2 / 3,
        1 / 1,
        2 / 4,
        0 / 1,
        2 / 2,
    ]
    recall = [2 / 2, 1 / 1, 2 / 2, 0 / 2, 2 / 2]
    assert values["CP"] == pytest.approx(np.mean(precision))
    assert values["CR"] == pytest.approx(np.mean(recall))
    assert values["CF1"] == pytest.approx(
        2 * np.mean(precision) * np.mean(recall) / (np.mean(precision) + np.mean(recall))
    )
    assert values["OP"] == pytest.approx(7 / 11)
    assert values["OR"] == pytest.approx(7 / 9)
    assert values["OF1"] == pytest.approx(2 * 7 / (11 + 9))
    # All labels: image 1 also has its d (6 >= 3), which is right.
    assert metrics.f1_scores(tagged, targets)["OR"] == pytest.approx(8 / 9)


@given(st.integers(1, 20), st.integers(1, 7), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_top_k_are_the_largest_of_each_row(images, classes, k, seed):
    scores = np.random.default_rng(seed).permutation(images * classes).reshape(images, classes)
    for row, chosen in zip(scores, metrics.top_k(scores, k), strict=True):
        assert sorted(row[chosen]) == sorted(row)[-k:]


def test_no_images_give_nan_and_no_warning(recwarn):
    assert np.isnan(metrics.average_precision([], []))
    assert np.isnan(metrics.average_precision_11pt([], []))
    assert np.isnan(metrics.mean_average_precision(np.zeros((0, 3)), np.zeros((0, 3))))
    assert not recwarn.list


@pytest.mark.parametrize(
    ("scores", "targets", "argument"),
    [
        ([1.0, 2.0], [1], "scores"),
        ([[1.0]], [[1]], "scores"),
        ([np.nan, 1.0], [1, -1], "scores"),
        ([1.0, 2.0], [1, 2], "targets"),
        ([1.0, 2.0], [1, 0.5], "targets"),
    ],
)
def test_bad_input(scores, targets, argument):
    with pytest.raises(errors.OptionError) as caught:
        metrics.average_precision(scores, targets)
    assert caught.value.argument == argument


def test_bad_input_of_the_table_measures():
    with pytest.raises(errors.OptionError):
        metrics.per_class([1.0], [1])
    with pytest.raises(errors.OptionError):
        metrics.f1_scores([[True, False]], [[1]])
    with pytest.raises(errors.OptionError):
        metrics.top_k([[1.0, 2.0]], 0)
    with pytest.raises(errors.OptionError):
        metrics.top_k([[1.0, 2.0]], 3, [[True]])


def test_doubts_name_what_means_little() -> None:
    targets = np.full((60, 3), -1)
    targets[:30, 0] = targets[:9, 1] = 1
    assert metrics.doubts(["dog", "cat", "never"], targets[:49])[0].startswith(
        "49 images are too few"
    )
    assert metrics.doubts(["dog", "cat", "never"], targets) == [
        "fewer than 10 images with cat (9): their metrics are chance."
    ]
    assert metrics.doubts(["dog"], targets[:, :1]) == []


def test_calibration_error_is_that_of_scikit_learns_curve():
    generator = np.random.default_rng(3)
    scores = generator.random((200, 7)) ** 2
    targets = np.where(generator.random((200, 7)) < scores**1.5, 1, -1).astype(np.int8)
    targets[::4, 2] = 0
    scores[0, 0] = 1.0
    known = targets != 0
    bins = metrics.CALIBRATION_BINS
    shares, means = calibration_curve(targets[known] > 0, scores[known], n_bins=bins)
    counts, _ = np.histogram(scores[known], bins, (0, 1))
    expected = (counts[counts > 0] * np.abs(shares - means)).sum() / counts.sum()
    assert metrics.calibration_error(scores, targets) == pytest.approx(expected, abs=1e-12)
    assert np.isnan(metrics.calibration_error(scores, np.zeros_like(targets)))
