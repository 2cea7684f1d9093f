"""A false event and the past: those like it go, right ones stay or are named, and what cannot be corrected says so."""

from __future__ import annotations

import time

import numpy as np
import pytest

from pvlr_sdk import errors
from pvlr_sdk.bundle.fingerprints import fingerprints
from pvlr_sdk.cameras.memory.correction import Correction, correct
from pvlr_sdk.cameras.memory.why import find_event
from tests.pvlr_sdk.labels import tiny_open

BANK = tiny_open.make_bank()


def look(*parts: float) -> np.ndarray:
    """Features of unit length."""
    features = np.zeros(tiny_open.DEPTH, np.float32)
    features[: len(parts)] = parts
    return features / np.linalg.norm(features)


def corrected(site, event: str, bank=BANK) -> Correction:
    return correct(site.store, find_event(site.store, event), bank, "tiny")


def cat(site, peak: float, *parts: float, **options) -> str:
    return site.event(peak, label="cat", features=look(*parts), **options)


def events(rows) -> set[str]:
    return {row.event for row in rows}


def test_events_that_look_like_it_go_and_others_stay(site) -> None:
    wrong = cat(site, 0.7, 1, 0.1)
    like = {cat(site, 0.72, 1, 0.1, 0.05 * number) for number in range(3)}
    other = cat(site, 0.6, 0, 0, 0, 1)
    site.event(0.9, label="car", features=look(1, 0.1))
    made = corrected(site, wrong)
    assert (made.event, made.label, made.right, made.lost) == (wrong, "cat", 0, [])
    assert (events(made.gone), events(made.stay)) == (like, {other})
    drop = look(1, 0.1) @ (made.bank.weights[1].astype(float))
    assert drop == pytest.approx(-(np.log(0.7 / 0.3) + 1.2), abs=0.01)


def test_right_events_that_resemble_it_stay(site) -> None:
    wrong = cat(site, 0.75, 1, 0.5)
    right = {cat(site, 0.75, 1, -0.3, answer="yes"), cat(site, 0.6, 1, -0.2, answer="yes")}
    made = corrected(site, wrong)
    assert (made.right, events(made.stay), made.gone) == (2, right, [])
    for event in right:  # without the answers they go
        site.answer(event, None)
    assert events(corrected(site, wrong).gone) == right


def test_a_right_event_that_would_go_is_named(site) -> None:
    wrong = cat(site, 0.9, 1, 0.1)
    right = cat(site, 0.55, 1, 0.1, answer="yes")
    made = corrected(site, wrong)
    assert (events(made.lost), events(made.gone), made.right) == ({right}, {right}, 1)


def test_the_event_falls_less_far_below_where_a_right_one_would_go(site) -> None:
    wrong = cat(site, 0.6, 1, 0.1)
    drops = []
    for peak in (0.9, 0.57, 0.545):
        right = cat(site, peak, 1, 0.3, answer="yes")
        made = corrected(site, wrong)
        assert (events(made.stay), made.lost) == ({right}, [])
        drops.append(-float(look(1, 0.1) @ made.bank.weights[1].astype(float)))
        site.answer(right, None)
        site.count += 10_000  # it is not of the past day any more
    height = np.log(0.6 / 0.4)
    assert np.subtract(drops, height) == pytest.approx([1.2, 0.6, 0.3], abs=0.05)  # fp16


def test_right_events_count_however_old_they_are(site) -> None:
    right = cat(site, 0.8, 1, answer="yes")
    old = cat(site, 0.8, 1, 0.1)
    site.count += 10_000  # more than a day
    made = corrected(site, cat(site, 0.6, 0, 1))
    assert events(made.stay) == {right}
    assert old not in events(made.gone)


def test_pictures_of_other_cameras_keep_their_scores(site) -> None:
    wrong = cat(site, 0.7, 1, 1)
    alone = corrected(site, wrong).bank.weights[1].astype(float)
    for number in range(20):
        site.event(0.9, label="car", camera="yard", features=look(1, 0, 0.01 * number))
    among = corrected(site, wrong).bank.weights[1].astype(float)
    assert abs(look(1) @ among) < 0.6 * abs(look(1) @ alone)


def test_notes_say_what_differs(site) -> None:
    names = tuple(BANK.names)
    vectors = {"names": names, "deployed": (0.5,) * 4, "vectors": fingerprints(BANK)}
    wrong = cat(site, 0.7, 1, **vectors)
    assert corrected(site, wrong).notes == ["events are compared at their peaks"]
    notes = corrected(site, wrong, corrected(site, wrong).bank).notes
    assert notes[1:] == ["1 of them were recorded before 'cat' changed"]
    tiled = cat(site, 0.7, 1, **vectors, raised=(0.6,) * 4)
    assert "with tiles" in corrected(site, tiled).notes[1]


def test_what_cannot_be_corrected(site) -> None:
    bare = site.event(0.7, label="cat")
    with pytest.raises(errors.OptionError, match="features of the plan in use, tiny, got one with"):
        corrected(site, bare)
    unknown = site.event(0.7, label="car", features=look(1))  # the bank has no car
    with pytest.raises(errors.UnknownLabelError):
        corrected(site, unknown)


def test_a_thousand_events_take_well_under_seconds(site) -> None:
    for number in range(1200):
        cat(site, 0.6, 1, number / 1000, answer="yes" if number % 10 == 0 else None)
    wrong = cat(site, 0.7, 1, 2)
    began = time.monotonic()
    made = corrected(site, wrong)
    assert (len(made.gone) + len(made.stay), made.right) == (1000, 120)
    assert time.monotonic() - began < 3
