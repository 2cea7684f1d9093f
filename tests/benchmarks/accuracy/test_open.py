"""The benchmark of open labels: the intervals of taught labels, on made-up photos."""

from __future__ import annotations

import numpy as np

from benchmarks.accuracy.open import taught


def test_intervals_of_a_label_that_is_easy_contain_what_others_show(monkeypatch):
    monkeypatch.setattr(taught, "OTHERS", 100)
    random = np.random.default_rng(5)
    target = np.where(np.arange(300) < 40, 1, -1)
    features = random.normal(size=(300, 1280))
    features[:, 0] += 60 * (target == 1)
    found = taught.measure(
        "steed", features / np.linalg.norm(features, axis=1, keepdims=True), target, 14, 3
    )
    assert found["others"] == found["inside"] == [100, 100]
    assert [found["reported"][place] for place in (0, 2, 3, 5)] == [100] * 4
    (row,) = taught.taught_table({"steed": found}).rows
    assert row[2:4] == ["100", "100.0 %"]
