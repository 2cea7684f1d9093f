"""The fit of a label: scikit-learn's ridge regression, and the minimum of the objective that combines it with words."""

from __future__ import annotations

import numpy as np
import pytest

from pvlr_sdk.labels import fit as fitting
from pvlr_sdk.labels.fit import contradictions, fit
from pvlr_sdk.labels.precision_recall import average_precision


@pytest.fixture
def photos():
    """Features, logits of words and presence of 60 photos, with the direction that tells them apart."""

    def make(positives=12, negatives=48, *, signal=0.6, words=1.0, seed=0):
        random = np.random.default_rng(seed)
        present = np.arange(positives + negatives) < positives
        direction = random.normal(size=30)
        features = random.normal(size=(len(present), 30)) + signal * np.outer(present, direction)
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        return features, -4 + 0.3 * (words * present + random.normal(size=len(present))), present

    return make


@pytest.mark.slow  # for the import of scikit-learn
def test_the_classifier_is_that_of_scikit_learn(photos):
    linear_model = pytest.importorskip("sklearn.linear_model")
    features, _, present = photos()
    weights, offset = fitting._classifier(features, present)
    expected = linear_model.Ridge(alpha=fitting._RIDGE).fit(features, np.where(present, 1, -1))
    np.testing.assert_allclose(weights, expected.coef_, atol=1e-3)
    np.testing.assert_allclose(offset, expected.intercept_, atol=2e-3)


@pytest.mark.parametrize("shift", [1, -1])
def test_the_combination_minimises_its_objective(photos, shift):
    optimize = pytest.importorskip("scipy.optimize")
    _, words, present = photos()
    columns = np.random.default_rng(1).normal(size=(len(words), 2)) + present[:, None] * [1, shift]
    weight, usual, precision = (
        np.where(present, 1, 12 / 48),
        np.array([0.7, 1]),
        fitting._PRIOR / 12,
    )

    def objective(found):
        loss = np.logaddexp(0, np.where(present, -1, 1) * (columns @ found[:2] + found[2]))
        return (
            weight @ loss
            + 0.5 * precision * ((found[:2] - usual) ** 2).sum()
            + 0.5 * found[2] ** 2 / fitting._FREE
        )

    least = fitting._LEAST
    expected = optimize.minimize(
        objective, [1, 1, 0], bounds=[(least, None), (least, None), (None, None)], tol=1e-12
    ).x
    assert (expected[1] == least) == (shift < 0)
    coefficients, bias = fitting._combine(columns, present, usual)
    np.testing.assert_allclose([*coefficients, bias], expected, atol=1e-3)


def test_the_logit_is_linear_and_tells_the_photos_apart(photos):
    features, words, present = photos()
    fitted = fit(features, words, present)
    logits = fitted.gain * words + fitted.bias + features @ fitted.weights
    targets = np.where(present, 1, -1)
    assert average_precision(logits, targets) == 1
    assert 0.6 < average_precision(fitted.checked, targets) < 1
    # Their scale is the same, so a threshold that was chosen on one is one for the other.
    np.testing.assert_allclose(logits.mean(), fitted.checked.mean(), atol=0.5)


def test_cross_validation_does_not_see_what_it_scores(photos):
    """Features that say nothing separate the photos that they were fitted to, and no other."""
    features, _, present = photos(signal=0)
    fitted = fit(features, None, present)
    targets = np.where(present, 1, -1)
    assert average_precision(features @ fitted.weights, targets) > 0.9
    assert average_precision(fitted.checked, targets) < 0.5


@pytest.mark.slow
def test_words_count_as_much_as_they_tell(photos):
    """In standard deviations: where the words tell nothing, the photos count more, and vice versa."""
    shares = []
    for signal, words in ((1, 0), (0, 3)):
        features, logits, present = photos(60, 240, signal=signal, words=words)
        fitted = fit(features, logits, present)
        shares.append(fitted.gain * logits.std() / (features @ fitted.weights).std())
    assert shares[0] < 0.2
    assert shares[1] > 1


@pytest.mark.parametrize(("positives", "negatives"), [(1, 20), (3, 1), (1, 1)])
def test_a_single_photo_is_not_cross_validated(photos, positives, negatives):
    features, words, present = photos(positives, negatives, signal=2, words=3)
    fitted = fit(features, words, present)
    assert fitted.checked is None
    logits = fitted.gain * words + fitted.bias + features @ fitted.weights
    assert logits[~present].max() < 0
    assert logits[present].min() > logits[~present].max()


def test_words_that_are_all_equal_change_nothing(photos):
    features, words, present = photos()
    alone, same = fit(features, None, present), fit(features, np.full_like(words, -3), present)
    assert alone.gain == 0
    np.testing.assert_allclose(
        *((of - of.mean()) / of.std() for of in (same.checked, alone.checked)), atol=1e-6
    )


def test_the_fewer_photos_the_more_their_prior_counts(photos):
    """In standard deviations, where the words tell nothing: near the prior with two photos, not with many."""
    counts = {}
    for positives in (2, 40):
        features, logits, present = photos(positives, 160, signal=1, words=0)
        fitted = fit(features, logits, present)
        counts[positives] = fitted.gain * logits.std()
    assert counts[2] > 0.7
    assert counts[40] < 0.4


def test_contradictions_are_those_of_classifiers_that_have_not_seen_the_photo(photos):
    """The closed form is compared with a ridge regression of scikit-learn for each photo."""
    linear = pytest.importorskip("sklearn.linear_model")
    features, _, present = photos(positives=4, negatives=6)
    targets = np.where(present, 1.0, -1.0)
    weights = np.where(present, len(present) / 4, len(present) / 6) / 2
    # The bias has a prior too, of a variance of 1,000: as one more feature, it is scaled to the prior of the others.
    design = np.column_stack([features, np.full(len(features), np.sqrt(3 * 1e3))])
    expected = []
    for left_out, target in enumerate(targets):
        seen = np.arange(len(targets)) != left_out
        ridge = linear.Ridge(alpha=3.0, fit_intercept=False, solver="svd")
        ridge.fit(design[seen], targets[seen], sample_weight=weights[seen])
        expected.append(-target * ridge.predict(design[left_out : left_out + 1])[0])
    np.testing.assert_allclose(contradictions(features, present), expected, rtol=1e-6, atol=1e-6)


def test_a_photo_in_the_wrong_folder_is_contradicted_most(photos):
    features, _, present = photos(signal=2.0)
    present[20] = True
    assert contradictions(features, present).argmax() == 20
