"""The precision of events that answers prove: against SciPy, on simulated events with known truth, and from a store."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from scipy import stats

from pvlr_sdk import errors
from pvlr_sdk.cameras.events import EventSettings
from pvlr_sdk.cameras.memory.precision import lowest, p_value, statement, tests, to_review
from pvlr_sdk.cameras.memory.proofs import Proofs
from pvlr_sdk.cameras.site import Site as WatchedSite
from pvlr_sdk.cameras.site import SiteConfig
from pvlr_sdk.cameras.site.changes import Changes
from tests.pvlr_sdk.cameras.memory.conftest import Site, pvlr
from tests.waiting import until

tests.__test__ = False  # a function of the SDK


@pytest.mark.parametrize("target", [0.5, 0.8, 0.9, 0.99])
def test_the_test_is_scipys(target):
    for reviewed in (1, 2, 29, 47, 400):
        for right in {0, 1, reviewed // 2, int(0.9 * reviewed), max(0, reviewed - 1), reviewed}:
            expected = stats.binomtest(right, reviewed, target, alternative="greater").pvalue
            assert p_value(right, reviewed, target) == pytest.approx(expected, rel=1e-9)
    assert p_value(46, 47, 0.9) < 0.05 < p_value(45, 47, 0.9)


def test_numbers_of_answers_that_are_tested_double_and_their_errors_add_up_to_5_percent():
    assert tests(35, 0.9) == (0, pytest.approx(0.05), 36)
    looks = {tests(count, 0.9)[:2] for count in range(36, 40_000)}
    assert sorted(count for count, _ in looks) == [36 * 2**k for k in range(11)]
    assert sum(error for _, error in looks) < 0.05


def reference(peaks, right, target, error):
    """The same sequences, with the bound of Clopper and Pearson instead of a test."""
    pairs, count = sorted(zip(peaks, right, strict=True), reverse=True), len(peaks)
    passed = set()
    for start in (count // 4, count // 2, count):
        first = start
        while target**first > error / 3 and first < count:
            first += 1
        for number in range(first, count + 1):
            if number < count and pairs[number][0] == pairs[number - 1][0]:
                continue
            hits = sum(yes for _, yes in pairs[:number])
            share = error / len(
                {
                    min(count, max(s, least(error / 3, target)))
                    for s in (count // 4, count // 2, count)
                }
            )
            bound = stats.beta.ppf(share, hits, number - hits + 1) if hits else 0.0
            if bound < target:
                break
            passed.add(number)
    return max(passed, default=None)


def least(error, target):
    return math.ceil(math.log(error) / math.log(target))


@pytest.mark.parametrize("seed", range(30))
def test_the_threshold_is_that_of_bounds_by_clopper_and_pearson(seed):
    random = np.random.default_rng(seed)
    count = int(random.integers(36, 200))
    peaks = random.uniform(0.5, 1, count).round(int(random.integers(2, 5)))
    right = random.random(count) < random.choice([0.93, 0.97, 1.0]) * (
        peaks > random.choice([0, 0.6])
    )
    number = reference(peaks.tolist(), right.tolist(), 0.9, 0.025)
    least = number and np.sort(peaks)[-number]
    assert lowest(peaks, right, 0.9, 0.025) == (
        number and (least, right[peaks >= least].sum(), number)
    )
    assert lowest(peaks, right, 0.9, 0.025, [0.5] * count) == lowest(peaks, right, 0.9, 0.025)


def test_events_that_were_reported_at_a_higher_threshold_count_at_it_and_above():
    peaks, right = [*np.linspace(0.5, 0.899, 20), *np.linspace(0.9, 0.99, 60)], [True] * 80
    assert lowest(peaks, right, 0.9, 0.05) == (0.5, 80, 80)
    assert lowest(peaks, right, 0.9, 0.05, [0.5] * 20 + [0.9] * 60) == (0.9, 60, 60)


WORLDS = {
    "just below the target": lambda peak: np.full_like(peak, 0.8999),
    "rises": lambda peak: 1 / (1 + np.exp(-12 * (peak - 0.7))),
    "a step": lambda peak: np.where(peak > 0.8, 0.97, 0.6),
    "not monotone": lambda peak: np.where(peak > 0.9, 0.6, 0.96),
}


def simulate(world, draws: int, answers: int = 300, follow: bool = False) -> tuple[float, float]:
    """How often a wrong precision is stated in any test of a review, and how often a right one is in the last.

    ``follow``: the threshold follows what is proven, so that events below it are not reported any more.
    """
    random, grid = np.random.default_rng(0), np.linspace(0.5, 1, 5001)
    truth = np.cumsum(world(grid)[::-1])[::-1] / np.arange(len(grid), 0, -1)
    violated, stated = 0, 0
    for _ in range(draws):
        peaks = random.uniform(0.5, 1, answers)
        right, wrong, tested, number = random.random(answers) < world(peaks), False, 0, None
        uppers = np.full(answers, 0.5)
        for count in (36, 72, 144, 288):
            tested, error, _ = tests(count, 0.9)
            assert tested == count
            number = lowest(peaks[:count], right[:count], 0.9, error, uppers[:count])
            if follow:
                uppers[count:] = number[0] if number else 0.5
                peaks[count:] = random.uniform(uppers[-1], 1, answers - count)
                right[count:] = random.random(answers - count) < world(peaks[count:])
            if number:
                wrong |= bool(np.interp(number[0], grid, truth) < 0.9)
        violated, stated = violated + wrong, stated + (number is not None)
    return violated / draws, stated / draws


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("draws", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_a_stated_precision_is_wrong_in_at_most_5_percent_of_all_reviews(world, draws, follow):
    violated, stated = simulate(WORLDS[world], draws, follow=follow)
    shares = f"{100 * violated:.1f} % violated, {100 * stated:.1f} % stated at 288 answers"
    print(f"{world}, follow {follow}: {draws} reviews, {shares}")
    assert violated <= 0.05


def test_a_precise_label_is_proven():
    assert simulate(lambda peak: np.full_like(peak, 0.98), 100)[1] > 0.9


def test_the_statement_from_a_store(site, tmp_path):
    random = np.random.default_rng(0)
    for number in range(72):
        peak = float(random.uniform(0.5, 1))
        site.event(peak, "yes" if peak > 0.55 else ("no", "unclear")[number % 2])
        if number == 34:
            assert str(statement(site.store, "car", 0.9)).endswith(
                "1 more answers until the next test"
            )
    found = statement(site.store, "car", 0.9)
    assert (found.answers, found.missing) == (72, 72)
    assert 0.54 < found.threshold < 0.7
    assert 54 <= found.right <= found.reviewed <= found.right + 1
    text = f"car: at {found.threshold:g}, at least 90 % of events are right (95 % confidence, {found.right} of "
    assert str(found).startswith(text)
    assert statement(site.store, "cat", 0.9).answers == 0
    assert statement(site.store, "car", 0.9, "yard").answers == 0
    (car,) = json.loads(pvlr("precision", "--memory", tmp_path / "m", "--json"))
    assert car["threshold"] == found.threshold


def test_all_events_right_hold_at_the_threshold_in_use(site):
    for peak in np.linspace(0.51, 0.99, 36):
        site.event(float(peak), "yes")
    found = statement(site.store, "car", 0.9)
    assert (found.threshold, found.right, found.reviewed) == (0.5, 36, 36)


def test_answers_of_another_plan_and_other_settings_do_not_count(site):
    site.event(0.9, "yes", plan="other")
    site.event(0.9, "yes", bank="other")
    site.event(0.9, "yes", settings=EventSettings(smoothing=2))
    site.event(0.9, "yes", settings=EventSettings(on={"car": 0.8}))
    site.event(0.9, "yes", settings=EventSettings(labels=["car"]))
    site.event(0.55, "yes", deployed=(0.4, 0.5))
    site.event(0.45, "yes", deployed=(0.4, 0.5))
    site.event(0.9, "yes", label="cat")
    site.event(0.9, "yes")
    assert statement(site.store, "car", 0.9).answers == 5


def test_answers_can_be_changed_removed_and_are_deleted_with_their_event(site, tmp_path):
    first, second = site.event(0.9), site.event(0.8)
    assert site.store.answers() == {}
    for answer in ("no", "unclear", "yes"):
        site.answer(first, answer)
        assert site.answers() == {first: answer}
    site.answer(first, None)
    assert site.store.answers() == {}
    folder = tmp_path / "m"
    pvlr("precision", "--memory", folder, "--yes", first[:8], "--no", second)
    assert site.answers() == {first: "yes", second: "no"}
    pvlr("precision", "--memory", folder, "--undo", second)
    assert list(site.answers()) == [first]
    with pytest.raises(
        errors.OptionError, match="expected an event, or a sampled frame and a label"
    ):
        site.store.answer(99, "yes")
    site.store.delete(label="car")
    assert site.store.answers() == {}


def test_events_to_review_come_in_a_random_order_with_their_pictures(site, tmp_path):
    names = [site.event(0.5 + number / 100) for number in range(40)]
    site.answer(names[7], "yes")
    rows = to_review(site.store, "car", 100)
    assert {row.ended.id for row in rows} == {*names} - {names[7]}
    peaks = [row.ended.peak for row in rows]
    assert abs(np.corrcoef(peaks, np.arange(len(peaks)))[0, 1]) < 0.4
    assert to_review(site.store, "cat") == []
    pvlr("precision", "--memory", tmp_path / "m", "--html", tmp_path / "review.html")
    page = (tmp_path / "review.html").read_text()
    assert (page.count("data:image/jpeg"), names[7][:8] in page) == (30, False)


def answered(site: Site, answers: int, wrong_below: float = 0.7, label: str = "car") -> None:
    random = np.random.default_rng(3)
    for _ in range(answers):
        peak = float(random.uniform(0.5, 1))
        site.event(peak, "yes" if peak > wrong_below else "no", label=label)


@pytest.mark.slow
def test_a_required_precision_is_followed_when_an_answer_comes_or_goes(site, tmp_path):
    found = []
    proofs = Proofs(tmp_path / "m", {"car": 0.9}, lambda proven: found.append(proven["car"]))
    proofs.close()  # no second thread looks here
    assert (found[0].threshold, found[0].missing) == (None, 36)
    answered(site, 144)
    for _ in range(2):  # the second look finds nothing new
        proofs.look()
    (_, proven) = found
    assert 0.6 < proven.threshold < 0.8
    (first,) = site.store.query("SELECT event FROM answers WHERE answer = 'yes' LIMIT 1")
    site.answer(first[0], "no")
    proofs.look()
    assert (len(found), found.pop() == proven) == (3, False)
    site.store.delete(label="car")
    proofs.look()
    assert (len(found), found[-1].threshold) == (3, None)


def test_what_cannot_be_read_is_reported_once_and_ends_nothing(tmp_path, caplog):
    found = []
    proofs = Proofs(tmp_path / "none", {"car": 0.9}, found.append)
    proofs.close()
    proofs.look()
    assert caplog.text.count("what answers prove cannot be computed") == 1
    answered(Site(tmp_path / "none"), 36)
    proofs.look()
    assert len(found) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("wake", "seconds"), [(True, 1.0), (False, 6.5)])
def test_a_threshold_follows_an_answer_at_once_and_that_of_another_process_soon(
    site, tmp_path, wake, seconds
):
    """No frame comes meanwhile; answers of other processes are found by a look every five seconds."""
    found, new = [], threading.Event()

    def use(proven):
        found.append(proven["car"])
        new.set()

    proofs = Proofs(tmp_path / "m", {"car": 0.9}, use)
    new.clear()
    answered(site, 144)
    began = time.monotonic()
    if wake:
        proofs.answered()
    assert new.wait(10)
    assert time.monotonic() - began < seconds
    until(lambda: found[-1].threshold)
    proofs.close()


ANSWER = """
import sys
from pathlib import Path
from pvlr_sdk.cameras.memory.store import Store

