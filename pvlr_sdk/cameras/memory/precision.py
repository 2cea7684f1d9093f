"""The precision of events that reviewed events prove: exact binomial tests of thresholds in a fixed order.

Learn then Test (Angelopoulos et al. 2021) with fixed-sequence testing: thresholds are tested from high to low, each on
the events at or above it that were reported at this threshold or a lower one, until one test fails. A test computes
how probable so many right events are if a share of ``target`` of such events is right. Three sequences begin with a
quarter, a half and all of the events, and share the error probability. This assumes that the events are independent,
and that a higher threshold is not less precise.

Whoever reviews until a test passes makes errors more probable. So only a certain number of answers is tested, then
twice as many, and so on, each time with half of the error probability that is left.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..events.thresholds import Minimum
from .drift import Drift, drift_of
from .reader import UNANSWERED, Reader, Row
from .sameness import is_same
from .search import chosen

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Statement:
    """What answers prove of the events of a label.

    Attributes:
        threshold: at or above it, at least a share of ``target`` of the events is right; None: none is proven.
        right, reviewed: of the answered events at or above it; without one, of all of them. Unclear ones are not right.
        answers: that count: of the plan, the label's vector and the settings in use, whatever the thresholds.
        missing: further answers up to the next tests.
        at_most: the most that the share of right ones can be (97.5 % confidence).
        in_reach: whether more answers may prove the target at any threshold.
        drift: why a proven precision may not hold any more; None: there is no reason, or none is proven.
    """

    label: str
    target: float
    threshold: float | None
    right: int
    reviewed: int
    answers: int
    missing: int
    at_most: float = 1.0
    in_reach: bool = True
    drift: Drift | None = None

    def __str__(self) -> str:
        share = f"at least {100 * self.target:g} % of events are right"
        at = self.threshold
        counts = f"{self.right} of {self.reviewed} reviewed"
        if at is not None:
            again = f". {self.drift}" if self.drift else ""
            return f"{self.label}: at {at:g}, {share} ({100 * CONFIDENCE:g} % confidence, {counts}){again}"
        if not self.reviewed:
            return f"{self.label}: not proven that {share} ({counts}); {self._next}"
        about = f"about {100 * self.right / self.reviewed:.0f} %, at most {100 * self.at_most:.0f} % ({counts})"
        if self.in_reach:
            return f"{self.label}: not proven that {share}: {about}; {self._next}"
        return f"{self.label}: out of reach that {share}: {about}; teach the label, or choose a lower target"

    @property
    def _next(self) -> str:
        return f"{self.missing} more answers until the next test"


def minimums(statements: Mapping[str, Statement]) -> dict[str, Minimum]:
    """By label, the thresholds below which a required precision is not proven."""
    return {
        label: Minimum(statement.threshold, statement.reviewed)
        for label, statement in statements.items()
        if statement.threshold is not None
    }


@lru_cache(maxsize=100_000)
def p_value(right: int, reviewed: int, target: float) -> float:
    """The probability that at least ``right`` of ``reviewed`` events are right, if each is with that of ``target``."""
    logs = (
        math.lgamma(reviewed + 1) - math.lgamma(wrong + 1) - math.lgamma(reviewed - wrong + 1)
        + wrong * math.log1p(-target) + (reviewed - wrong) * math.log(target)
        for wrong in range(reviewed - right + 1)
    )  # fmt: skip
    return min(1.0, math.fsum(map(math.exp, logs)))


def at_most(right: int, reviewed: int) -> float:
    """The upper end of the 95 % interval of Clopper and Pearson for the share of right events; 1 if there is none."""
    error = (1 - CONFIDENCE) / 2
    wrong = reviewed - right
    low = 0.0
    high = 1.0 if reviewed and wrong else 0.0
    # the share of wrong ones that makes so many of them improbable
    while high - low > 1e-6:
        middle = (low + high) / 2
        if p_value(wrong, reviewed, middle) < error:
            low = middle
        else:
            high = middle
    return 1 - low


def is_in_reach(peaks: Sequence[float], right: Sequence[bool], target: float) -> bool:
    """Whether the events with the highest peaks, a quarter, a half or all, may have a precision of ``target``."""
    if not peaks:
        return True
    scores = np.asarray(peaks)
    hits = np.asarray(right, bool)
    highest = np.sort(scores)[::-1]
    limits = [highest[math.ceil(len(scores) / part) - 1] for part in (4, 2, 1)]
    chosen = [hits[scores >= limit] for limit in limits]
    return any(at_most(int(answers.sum()), len(answers)) >= target for answers in chosen)


def tests(answers: int, target: float) -> tuple[int, float, int]:
    """How many answers are tested, with which error probability, and after how many the next tests are; 0: none yet."""
    error = (1 - CONFIDENCE) / 2
    # all right
    tested = 0
    following = math.ceil(math.log(error) / math.log(target))
    while following <= answers:
        tested = following
        following = 2 * following
        error = error / 2
    return tested, 2 * error, following


def lowest(
    peaks: Sequence[float],
    right: Sequence[bool],
    target: float,
    error: float,
    uppers: Sequence[float] | None = None,
) -> tuple[float, int, int] | None:
    """The lowest threshold of which a precision is proven, with the right ones of its events, and their number; None:
    none is.

    ``uppers``: the thresholds at which the events were reported. A test of a lower threshold leaves an event out, since
    others like it were not reported.
    """
    # Fixed-sequence testing: the events in the order of their peaks, the highest first, give one hypothesis for each
    # threshold: "the events at or above it are right with a probability below the target". Each sequence tests its
    # hypotheses in this order, each with the whole error probability of the sequence, and ends with the first that is
    # not rejected. So it errs at most with that probability, however many thresholds it tests.
    order = np.argsort(-np.asarray(peaks), kind="stable")
    scores = np.asarray(peaks)[order]
    is_right = np.asarray(right, bool)[order]
    reported_at = np.zeros(len(scores)) if uppers is None else np.asarray(uppers)[order]
    # (E,): events that count for the threshold of each event
    tested = np.zeros(len(scores), np.int64)
    right_ones = np.zeros(len(scores), np.int64)
    for upper in np.unique(reported_at):
        same = reported_at == upper
        counts = upper <= scores  # at thresholds below it, others like these were not reported
        tested += same.cumsum() * counts
        right_ones += (same & is_right).cumsum() * counts

    count = len(scores)
    # answers that can pass a test, if all are right
    fewest = math.ceil(math.log(error / 3) / math.log(target))
    starts = {min(count, max(fewest, count // part)) for part in (4, 2, 1)}
    last: int | None = None
    for start in starts:
        for position in range(start - 1, count):
            if position + 1 < count and scores[position + 1] == scores[position]:
                continue  # no threshold is between the two
            if p_value(int(right_ones[position]), int(tested[position]), target) > error / len(
                starts
            ):
                break
            last = max(last or 0, position)
    return None if last is None else (float(scores[last]), int(right_ones[last]), int(tested[last]))


def to_review(
    reader: Reader, label: str | None = None, limit: int = 30, camera: str | None = None
) -> list[Row]:
    """Events without an answer, in a random order: a choice by score or by eye would make answers prove nothing. They
    are of the plan, the vector and the settings of the newest event of their label, for which alone answers count."""
    contexts = reader.contexts()
    # SQLite takes the context of the row with the maximum
    query = "SELECT label, context, max(id) FROM moments WHERE ended IS NOT NULL GROUP BY label"
    newest = {name: contexts[number] for name, number, _ in reader.query(query)}
    condition, values = chosen(camera, label, None, None)
    query = f"SELECT label, context FROM moments WHERE {UNANSWERED} AND {condition} GROUP BY 1, 2"
    pairs = [
        (name, number)
        for name, number in reader.query(query, *values)
        if is_same(name, contexts[number], newest[name])
    ]
    if not pairs:
        return []
    same = f"(label, context) IN (VALUES {', '.join(['(?, ?)'] * len(pairs))})"
    drawn = (
        f"SELECT id FROM moments WHERE {UNANSWERED} AND {condition} AND {same} "
        "ORDER BY event LIMIT ?"  # ids are random
    )
    of_pairs = [value for pair in pairs for value in pair]
    rows = reader.rows(f"id IN ({drawn})", (*values, *of_pairs, limit))
    return sorted(rows, key=lambda row: row.event or "")


def statement(reader: Reader, label: str, target: float, camera: str | None = None) -> Statement:
    """What the answers on a label prove, at a camera or at all of them (None).

    Answers count if their events depend on the same as its newest one (:func:`.sameness.is_same`).
    """
    answers = reader.answers()
    rows = _rows_of(reader, label, camera, bool(answers))
    reviews = _reviews(label, rows, answers)
    count, error, following = tests(len(reviews), target)
    missing = following - len(reviews)
    used = sorted(reviews)[:count]
    peaks = [review.peak for review in used]
    uppers = [review.upper for review in used]
    right = [review.is_right for review in used]
    proven = lowest(peaks, right, target, error, uppers) if count else None
    if proven is None:
        every = [review.is_right for review in reviews]
        in_reach = is_in_reach([review.peak for review in reviews], every, target)
        limits = at_most(sum(every), len(every)), in_reach
        return Statement(label, target, None, sum(every), len(every), len(every), missing, *limits)
    peak, hits, reviewed = proven
    threshold = math.ceil(1000 * peak) / 1000
    if peak == min(peaks):  # all events are right at the threshold at which they were reported
        threshold = max(upper for upper in uppers if upper <= peak)
    starts = [review.start for review in reviews]
    drift = drift_of(reader, label, starts, rows[-1].context, camera)
    return Statement(
        label,
        target,
        threshold,
        hits,
        reviewed,
        len(reviews),
        missing,
        at_most(hits, reviewed),
        drift=drift,
    )


class _Review(NamedTuple):
    """An answer on an event: when it was drawn, its id, its peak, whether it is right, the threshold at that time, and
    its start. In the order in which answers are tested."""

    drawn: float
    event: str
    peak: float
    is_right: bool
    upper: float
    start: float


def _rows_of(reader: Reader, label: str, camera: str | None, has_answers: bool) -> list[Row]:
    """The answered events of a label, if there are any, and its newest event, in the order of recording."""
    ended = "kind = 'event' AND ended IS NOT NULL AND label = ? AND ? IN (camera, '')"
    answered = f"{ended} AND id IN (SELECT id FROM answers)" if has_answers else "0"
    newest = f"id = (SELECT max(id) FROM moments WHERE {ended})"
    place = (label, camera or "")
    return reader.rows(f"{answered} OR {newest}", place * (1 + has_answers))


def _reviews(
    label: str, rows: Sequence[Row], answers: Mapping[int, tuple[str, float | None]]
) -> list[_Review]:
    """The answers that count, of the events of a label: drawn at random, with the settings of the newest event."""
    reviews = []
    for row in rows:
        event = row.ended
        answer = answers.get(row.id)
        if event is None or answer is None or answer[1] is None:
            continue
        if not is_same(label, row.context, rows[-1].context):
            continue
        upper = float(row.context.rules.upper[row.context.names.index(label)])
        is_right = answer[0] == "yes"
        reviews.append(_Review(answer[1], event.id, event.peak, is_right, upper, row.start))
    return reviews
