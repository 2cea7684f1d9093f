"""One label from a few photos: a linear classifier on image features, combined with what its words say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_RIDGE = 3.0
"""The prior precision of the weights, for features of unit length and targets of +1 and -1. Chosen on photos of COCO's
train split (docs/teach.md), as are the next two; between 1 and 30 the average precision hardly changes."""
_PRIOR = 16.0
"""The prior precision of the coefficients of photos and words, divided by the number of photos in the smaller class:
the fewer they are, the less their cross-validation says about a classifier of all of them."""
_PHOTOS = 0.7
"""The prior mean of the coefficient of photos; that of words is 1."""
_LEAST = 0.1
_FOLDS = 5
_FREE = 1e3
"""The prior variance of the bias of the classifier."""
_MARGIN = 3.0
"""Without cross-validation: how many standard deviations above the mean of the negative photos the logit is 0."""


@dataclass(frozen=True)
class Fit:
    """A label: logit = gain * words + bias + weights . features.

    ``checked`` are the logits (N,) of the photos by cross-validation: each photo's classifier has not seen it. None:
    one of the two classes has a single photo.
    """

    gain: float
    bias: float
    weights: Floats
    checked: Floats | None


def fit(features: Floats, words: Floats | None, present: NDArray[np.bool_]) -> Fit:
    """Fit a label to N photos, of which at least one shows it and at least one does not.

    1. A ridge classifier on the features. The more photos, the less its prior counts.
    2. The scores that it gives to photos it has not seen, by cross-validation.
    3. These scores and the logits of the words, both with a standard deviation of 1, are combined by a logistic
       regression, both classes with the same weight. Its prior, 0.7 of the scores and the logits, is all that counts
       with one photo. Cross-validation makes the two comparable: any classifier separates what it was fitted to.

    Args:
        features: (N, D) of unit length.
        words: (N,) logits of the label's words; None: the photos alone.
        present: (N,) which photos show the label.
    """
    weights, offset = _classifier(features, present)
    folds = _folds(present)
    scores = (
        features @ weights + offset if folds is None else _cross_validated(features, present, folds)
    )
    parts = [scores] if words is None else [scores, words]
    means = np.array([part.mean() for part in parts])
    scales = np.array([part.std() or 1.0 for part in parts])
    columns = (np.stack(parts, 1) - means) / scales
    usual = np.ones(1) if words is None else np.array([_PHOTOS, 1.0])
    if folds is None:
        coefficients = usual
        negatives = columns[~present] @ usual
        bias = -float(negatives.mean() + _MARGIN * max(negatives.std(), 1.0))
    else:
        coefficients, bias = _combine(columns, present, usual)
    gains = coefficients / scales
    return Fit(
        gain=0.0 if words is None else float(gains[1]),
        bias=float(bias - gains @ means + gains[0] * offset),
        weights=gains[0] * weights,
        checked=None if folds is None else columns @ coefficients + bias,
    )


def _classifier(features: Floats, present: NDArray[np.bool_]) -> tuple[Floats, float]:
    """Weights (D,) and offset of ridge regression to +1 and -1, in its dual form: photos are fewer than features."""
    kernel = features @ features.T / _RIDGE + _FREE + np.eye(len(features))
    dual = np.linalg.solve(kernel, np.where(present, 1.0, -1.0))
    return features.T @ dual / _RIDGE, float(_FREE * dual.sum())


def contradictions(features: Floats, present: NDArray[np.bool_]) -> Floats:
    """(N,): how far a classifier of all other photos contradicts the class of each photo; negative: it agrees.

    The classifiers are those of ridge regression to +1 and -1, both classes with the same weight. The inverse of the
    kernel gives the scores of all of them (leave-one-out, in closed form).

    Args:
        features: (N, D) of unit length.
        present: (N,) which photos show the label; two at least do, and two do not.
    """
    targets = np.where(present, 1.0, -1.0)
    weights = np.where(present, 0.5 / present.mean(), 0.5 / (~present).mean())
    inverse = np.linalg.inv(features @ features.T / _RIDGE + _FREE + np.diag(1 / weights))
    scores = targets - inverse @ targets / inverse.diagonal()
    return -targets * scores


def _folds(present: NDArray[np.bool_]) -> NDArray[np.int64] | None:
    """The fold of each photo, each with its share of both classes; None: there are too few photos."""
    count = min(_FOLDS, int(present.sum()), int((~present).sum()))
    if count < 2:
        return None
    folds = np.empty(len(present), np.int64)
    random = np.random.default_rng(0)
    for of_class in (present, ~present):
        rows = random.permutation(np.flatnonzero(of_class))
        folds[rows] = np.arange(len(rows)) % count
    return folds


def _cross_validated(
    features: Floats, present: NDArray[np.bool_], folds: NDArray[np.int64]
) -> Floats:
    scores = np.empty(len(present))
    for fold in range(folds.max() + 1):
        held = folds == fold
        weights, offset = _classifier(features[~held], present[~held])
        scores[held] = features[held] @ weights + offset
    return scores


def _combine(columns: Floats, present: NDArray[np.bool_], usual: Floats) -> tuple[Floats, float]:
    """Coefficients and bias of a logistic regression by Newton's method, with a Gaussian prior of mean ``usual``.

    No coefficient is below :data:`_LEAST`: with two or three photos, one that is hard to recognise would reverse it.
    """
    design = np.column_stack([columns, np.ones(len(columns))])
    prior = np.append(usual, 0.0)
    fewest = min(present.sum(), (~present).sum())
    precision = np.append(np.full(columns.shape[1], _PRIOR / fewest), 1 / _FREE)
    target = present.astype(np.float64)
    balance = np.where(present, 1.0, present.sum() / (~present).sum())
    combined = prior.copy()
    free = np.ones(len(prior), np.bool_)
    for _ in range(50):
        probability = 0.5 * (1 + np.tanh(0.5 * (design @ combined)))
        gradient = design.T @ (balance * (probability - target)) + precision * (combined - prior)
        curvature = balance * probability * (1 - probability)
        hessian = (design * curvature[:, None]).T @ design + np.diag(precision)
        step = np.linalg.solve(hessian[np.ix_(free, free)], gradient[free])
        # of at most 1: it cannot overshoot far
        combined[free] -= step / max(1.0, float(np.linalg.norm(step)))
        low = np.flatnonzero(combined[:-1] < _LEAST)
        combined[low] = _LEAST
        free[low] = False
        if np.abs(step).max() < 1e-9:
            break
    return combined[:-1], float(combined[-1])