store = Store(Path(sys.argv[1]), write=True)
print("open", flush=True)
sys.stdin.readline()
for number in sys.argv[2:]:
    store.answer(int(number), "yes")
store.close()
"""


@pytest.mark.slow
def test_two_processes_answer_at_once_and_every_answer_counts(site, tmp_path):
    """They answer different events, one after the other, while a site looks for answers."""
    for _ in range(120):
        site.event(0.9)
    numbers = [str(row.id) for row in site.store.rows("kind = 'event'")]
    reviewed = []
    proofs = Proofs(
        tmp_path / "m", {"car": 0.9}, lambda proven: reviewed.append(proven["car"].answers)
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ANSWER, tmp_path / "m", *numbers[half::2]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for half in (0, 1)
    ]
    for process in processes:
        assert process.stdout.readline() == "open\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.wait(60) for process in processes] == [0, 0]
    assert set(site.answers().values()) == {"yes"}
    assert len(site.answers()) == 120
    until(lambda: reviewed[-1] == 120)
    proofs.close()


@pytest.mark.slow
def test_events_above_a_threshold_that_followed_still_prove_it(site):
    answered(site, 144)
    proven = statement(site.store, "car", 0.9)
    for number in range(20):
        site.event(0.99, "yes", settings=EventSettings(on={"car": proven.threshold}))
        after = statement(site.store, "car", 0.9)
        assert (after.threshold, after.answers) == (proven.threshold, 145 + number)


@pytest.mark.slow
def test_a_site_uses_the_proven_threshold_and_no_lower_one(site, plan, tmp_path, caplog):
    answered(site, 144, label="cat")
    proven = statement(site.store, "cat", 0.9).threshold
    memory = {
        "folder": str(tmp_path / "m"),
        "precision": {"cat": 0.9, "person": 0.95, "no label": 0.9},
    }
    raw = {
        "plan": str(plan),
        "threads": 1,
        "cameras": {"door": "test://?fps=10&size=64x48"},
        "memory": memory,
    }
    config = SiteConfig.parse(
        {**raw, "events": {"thresholds": {"cat": 0.3, "person": 0.4}}}, source="test"
    )
    made = WatchedSite(config)
    assert "precision: unknown labels are ignored: 'no label'" in caplog.text
    assert f"Its threshold is {proven:.3f} (before: 0.300)" in caplog.text
    cat, person = made.stats()["precision"]
    assert f"cat: at {proven}, at least 90 %" in cat
    assert "person: not proven" in person
    assert (made.levels("door")["cat"][1], made.levels("door")["person"][1]) == (proven, 0.4)
    assert made._status().thresholds["cat"] == proven
    made.use(Changes(thresholds={"cat": 0.95}))
    assert made.levels("door")["cat"][1] == 0.95
    made.use(Changes(thresholds={"cat": 0.2}))
    assert made.levels("door")["cat"][1] == proven
    made.require({"cat": statement(site.store, "person", 0.9)})
    assert made.levels("door")["cat"][1] == 0.2
    assert made.thresholds.at("cat") == (0.2, "change", 0)
    made.stop()
    made.run()
