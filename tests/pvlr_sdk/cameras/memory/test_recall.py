"""The recall that answers prove: simulated reviews with known truth, a real recorder, and the store."""

from __future__ import annotations

import bisect
import math
import os
from collections.abc import Callable
from contextlib import closing

import numpy as np
import pytest

from pvlr_sdk.cameras.events import EventSettings
from pvlr_sdk.cameras.memory.recall import Moment, frames_to_review, is_proven, recall, trials
from pvlr_sdk.cameras.memory.recording import Place
from pvlr_sdk.cameras.memory.sink import MemorySink
from pvlr_sdk.cameras.memory.store import Store
from tests.pvlr_sdk.cameras.memory.conftest import WALL, Scene

REVIEWS = int(os.environ.get("PVLR_RECALL_REVIEWS", "20"))
MINUTES = 15
"""Between two random frames, as with four samples per hour."""
LOOKS = 36, 72, 144, 288
MOST = 800
"""Answers yes of a review."""


def visits(random, days: int, prevalence: float, median: float):
    """Starts and ends in minutes of visits that last ``median`` minutes, and up to ten times as long."""
    mean = median * math.exp(0.5)
    count = int(days * 1440 * prevalence / mean * 2) + 50
    lengths = random.lognormal(math.log(median), 1.0, count)
    ends = np.cumsum(random.exponential(mean / prevalence - mean, count) + lengths)
    ends += random.uniform(-1, 0) * mean / prevalence
    return ends - lengths, ends


