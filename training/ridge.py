"""Ridge regression of many targets at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def regress(features: Floats, targets: Floats, strength: float) -> Floats:
    """Weights (K, D) of ridge regression, with a constant, from features (n, D) to targets (n, K)."""
    centred = features - features.mean(0)
    gram = centred.T @ centred + strength * np.eye(centred.shape[1])
    weights: Floats = np.linalg.solve(gram, centred.T @ (targets - targets.mean(0))).T
    return weights
