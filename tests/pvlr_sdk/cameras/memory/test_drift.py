"""A proposal to review again, since events are mixed otherwise than when answers were given: simulated, and stored."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from pvlr_sdk.cameras.events import EventSettings
from pvlr_sdk.cameras.memory.drift import _p_value, change
from pvlr_sdk.cameras.memory.precision import Statement, statement
from pvlr_sdk.cameras.memory.proofs import Proofs
from pvlr_sdk.cameras.site import Site as WatchedSite
from pvlr_sdk.cameras.site import SiteConfig
from pvlr_sdk.cameras.site.metrics import make_registry
from tests.pvlr_sdk.cameras.memory.conftest import Site, pvlr

DAYS = 28


def proposals(
    draws: int, *, factor: float = 1.0, burst: int = 1, answers: tuple[int, int] = (7, DAYS)
) -> float:
    """The share of draws with a proposal: of 40 events a day, 20, 5 and 10 % are of the label at three places. In the
    last days the first is more frequent by a factor. 72 answers are of events of some days."""
    random, found = np.random.default_rng(0), 0
    for _ in range(draws):
        shares = np.tile([0.2, 0.05, 0.1], (DAYS, 1))
        shares[:7, 0] *= factor
        counts = np.array(
            [
                burst * random.multinomial(random.poisson(40 / burst), [*one, 1 - sum(one)])
                for one in shares
            ]
        )
        places = {str(place): counts[:, place].astype(float) for place in range(3)}
        answered = np.bincount(random.integers(*answers, 72), minlength=DAYS).astype(float)
        found += change(places, counts.sum(1).astype(float), answered, 1) is not None
    return found / draws


@pytest.mark.slow
@pytest.mark.parametrize("burst", [1, 3, 10])
@pytest.mark.parametrize("answers", [(7, DAYS), (7, 9), (0, DAYS), (0, 7)])
def test_without_a_drift_at_most_5_percent_of_looks_propose(burst, answers):
    share = proposals(500, burst=burst, answers=answers)
    print(f"bursts of {burst}, answers of days {answers}: {100 * share:.1f} % of 500 looks")
    assert share <= 0.05


@pytest.mark.parametrize(("factor", "burst", "least"), [(2, 1, 0.95), (0.4, 1, 0.9), (3, 3, 0.9)])
def test_a_clear_drift_is_found(factor, burst, least):
    share = proposals(200, factor=factor, burst=burst)
    print(f"{factor} times as frequent, bursts of {burst}: found in {100 * share:.1f} %")
    assert share >= least


def test_answers_of_the_last_days_end_the_proposal():
    assert proposals(200, factor=2, answers=(0, 7)) == 0


def test_the_test_is_scipys_where_events_do_not_come_in_bursts():
    own, every = np.array([30.0, 30, 20, 20]), np.full(4, 100.0)
    sides = np.array([0, 0, 1, 1]), np.array([100, 100, 0, 0])
    expected = stats.chi2_contingency(
        [[60, 40], [140, 160]], correction=False, lambda_="log-likelihood"
    )
    assert _p_value(own, every, *sides) == pytest.approx(expected.pvalue)
    assert _p_value(own / 100, every, *sides) == 1.0


def live(
    site: Site,
    first: int,
    cars: int,
    answer: str | None = None,
    *,
    count: int = 20,
    peaks=(0.6, 0.9),
    **context,
) -> None:
    """Seven days with so many events each, some of which are of cars."""
    for day in range(first, first + 7):
        site.count = 8640 * day
        for number in range(count):
            label = "car" if number < cars else "cat"
            site.event(
                peaks[number % len(peaks)],
                answer if label == "car" else None,
                label=label,
                **context,
            )


@pytest.mark.slow
def test_a_proven_precision_proposes_to_review_again(site, tmp_path):
    live(site, 0, 8, "yes")
    assert statement(site.store, "car", 0.9).drift is None
    live(site, 10, 8)
    before = statement(site.store, "car", 0.9)
    assert (before.drift, before.threshold) == (None, 0.5)
    live(site, 20, 2)
    after = statement(site.store, "car", 0.9)
    assert replace(after, drift=None) == before
    text = "Review again: at door, it is 10 % of all events now, 40 % when answers were given"
    assert str(after) == f"{before}. {text}"
    assert pvlr("precision", "--memory", tmp_path / "m", "--label", "car").startswith(f"{after}\n")
    (car,) = json.loads(pvlr("precision", "--memory", tmp_path / "m", "--label", "car", "--json"))
    assert car["drift"] == {
        "place": "door",
        "before": pytest.approx(0.4),
        "now": pytest.approx(0.1),
    }
    assert statement(site.store, "car", 0.9, "door").drift == after.drift
    live(site, 30, 8)
    assert statement(site.store, "car", 0.9).drift is None


@pytest.mark.slow
def test_another_threshold_and_other_labels_are_no_drift(site):
    live(site, 0, 10, "yes", peaks=(0.6, 0.6, 0.6, 0.9))
    live(site, 10, 2, count=12, peaks=(0.9,), settings=EventSettings(on={"car": 0.8}))
    assert statement(site.store, "car", 0.9).drift is None
    live(site, 20, 20, settings=EventSettings(labels=["car"]))
    assert statement(site.store, "car", 0.9).drift is None


@pytest.mark.slow
def test_each_place_counts_by_its_own_labels(site):
    """What one camera does not watch is no reason that another one's events do not count."""
    for first, cars, answer in ((0, 8, "yes"), (20, 2, None)):
        live(site, first, cars, answer, camera="yard")
        for day in range(first, first + 7):
            site.count = 8640 * day + 1000
            site.event(0.9, label="cat", settings=EventSettings(labels=["cat"]))
        if answer:
            assert statement(site.store, "car", 0.9).drift is None
    assert statement(site.store, "car", 0.9).drift.place == "yard"


def test_without_events_to_compare_there_is_no_drift(site):
    live(site, 0, 8, "yes")
    site.count = 8640 * 20
    site.event(0.9, label="cat", bank="another")
    assert statement(site.store, "car", 0.9).drift is None


@pytest.mark.slow
def test_a_site_says_it_once(site, plan, tmp_path, caplog):
    live(site, 0, 8, "yes")
    live(site, 10, 8)
    found: list[Statement] = []
    proofs = Proofs(tmp_path / "m", {"car": 0.9}, lambda proven: found.append(proven["car"]))
    proofs.close()  # no second thread looks here
    live(site, 20, 2)
    for _ in range(2):
        proofs.look()
    assert [one.drift is not None for one in found] == [False, True]
    made = WatchedSite(
        SiteConfig.parse(
            {"plan": str(plan), "threads": 1, "cameras": {"door": "test://"}}, source="x"
        )
    )
    person = [replace(one, label="person") for one in found]
    for one in (*person, person[1]):
        made.require({"person": one})
    assert caplog.text.count("Review again: at door") == 1
    assert made.stats()["drift"] == {"person": True}
    assert made.levels("door")["person"][1] == 0.5
    registry = make_registry(made.tagger, made)
    assert registry.get_sample_value("pvlr_precision_drift", {"label": "person"}) == 1
    made.stop()
    made.run()
