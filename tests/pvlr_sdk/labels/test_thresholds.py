"""Thresholds compared with a search over all cuts, on scores of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvlr_sdk import errors
from pvlr_sdk.labels.thresholds import (
    Objective,
    choose_thresholds,
    precise_thresholds,
    sigmoid,
    tile_thresholds,
)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [("f1", "f1", 0), ("precision=0.9", "precision", 0.9), ("recall=1", "recall", 1.0)],
)
def test_objectives(text: str, kind: str, value: float) -> None:
    objective = Objective.parse(text)
    assert (objective.kind, objective.value, str(objective)) == (kind, value, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "F1",
        "f1=0.5",
        "precision",
        "precision=",
        "recall=0",
        "recall=1.1",
        "recall=nan",
        "accuracy=0.9",
    ],
)
def test_other_objectives_are_an_error(text: str) -> None:
    with pytest.raises(errors.OptionError, match="objective"):
        Objective.parse(text)


def test_thresholds_are_the_best_f1_where_positives_abound() -> None:
    rng = np.random.default_rng(0)
    targets = np.where(rng.random((20_000, 2)) < 0.3, 1, -1).astype(np.int8)
    logits = 2.0 * targets + rng.normal(size=targets.shape) + [0.0, 1.0]
    thresholds = choose_thresholds(logits, targets)
    for column in range(2):
        score = sigmoid(logits[:, column])
        best = max(
            np.linspace(0.02, 0.98, 97), key=lambda cut: _f1(score >= cut, targets[:, column] == 1)
        )
        assert (
            _f1(score >= thresholds[column], targets[:, column] == 1)
            > _f1(score >= best, targets[:, column] == 1) - 2e-3
        )
    # A label with two positives stays close to the common threshold.
    rare = np.full((200, 2), -1, np.int8)
    rare[:100, 0] = 1
    rare[:2, 1] = 1
    spread = np.where(rare == 1, 2.0, -2.0) + rng.normal(size=rare.shape)
    assert abs(np.diff(choose_thresholds(spread, rare))[0]) < 0.2


def _f1(tagged: Any, present: Any) -> float:
    return 2 * (tagged & present).sum() / (tagged.sum() + present.sum())


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-6, 6), st.sampled_from([1, 0, -1])), min_size=1, max_size=30),
    st.sampled_from(["precision", "recall"]),
    st.floats(0.05, 1.0),
)
def test_least_precision_and_recall_are_what_a_search_finds(
    images: list[tuple[int, int]], kind: str, value: float
) -> None:
    """Few distinct logits: images with equal scores are tagged together or not at all."""
    logits = np.array([[x] for x, _ in images], np.float64)
    targets = np.array([[y] for _, y in images], np.int8)
    if not (targets == 1).any():
        return
    objective = Objective.parse(f"{kind}={value}")
    threshold = choose_thresholds(logits, targets, objective)[0]
    known = targets[:, 0] != 0
    level, present = logits[known, 0], targets[known, 0] == 1

    def figures(cut: float) -> tuple[float, float]:
        tagged = level >= cut
        return (present & tagged).sum() / tagged.sum(), (present & tagged).sum() / present.sum()

    every = {cut: figures(cut) for cut in sorted(set(level))}
    got = figures(np.log(threshold / (1 - threshold)))
    if kind == "recall":
        assert got == every[max(cut for cut, (_, recall) in every.items() if recall >= value)]
    else:
        reachable = min(value, max(precision for precision, _ in every.values()))
        assert (
            got
            == every[min(cut for cut, (precision, _) in every.items() if precision >= reachable)]
        )


def test_labels_without_a_positive_fall_back() -> None:
    logits = np.array([[2.0, 0.5, 3.0], [-2.0, 0.7, 1.0]])
    targets = np.array([[1, -1, 0], [-1, -1, 0]], np.int8)
    old = np.array([0.1, 0.2, 0.3])
    chosen = choose_thresholds(logits, targets, Objective.parse("recall=1"), old)
    assert chosen[0] == pytest.approx(sigmoid(np.array(0.0)))
    assert chosen[1:].tolist() == [0.2, 0.3]
    common = choose_thresholds(logits, targets, Objective.parse("recall=1"))
    # All known labels at once: 2.0 is the one positive, 0.7 comes next.
    assert common[1] == common[2] == pytest.approx(sigmoid(np.array(1.35)))
    assert choose_thresholds(logits, -np.abs(targets)).tolist() == [0.5] * 3


@pytest.mark.parametrize("objective", ["f1", "precision=1", "recall=1"])
def test_extreme_logits_stay_strictly_inside(objective: str) -> None:
    logits = np.array([[900.0, -900.0], [899.0, -950.0]])
    targets = np.array([[1, 1], [-1, 1]], np.int8)
    chosen = choose_thresholds(logits, targets, Objective.parse(objective)).astype(np.float32)
    assert ((chosen > 0) & (chosen < 1)).all()


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-6, 6), st.sampled_from([1, 0, -1])), min_size=1, max_size=60),
    st.floats(0.05, 0.95),
)
def test_the_precise_threshold_of_a_label_is_what_a_search_finds(
    images: list[tuple[int, int]], least: float
) -> None:
    logits, targets = (np.array(column)[:, None] for column in zip(*images, strict=True))
    (chosen,) = precise_thresholds(logits, targets, np.array([least]))
    known = targets != 0
    precise = [
        cut
        for cut in np.unique(logits[known])
        if (targets[(logits >= cut) & known] == 1).mean() >= 0.9
    ]
    if (targets == 1).any():
        lowest = min(precise, default=np.inf)
        tagged = (sigmoid(logits) >= chosen) & known
        assert (tagged == ((logits >= lowest) & (sigmoid(logits) >= least) & known)).all()
    assert chosen >= least


def test_a_precision_out_of_reach_gives_a_threshold_above_all_false_tags() -> None:
    logits = np.repeat(np.arange(10, 0, -0.5), 2)[:, None]
    targets = np.tile([1, -1], 20)[:, None]
    assert precise_thresholds(logits, targets, np.array([0.5])) == pytest.approx(
        sigmoid(np.array([10.1]))
    )


@pytest.mark.parametrize("positives", [1, 25, 100])
def test_few_positives_follow_the_shift_of_all_labels(positives: int) -> None:
    """The labels are precise from 1 and from 5 above their f1 thresholds, all together from 5; the third has none."""
    f1 = np.array([0.3, 0.6, 0.9])
    above = np.full((600, 3), -1.0)
    targets = np.full((600, 3), -1, np.int8)
    above[:positives, 0], targets[:positives, 0] = 6.0, 1
    above[positives, 0] = -4.0
    above[:300, 1], targets[:300, 1] = 6.0, 1
    above[300:500, 1] = 4.0
    logits = above + np.log(f1 / (1 - f1))
    chosen = precise_thresholds(logits, targets, f1)
    own = positives / (positives + 100) * 2.5  # halfway between 6 and -1
    shifts = np.array([own + 100 / (positives + 100) * 5.0, 5.0, 5.0])
    np.testing.assert_allclose(np.log(chosen / (1 - chosen)) - np.log(f1 / (1 - f1)), shifts)


def test_labels_without_a_known_image_keep_the_thresholds_of_f1() -> None:
    logits = np.arange(30.0).reshape(10, 3)
    targets = np.zeros((10, 3), np.int8)
    assert precise_thresholds(logits, targets, np.full(3, 0.3)) == pytest.approx([0.3] * 3)


@pytest.mark.parametrize("count", [2, 5, 13])
def test_thresholds_of_tiles_keep_the_precision_on_other_images(count: int) -> None:
    """Each image is the maximum of ``count`` scores, one of which shows the label."""
    rng = np.random.default_rng(count)
    targets = np.where(rng.random((80_000, 3)) < [0.3, 0.1, 0.0002], 1, -1).astype(np.int8)
    parts = rng.normal(size=(count, *targets.shape)) - 2
    parts[0] += 3 * (targets == 1)
    whole, tiled = parts[0], parts.max(0)
    thresholds = np.array([0.4, 0.5, 0.6])
    even, odd = np.s_[::2], np.s_[1::2]
    chosen = tile_thresholds(whole[even], tiled[even], targets[even], thresholds, count - 1)
    assert (chosen > thresholds).all()  # the rare label's too, by the rule
    for label in (0, 1):
        precisions = [
            (targets[odd][tagged, label] == 1).mean()
            for tagged in (
                sigmoid(whole[odd][:, label]) >= thresholds[label],
                sigmoid(tiled[odd][:, label]) >= chosen[label],
                sigmoid(tiled[odd][:, label]) >= thresholds[label],
            )
        ]
        assert precisions[1] == pytest.approx(precisions[0], abs=0.02)
        assert precisions[2] < precisions[0] - 0.02


def test_thresholds_of_tiles_are_never_lower() -> None:
    targets = np.ones((30, 1), np.int8)
    logits = np.linspace(-3, 3, 30)[:, None]
    assert tile_thresholds(logits, logits + 5, targets, np.array([0.3]), 0) == pytest.approx(0.3)
    # without a tag
    assert tile_thresholds(logits - 50, logits, targets, np.array([0.3]), 0) == pytest.approx(0.3)
    # 30 positives weigh 30 of 230, the rule the rest.
    shifted = sigmoid(np.log(0.3 / 0.7) + 200 / 230 * np.log(5) / 4)
    assert tile_thresholds(logits, logits + 5, targets, np.array([0.3]), 4) == pytest.approx(
        shifted
    )


def test_thresholds_of_tiles_rise_sooner_than_they_fall() -> None:
    targets, whole = (np.repeat(pair, 100)[:, None] for pair in ([1, -1], [3.0, -1.0]))
    # precise from 2.5: 100 positives weigh 100 of 150, the rule the rest
    tiled = np.where(targets == 1, whole, 2.0)
    shift = (2 * 2.5 + np.log(5) / 4) / 3
    assert tile_thresholds(whole, tiled, targets, np.array([0.5]), 4) == pytest.approx(
        sigmoid(np.array(shift))
    )
