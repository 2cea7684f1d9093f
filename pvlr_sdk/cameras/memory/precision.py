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

import numpy as np

from ..events.thresholds import Minimum
from .drift import Drift, drift_of, same_settings
from .reader import UNANSWERED, Reader, Row
from .search import chosen

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Statement:
    """What answers prove of the events of a label.

    Attributes:
        threshold: at or above it, at least a share of ``target`` of the events is right; None: none is proven.
        right, reviewed: of the answered events at or above it, or of all that were tested; unclear ones are not right.
        answers: that count: of the plan, label bank and settings in use, whatever the thresholds.
        missing: further answers up to the next tests.
        drift: why a proven precision may not hold any more; None: there is no reason, or none is proven.
    """

    label: str
    target: float
    threshold: float | None
    right: int
    reviewed: int
    answers: int
    missing: int
    drift: Drift | None = None

    def __str__(self) -> str:
        share, at = f"at least {100 * self.target:g} % of events are right", self.threshold
        counts = f"{self.right} of {self.reviewed} reviewed"
        if at is not None:
            again = f". {self.drift}" if self.drift else ""
            return f"{self.label}: at {at:g}, {share} ({100 * CONFIDENCE:g} % confidence, {counts}){again}"
        return f"{self.label}: not proven that {share} ({counts}); {self.missing} more answers until the next test"


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


def tests(answers: int, target: float) -> tuple[int, float, int]:
    """How many answers are tested, with which error probability, and after how many the next tests are; 0: none yet."""
    error = (1 - CONFIDENCE) / 2
    tested, following = 0, math.ceil(math.log(error) / math.log(target))  # all right
    while following <= answers:
        tested, following, error = following, 2 * following, error / 2
    return tested, 2 * error, following


def lowest(
    peaks: Sequence[float], right: Sequence[bool], target: float, error: float, uppers: Sequence[float] | None = None
) -> tuple[float, int, int] | None:
    """The lowest threshold of which a precision is proven, with the right ones of its events, and their number; None:
    none is.

    ``uppers``: the thresholds at which the events were reported. A test of a lower threshold leaves an event out, since
    others like it were not reported.
    """
    order = np.argsort(-np.asarray(peaks), kind="stable")
    scores, reported = np.asarray(peaks)[order], np.zeros(len(peaks)) if uppers is None else np.asarray(uppers)[order]
    hits = there = np.zeros(len(scores), np.int64)
    for upper in np.unique(reported):
        part, counts = reported == upper, upper <= scores
        there, hits = there + part.cumsum() * counts, hits + (part & np.asarray(right, bool)[order]).cumsum() * counts
    count, best = len(scores), None
    least = math.ceil(math.log(error / 3) / math.log(target))  # all right
    starts = {min(count, max(least, count // part)) for part in (4, 2, 1)}
    for start in starts:
        for at in range(start - 1, count):
            if at + 1 < count and scores[at + 1] == scores[at]:
                continue  # no threshold is between the two
            if p_value(int(hits[at]), int(there[at]), target) > error / len(starts):
                break
            best = max(best or 0, at)
    return None if best is None else (float(scores[best]), int(hits[best]), int(there[best]))


def to_review(reader: Reader, label: str | None = None, limit: int = 30, camera: str | None = None) -> list[Row]:
    """Events without an answer, in a random order: a choice by score or by eye would make answers prove nothing. They
    are of the newest plan, label bank and settings, for which alone answers count."""
    contexts = reader.contexts()
    last = next(reader.query("SELECT context FROM moments WHERE ended IS NOT NULL ORDER BY id DESC LIMIT 1"), None)
    same = [str(key) for key, of in contexts.items() if last and same_settings(of) == same_settings(contexts[last[0]])]
    only, values = chosen(camera, label, None, None)
    of = f"SELECT id FROM moments WHERE {UNANSWERED} AND {only} AND context IN ({', '.join(same)})"
    drawn = f"{of} ORDER BY event LIMIT ?"  # ids are random
    return sorted(reader.rows(f"id IN ({drawn})", (*values, limit)), key=lambda row: row.event or "")


def statement(reader: Reader, label: str, target: float, camera: str | None = None) -> Statement:
    """What the answers on a label prove, at a camera or at all of them (None).

    Answers count if they belong to events with the newest plan, label bank and settings but for thresholds and the
    choice of labels.
    """
    answers, ended = reader.answers(), "kind = 'event' AND ended IS NOT NULL AND label = ? AND ? IN (camera, '')"
    answered = f"{ended} AND id IN (SELECT id FROM answers)" if answers else "0"
    newest, place = f"id = (SELECT max(id) FROM moments WHERE {ended})", (label, camera or "")
    rows = reader.rows(f"{answered} OR {newest}", place * (1 + bool(answers)))
    found, starts = list[tuple[float, str, float, bool, float]](), list[float]()
    for row in rows:
        event, answer = row.ended, answers.get(row.id)
        if event and answer and answer[1] is not None and same_settings(row.context) == same_settings(rows[-1].context):
            starts.append(row.start)
            upper = float(row.context.rules.upper[row.context.names.index(label)])
            found.append((answer[1], event.id, event.peak, answer[0] == "yes", upper))
    tested, error, following = tests(len(found), target)
    used = sorted(found)[:tested]
    _, _, peaks, right, uppers = zip(*used, strict=True) if used else ((), (), (), (), ())
    best = lowest(peaks, right, target, error, uppers) if tested else None
    missing = following - len(found)
    if best is None:
        every = [yes for _, _, _, yes, _ in (used or found)]
        return Statement(label, target, None, sum(every), len(every), len(found), missing)
    least, hits, reviewed = best
    at = max(one for one in uppers if one <= least) if least == min(peaks) else math.ceil(1000 * least) / 1000
    drift = drift_of(reader, label, starts, rows[-1].context, camera)
    return Statement(label, target, at, hits, reviewed, len(found), missing, drift)