def events_of(random, kind: str, lengths, visit, inside, share: float):
    """Of frames of visits, ``inside`` minutes after their start, the events that cover them, with so much recall over
    time; -1: none."""
    if kind == "spells":  # a quarter of an hour is found, or missed
        table = random.random((len(lengths), int(lengths.max() // 15) + 2)) < share
        spell = (inside // 15).astype(int) % table.shape[1]  # frames after a visit do not matter
        return np.where(table[visit, spell], visit + len(lengths) * spell, -1)
    short = np.zeros(len(lengths), bool)
    if kind == "long":  # the shorter half is found always: the others are missed more often
        short = lengths < np.median(lengths)
    short_share = lengths[short].sum() / lengths.sum()
    found = short | (random.random(len(lengths)) < (share - short_share) / (1 - short_share))
    part = (
        (inside // 30).astype(int) if kind == "parts" else 0
    )  # a visit that is found has many events
    return np.where(found[visit], visit + len(lengths) * part, -1)


def review(
    random, share: float, kind: str, median: float, prevalence: float, places: int, days: int = 30
):
    """After how many trials and answers the recall is stated for the first time; infinity: it is not."""
    every = [visits(random, days, prevalence, median) for _ in range(places)]
    count = days * 1440 // MINUTES
    times = MINUTES * (np.arange(count) + random.random((places, count)))
    visit = [
        np.searchsorted(starts, at, "right") - 1
        for (starts, _), at in zip(every, times, strict=True)
    ]
    shown = [
        (seen >= 0) & (at < ends[seen])
        for (_, ends), seen, at in zip(every, visit, times, strict=True)
    ]
    events = [
        events_of(random, kind, ends - starts, seen, at - starts[seen], share)
        for (starts, ends), seen, at in zip(every, visit, times, strict=True)
    ]
    order = random.permutation(places * count)
    drawn = np.flatnonzero(np.ravel(shown)[order])[:MOST]  # the answers yes
    moments = [
        Moment(Place(str(at // count), None), 60 * time, None if event < 0 else event)
        for at, time, event in zip(
            order[drawn], np.ravel(times)[order[drawn]], np.ravel(events)[order[drawn]], strict=True
        )
    ]
    outcomes = trials(moments)
    look = next(
        (look for look in LOOKS if look <= len(outcomes) and is_proven(outcomes[:look], 0.9)), None
    )
    if look is None:
        return np.inf, np.inf
    last = bisect.bisect_left(
        range(len(moments)), look, key=lambda at: len(trials(moments[: at + 1]))
    )
    return look, drawn[last] + 1


WORLDS = [
    ("visits", 5, 0.01, 12), ("visits", 5, 0.05, 4), ("visits", 60, 0.01, 12), ("visits", 60, 0.1, 1),
    ("visits", 60, 0.25, 4), ("visits", 240, 0.25, 1), ("visits", 240, 0.5, 4), ("parts", 60, 0.1, 4),
    ("parts", 60, 0.5, 1), ("spells", 60, 0.1, 4), ("long", 20, 0.1, 1), ("long", 60, 0.25, 4),
]  # fmt: skip
"""What is found of a visit, the median of their lengths in minutes, the prevalence, and the number of cameras."""


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("share", [0.88, 0.8999])
def test_a_stated_recall_is_wrong_in_at_most_5_percent_of_all_reviews(world, share):
    """``PVLR_RECALL_REVIEWS=2000`` runs so many reviews."""
    random = np.random.default_rng(0)
    stated = sum(review(random, share, *world)[0] < np.inf for _ in range(REVIEWS))
    print(f"recall {share}, {world}: {100 * stated / REVIEWS:.2f} % of {REVIEWS} reviews are wrong")
    spread = 0 if REVIEWS >= 2000 else 3 * math.sqrt(0.05 * REVIEWS)
    assert stated <= 0.05 * REVIEWS + spread


@pytest.mark.parametrize("share", [0.91, 0.95, 0.98, 1.0])
def test_a_high_recall_is_proven(share):
    random = np.random.default_rng(0)
    found = np.array([review(random, share, "visits", 5, 0.1, 4) for _ in range(REVIEWS)])
    looks = ", ".join(f"{100 * np.mean(found[:, 0] <= look):.0f} % at {look}" for look in LOOKS)
    print(
        f"recall {share}: proven in {looks} moments; half of them after {np.median(found[:, 1])} answers"
    )
    assert np.mean(found[:, 0] < np.inf) >= {0.91: 0, 0.95: 0.1, 0.98: 0.8, 1.0: 1}[share]


STEP = 300
"""Seconds between two frames of a recorded camera."""


def has_visit(time: float) -> bool:
    """A visit of 30 minutes begins every two hours."""
    return time % 7200 < 1800


def record(sink: MemorySink, days: int, found: Callable[[int], bool], camera: str = "door") -> None:
    """A camera whose real detector finds some of the visits, by their numbers."""
    settings = EventSettings(smoothing=0, min_duration=0, min_gap=0)
    scene = Scene(settings=settings, samples_per_hour=4, submit=sink.write, camera=camera)
    for now in range(0, days * 86400, STEP):
        scene.see(now, [0.9 if has_visit(now) and found(now // 7200) else 0.1, 0.1])
    scene.close(days * 86400)


def answer_all(store: Store, label: str = "car") -> int:
    """Answer what a review asks for truthfully; returns the number of frames."""
    count = 0
    while rows := frames_to_review(store, label, 100):
        for row in rows:
            store.answer(row.id, "yes" if has_visit(row.time - WALL) else "no", label)
        count += len(rows)
    return count


def test_a_recorder_a_detector_and_answers_prove_the_recall(sink, tmp_path):
    for camera in ("door", "yard"):
        record(sink, 5, lambda visit: True, camera)
    with closing(Store(tmp_path / "memory")) as store:
        frames = answer_all(store)
        every = recall(store, "car", 0.9)
        assert frames == 2 * 5 * 24 * 4
        assert (every.answers, every.proven, every.found, every.moments) == (frames, True, 36, 36)
        assert str(every) == (
            "car: at most 10 % of the moments with it were missed "
            "(95 % confidence, 36 of 36 found, 960 frames reviewed)"
        )
        door = recall(store, "car", 0.9, "door")
        assert (door.answers, door.proven, door.is_open) == (480, False, True)
        assert (door.found, door.missing) == (door.moments, 36 - door.moments)
        assert str(door).endswith(
            f"{door.missing} more until the next test, in about {door.frames} frames"
        )


def test_each_missed_frame_counts_and_found_ones_of_a_block_count_once(sink, tmp_path):
    record(sink, 3, lambda visit: visit % 3 != 0)
    with closing(Store(tmp_path / "memory")) as store:
        answer_all(store)
        result = recall(store, "car", 0.9)
        shown = [
            row.time - WALL for row in store.rows("kind = 'random'") if has_visit(row.time - WALL)
        ]
        missed = sum(time // 7200 % 3 == 0 for time in shown)
        assert missed > 15
        assert result.moments - result.found == missed
        assert (
            result.found == 3 * 4
        )  # of two visits that are found, one in less than three hours after the other
        assert (result.proven, result.is_open) == (False, False)
        assert len(frames_to_review(store, "cat")) == 30
