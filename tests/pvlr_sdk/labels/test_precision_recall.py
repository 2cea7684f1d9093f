"""Counts above each score, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pvlr_sdk import errors
from pvlr_sdk.labels.precision_recall import cumulative_counts


def test_counts_at_or_above_each_score() -> None:
    scores, positives, examples = cumulative_counts(
        [0.2, 0.9, 0.5, 0.5, 0.7, 0.1], [1, 1, -1, 1, 0, -1]
    )
    np.testing.assert_array_equal(scores, [0.9, 0.5, 0.2, 0.1])  # the unknown one does not count
    np.testing.assert_array_equal(positives, [1, 2, 3, 3])
    np.testing.assert_array_equal(examples, [1, 3, 4, 5])
    assert [len(array) for array in cumulative_counts([0.5], [0])] == [0, 0, 0]


@pytest.mark.parametrize(
    ("scores", "targets", "got"),
    [
        ([0.5, np.nan], [1, -1], "1 NaN"),
        ([0.5, 0.4], [1, 2], "got 2"),
        ([0.5], [1, -1], r"scores \(1,\) and targets \(2,\)"),
        ([[0.5]], [[1]], r"scores \(1, 1\)"),
    ],
)
def test_what_cannot_be_counted(scores: list[float], targets: list[int], got: str) -> None:
    with pytest.raises(errors.OptionError, match=got):
        cumulative_counts(scores, targets)
