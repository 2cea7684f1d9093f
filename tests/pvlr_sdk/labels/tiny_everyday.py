"""A small knowledge file with everyday words, for tests."""

from __future__ import annotations

import numpy as np

from pvlr_sdk.labels.dictionary import Dictionary
from pvlr_sdk.labels.everyday import Everyday
from pvlr_sdk.labels.knowledge import Calibration, Knowledge

DEPTH = 16
COUNTS = np.array([[200, 100, 60, 20, 19], [50, 40, 8, 0, 0], [30, 10, 9, 5, 5]], np.int32)


def make_everyday() -> Everyday:
    """Three words; "night" is doubtful, and "kite" is also in the dictionary."""
    weights = np.random.default_rng(3).normal(0, 9, (3, DEPTH)).astype(np.float16)
    values = np.array(
        [[-1, 0.3, 0.8, 0.6, 0.2], [-2, 0.2, 0.9, 0.2, np.nan], [-3, 0.4, 0.5, 0.9, 0.1]],
        np.float32,
    )
    return Everyday(["man", "night", "kite"], {"guy": "man"}, weights, values, COUNTS, 4000)


def make_knowledge() -> Knowledge:
    """ImageNet's concepts with random weights, and three everyday words."""
    random = np.random.default_rng(0)
    names = Dictionary.packaged().concepts
    photos = np.abs(random.normal(1, 1, (200, DEPTH)))
    return Knowledge(
        list(names),
        random.normal(0.3, 1, (len(names), 384)).astype(np.float16),
        random.normal(0, 2, (len(names), DEPTH)).astype(np.float16),
        (photos / np.linalg.norm(photos, axis=1, keepdims=True)).astype(np.float16),
        Calibration(),
        {"space": "tiny 0123", "features": "tiny features", "width": 8, "sharpness": 5},
        make_everyday(),
    )
