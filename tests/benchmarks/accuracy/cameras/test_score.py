"""The score of labelled footage: hand-made sequences with known answers, and a second scorer of plain lists."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import poisson

from benchmarks.accuracy.cameras.score import (
    ABSENT,
    BRIDGE,
    PRESENT,
    UNKNOWN,
    Score,
    Span,
    poisson_interval,
    score,
)

VALUES = {"1": PRESENT, "0": ABSENT, ".": UNKNOWN}


def score_of(truth: str, events: Sequence[tuple[float, float]], tags: str = "") -> Score:
    """Of a label, with a frame per half second: its truth in each frame, 1, 0 or . (unknown); 1 where it is a tag."""
    count = len(truth)
    return score(
        "gate",
        ["car"],
        np.arange(count) / 2,
        np.array([[VALUES[value]] for value in truth], np.int8),
        np.array([[value == "1"] for value in tags or "0" * count]),
        [Span(0, start, end) for start, end in events],
    )


def verdicts(truth: str, *events: tuple[float, float]) -> list[str]:
    return [event.verdict for event in score_of(truth, events).events]


def appearances(truth: str) -> list[tuple[float, float]]:
    return [(item.start, item.end) for item in score_of(truth, ()).appearances]


@pytest.mark.parametrize(
    ("truth", "event", "verdict"),
    [
        ("000000", (0, 2.5), "false"),
        ("0000.0", (0, 2.5), "unknown"),
        ("0000.0", (0, 2), "false"),  # it ends at the unknown frame, and so does not have it
        ("001000", (0, 2.5), "true"),
        ("00.100", (1, 1.5), "unknown"),
        ("00.100", (1, 2), "true"),
        ("000001", (2.5, 2.5), "true"),  # it begins and ends with the camera
    ],
)
def test_an_event_is_false_if_its_label_is_absent_in_all_its_frames(
    truth: str, event: tuple[float, float], verdict: str
) -> None:
    assert verdicts(truth, event) == [verdict]


@pytest.mark.parametrize(
    ("truth", "expected"),
    [
        ("000", []),
        ("...", []),
        ("011010", [(0.5, 1), (2, 2)]),
        ("1.1", [(0, 1)]),
        ("1..1", [(0, 0), (1.5, 1.5)]),  # unknown for longer than it takes an event to end
        ("1.01", [(0, 0), (1.5, 1.5)]),
        ("..1..", [(1, 1)]),
    ],
)
def test_an_appearance_ends_with_absence_and_after_a_second_of_unknown_frames(
    truth: str, expected: list[tuple[float, float]]
) -> None:
    assert appearances(truth) == expected


def test_frames_far_apart_are_an_appearance_if_nothing_is_between_them() -> None:
    arrays = np.array([[PRESENT], [PRESENT]], np.int8), np.zeros((2, 1), bool)
    measured = score("gate", ["car"], np.array([0.0, 60.0]), *arrays, [])
    assert [(item.start, item.end) for item in measured.appearances] == [(0, 60)]


@pytest.mark.parametrize(
    ("event", "found"),
    [((0, 1), False), ((0, 1.5), True), ((2, 9), True), ((2.5, 9), False), ((0.5, 9), True)],
)
def test_an_appearance_is_found_by_an_event_with_one_of_its_frames(
    event: tuple[float, float], found: bool
) -> None:
    """It has the frames at 1, 1.5 and 2 seconds."""
    assert [item.found for item in score_of("0011100000", [event]).appearances] == [found]


def test_events_of_another_label_find_nothing() -> None:
    truth = np.array([[PRESENT, ABSENT]] * 4, np.int8)
    arrays = np.arange(4.0), truth, np.zeros((4, 2), bool)
    measured = score("gate", ["car", "bus"], *arrays, [Span(1, 0, 3)])
    assert [item.found for item in measured.appearances] == [False]
    assert [event.label for event in measured.false_events] == ["bus"]


def test_unknown_frames_count_neither_for_nor_against_the_tags() -> None:
    values = score_of("1100..", (), tags="101011").to_dict()
    assert (values["precision"], values["recall"]) == (50, 50)
    assert values["false_frames"] == 16.7  # of six frames
    assert values["by_label"] == {
        "car": {"false_events": 0, "false_frames": 1, "appearances": 1, "found": 0}
    }


def test_rates_are_none_where_there_is_nothing_to_count() -> None:
    values = score_of(".", ()).to_dict()
    assert values["seconds"] == 0
    for key in ("precision", "recall", "false_per_hour", "false_per_hour_95"):
        assert values[key] is None, key
    assert values["by_label"] == {}


def test_all_sequences_count_as_one() -> None:
    parts = [score_of("0011", [(0, 0.5)], "1010"), score_of("1110", [(0, 1)], "1111")]
    values = Score.total(parts).to_dict()
    assert values["seconds"] == 3
    assert values["frames"] == 8
    assert (values["false_events"], values["events"]) == (1, 2)
    assert (values["found"], values["appearances"]) == (1, 2)
    assert values["precision"] == round(100 * 4 / 6, 1)
    assert values["recall"] == 80
    assert values["false_frames"] == 25
    assert values["false_per_hour"] == 1200


@pytest.mark.parametrize("count", [0, 1, 4, 21])
def test_the_interval_is_where_the_count_is_in_neither_tail(count: int) -> None:
    low, high = poisson_interval(count)
    assert poisson.cdf(count, high) == pytest.approx(0.025)
    assert poisson.sf(count - 1, low) == pytest.approx(0.025 if count else 1)


LABELS = 3


@st.composite
def sequences(draw: st.DrawFn) -> tuple[list[float], list[list[int]], list[list[bool]], list[Span]]:
    """Times in quarters of a second, truth, tags, and events that begin and end at frames."""
    steps = draw(st.lists(st.integers(1, 6), min_size=1, max_size=25))
    times = [sum(steps[: row + 1]) / 4 for row in range(len(steps))]
    cells = st.lists(st.sampled_from((1, 0, -1)), min_size=LABELS, max_size=LABELS)
    flags = st.lists(st.booleans(), min_size=LABELS, max_size=LABELS)
    count = len(times)
    truth = draw(st.lists(cells, min_size=count, max_size=count))
    tags = draw(st.lists(flags, min_size=count, max_size=count))
    pairs = st.tuples(st.sampled_from(times), st.sampled_from(times)).map(sorted)
    spans = draw(st.lists(st.tuples(st.integers(0, LABELS - 1), pairs), max_size=8))
    return times, truth, tags, [Span(label, *pair) for label, pair in spans]


@given(sequences())
def test_it_is_what_plain_lists_give(
    footage: tuple[list[float], list[list[int]], list[list[bool]], list[Span]],
) -> None:
    times, truth, tags, spans = footage
    arrays = np.array(times), np.array(truth, np.int8), np.array(tags)
    measured = score("gate", list("abc"), *arrays, spans)

    frames = range(len(times))
    cells = [(truth[row][column], tags[row][column]) for row in frames for column in range(LABELS)]
    assert int(measured.true_tags.sum()) == cells.count((1, True))
    assert int(measured.false_tags.sum()) == cells.count((-1, True))
    assert int(measured.missed_tags.sum()) == cells.count((1, False))
    wrong = [row for row in frames if (-1, True) in zip(truth[row], tags[row], strict=True)]
    assert measured.false_frames == len(wrong)

    expected = []
    members = []
    for label, start, end in spans:
        rows = [row for row in frames if times[row] == start or start <= times[row] < end]
        seen = {truth[row][label] for row in rows}
        expected.append("true" if 1 in seen else "unknown" if 0 in seen else "false")
        members.append((label, rows))
    assert [event.verdict for event in measured.events] == expected

    plain = []
    for label in range(LABELS):
        groups: list[list[int]] = []
        for row in frames:
            if truth[row][label] != 1:
                continue
            if groups:
                last = groups[-1][-1]
                between = [truth[other][label] for other in range(last + 1, row)]
                if -1 not in between and (not between or times[row] - times[last] <= BRIDGE):
                    groups[-1].append(row)
                    continue
            groups.append([row])
        for group in groups:
            inside = set(range(group[0], group[-1] + 1))
            found = any(other == label and inside & set(rows) for other, rows in members)
            plain.append(("abc"[label], times[group[0]], times[group[-1]], found))
    assert [tuple(item)[1:] for item in measured.appearances] == plain
