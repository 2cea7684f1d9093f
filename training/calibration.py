"""Scores that are probabilities: a scale and offsets of the logits, fitted on held-out images.

The asymmetric loss raises the scores of absent labels, so a score alone says little about how often a label is right.
Platt scaling (Platt 1999) corrects it: with one slope for all labels, and an offset of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

Floats = NDArray[np.float64]

_SHRINK = 5.0
"""How strongly the offset of a label is drawn to the common one: as that many images at a score of 0.5 would."""
_SHRINK_SCALE = 5.0
"""The same for the scale and 1: on few images that are all right, the best scale would be infinite."""
_SCALES = (0.1, 10.0)


@dataclass(frozen=True)
class Calibration:
    """Calibrated logits are ``scale`` times the logits (N, C), plus ``offsets`` (C,). The order of images stays."""

    scale: float
    offsets: tuple[float, ...]


def fit_calibration(logits: Floats, targets: NDArray[np.int8]) -> Calibration:
    """The calibration under which the targets are most likely, with shrunk scale and offsets.

    Args:
        logits: (N, C).
        targets: (N, C), 1 present, -1 absent, 0 unknown (ignored).
    """
    known = targets != 0
    present = targets == 1
    if not present.any():
        return Calibration(1.0, (0.0,) * logits.shape[1])

    def loss(parameters: Floats) -> tuple[float, Floats]:
        """The penalised negative log-likelihood and its gradient; parameters: scale, common offset, differences."""
        scale = parameters[0]
        differences = parameters[2:]
        calibrated = scale * logits + parameters[1] + differences
        likelihood = np.logaddexp(0, calibrated) - present * calibrated
        penalty = _SHRINK * (differences**2).sum() + _SHRINK_SCALE * (scale - 1) ** 2
        slope = (expit(calibrated) - present) * known
        by_label = slope.sum(0)
        gradient = [
            (slope * logits).sum() + _SHRINK_SCALE * (scale - 1),
            by_label.sum(),
            *(by_label + _SHRINK * differences),
        ]
        return float((likelihood * known).sum() + penalty / 2), np.array(gradient)

    start = np.concatenate(([1.0], np.zeros(1 + logits.shape[1])))
    bounds = [_SCALES, *[(None, None)] * (len(start) - 1)]
    fitted = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    offsets = fitted[1] + fitted[2:]
    return Calibration(round(float(fitted[0]), 5), tuple(offsets.round(5).tolist()))
