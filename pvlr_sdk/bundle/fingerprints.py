"""What the scores of a label depend on, as a short text: equal for labels that have equal scores in a plan."""

from __future__ import annotations

import hashlib

import numpy as np

from .label_bank import LabelBank

_DIGITS = 16


def fingerprints(bank: LabelBank) -> tuple[str, ...]:
    """Of each label, 16 hex digits of what its scores depend on in a plan; thresholds do not count.

    A label from words or photos is a row of numbers. The logit of a trained label is computed by attention to the
    embeddings of all trained ones, so they count too.
    """
    arrays = bank.arrays()
    rows = [arrays[name] for name in ("embeddings", "biases", "gains")]
    embeddings = arrays["embeddings"][bank.has_words]
    every = b"".join(sorted(embedding.tobytes() for embedding in embeddings))
    features = str(bank.text.get("features")).encode()
    digests = []
    for row in range(len(bank)):
        digest = hashlib.sha256(str(bank.space).encode())
        for array in rows:
            digest.update(np.ascontiguousarray(array[row]).tobytes())
        if arrays["gains"][row]:
            digest.update(every)
        # a bank of trained labels alone has no weights, and one with a word has zeros for them
        if arrays["weights"][row].any():
            digest.update(features + np.ascontiguousarray(arrays["weights"][row]).tobytes())
        digests.append(digest.hexdigest()[:_DIGITS])
    return tuple(digests)
