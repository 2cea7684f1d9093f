"""Rivals of words and of teaching, each from its paper, on the same features and text vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

Floats = NDArray[np.float64]


def conse(probabilities: Floats, classes: Floats, labels: Floats, best: int = 20) -> Floats:
    """ConSE (Norouzi et al. 2014, arXiv 1312.5650): the cosine between a label and the mean text vector of the ``best``
    classes of an image, weighted by their probabilities.

    Args:
        probabilities: (N, K) of the classes.
        classes, labels: text vectors (K, d) and (C, d).

    Returns:
        scores (N, C).
    """
    top = np.argsort(-probabilities, axis=1)[:, :best]
    weights = np.take_along_axis(probabilities, top, 1)
    images = (weights[:, :, None] * classes[top]).sum(1) / weights.sum(1, keepdims=True)
    return unit(images) @ unit(labels).T


def eszsl(features: Floats, targets: Floats, seen: Floats, labels: Floats, visual: float, text: float) -> Floats:
    """ESZSL (Romera-Paredes and Torr 2015): V in (D, C) of labels, from the bilinear map between features and text

    V = (X^T X + visual I)^-1 X^T Y S (S^T S + text I)^-1 labels^T with S the text vectors of the labels of Y.

    Args:
        features: (N, D).
        targets: Y (N, M).
        seen, labels: text vectors (M, d) and (C, d).
    """
    left = np.linalg.solve(features.T @ features + visual * np.eye(features.shape[1]), features.T @ targets @ seen)
    right: Floats = np.linalg.solve(seen.T @ seen + text * np.eye(seen.shape[1]), labels.T)
    return left @ right


def logistic_regression(features: Floats, present: NDArray[np.bool_], tested: Floats) -> Floats:
    """Scores (M,) of tested features (M, D) by logistic regression on N photos, both classes with the same weight."""
    model = LogisticRegression(C=10.0, class_weight="balanced", max_iter=1000)
    scores: Floats = model.fit(features, present).decision_function(tested)
    return scores


def cache_model(features: Floats, present: NDArray[np.bool_], tested: Floats, sharpness: float = 5.5) -> Floats:
    """Scores (M,) of a cache of the photos, as in Tip-Adapter (Zhang et al. 2022, arXiv 2111.03930) without training.

    exp(-sharpness (1 - cos)), averaged over the photos that show the label, less that over the others.
    """
    affinity = np.exp(-sharpness * (1 - tested @ features.T))
    scores: Floats = affinity[:, present].mean(1) - affinity[:, ~present].mean(1)
    return scores


def unit(vectors: Floats) -> Floats:
    """The vectors with unit length."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
