"""Answers belong to a label: its proof outlives changes of other labels, and what is not proven has a limit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from pvlr_sdk import LabelBank, Tagger
from pvlr_sdk.bundle.fingerprints import fingerprints
from pvlr_sdk.cameras.events import EventSettings, When
from pvlr_sdk.cameras.memory.memory import Memory
from pvlr_sdk.cameras.memory.precision import at_most, statement, to_review
from pvlr_sdk.cameras.memory.sameness import is_same
from pvlr_sdk.cameras.memory.sink import MemoryConfig
from pvlr_sdk.labels import Knowledge


def test_a_share_that_is_not_proven_is_stated_with_its_limit(site):
    """The interval is SciPy's; whether a target is in reach depends on the highest events alone, too."""
    for right, reviewed in ((20, 36), (0, 7), (7, 7), (29, 36)):
        interval = stats.binomtest(right, reviewed).proportion_ci(0.95)
        assert at_most(right, reviewed) == pytest.approx(interval.high, abs=1e-5)
    assert at_most(0, 0) == 1
    for number in range(36):
        site.event(0.6, "yes" if number < 20 else "no")
    found = statement(site.store, "car", 0.9)
    assert (found.in_reach, round(found.at_most, 2)) == (False, 0.72)
    assert str(found) == (
        "car: out of reach that at least 90 % of events are right: about 56 %, at most 72 % "
        "(20 of 36 reviewed); teach the label, or choose a lower target"
    )
    for peak in np.linspace(0.8, 0.9, 12):
        site.event(float(peak), "yes")
    found = statement(site.store, "car", 0.9)
    assert (found.in_reach, found.at_most < 0.9) == (True, True)
    assert "about 67 %, at most 80 % (32 of 48 reviewed); 24 more answers" in str(found)


def changed_bank(bank: LabelBank, number: int) -> LabelBank:
    """The bank after another change of labels other than its first one: one is taught, renewed, or removed."""
    random = np.random.default_rng(number)
    changes = ("add", "teach again", "remove")
    change = changes[number % 3] if len(bank) > 2 else "add"
    name = f"label {number}" if change == "add" else bank.names[-1]
    rest = bank if change == "add" else bank.select(bank.names[:-1])
    if change == "remove":
        return rest
    one = LabelBank(
        [name],
        np.zeros((1, 4), np.float16),
        np.array([0.4], np.float32),
        {"space": "tiny", "features": "tiny", "taught": {name: {"before": None}}},
        biases=random.normal(size=1).astype(np.float32),
        weights=random.normal(size=(1, 4)).astype(np.float16),
    )
    return rest.join(one)


def test_a_proof_outlives_20_changes_of_other_labels_and_not_one_of_its_own(site):
    """Its label is taught with a vector; each change gives another bank with another SHA-256 and other labels."""
    bank = changed_bank(changed_bank(plain_bank(), 0), 3)
    seen = {bank.sha256}

    def event(peak: float, answer: str | None = None) -> str:
        vectors = fingerprints(bank)
        about = {"names": tuple(bank.names), "bank": bank.sha256, "vectors": vectors}
        return site.event(peak, answer, deployed=(0.5,) * len(bank), **about)

    for peak in np.linspace(0.51, 0.99, 36):
        event(float(peak), "yes")
    before = statement(site.store, "car", 0.9)
    assert (before.threshold, before.answers) == (0.5, 36)
    for number in range(20):
        bank = changed_bank(bank, number)
        seen.add(bank.sha256)
        event(0.7)
        assert statement(site.store, "car", 0.9) == before
    assert len(seen) > 10
    assert len(to_review(site.store, "car", 100)) == 20
    arrays = bank.arrays()
    arrays["biases"][0] += 0.25
    bank = LabelBank(bank.names, text=bank.text, **arrays)
    last = event(0.7)
    lost = statement(site.store, "car", 0.9)
    assert (lost.threshold, lost.answers) == (None, 0)
    assert [row.event for row in to_review(site.store, "car", 100)] == [last]


def plain_bank() -> LabelBank:
    text = {"space": "tiny", "features": "tiny", "taught": {"car": {"before": None}}}
    embeddings = np.zeros((1, 4), np.float16)
    weights = np.ones((1, 4), np.float16)
    return LabelBank(["car"], embeddings, np.full(1, 0.5, np.float32), text, weights=weights)


def test_a_trained_label_depends_on_all_trained_ones_and_on_no_taught_one():
    random = np.random.default_rng(0)
    embeddings = random.normal(size=(3, 4)).astype(np.float16)
    embeddings[2] = 0
    text = {"space": "tiny", "features": "tiny", "taught": {"mug": {"before": None}}}
    weights = np.zeros((3, 4), np.float16)
    weights[2] = 1
    thresholds = np.full(3, 0.5, np.float32)
    bank = LabelBank(["car", "cat", "mug"], embeddings, thresholds, text, weights=weights)
    car, cat, mug = fingerprints(bank)
    assert len({car, cat, mug}) == 3
    assert fingerprints(bank.select(["cat", "car"])) == (cat, car)
    assert fingerprints(bank.select(["mug", "car"]))[0] == mug
    assert fingerprints(bank.select(["mug", "car"]))[1] != car
    bank.thresholds[:] = 0.7
    assert fingerprints(bank) == (car, cat, mug)


def test_other_labels_count_where_events_need_them(site):
    """Of a condition or a group; the settings of unrelated labels do not."""
    plain = replace(site.context, vectors=("1", "2"), bank="first")
    other = replace(plain, vectors=("1", "3"), bank="second")
    needs = EventSettings(when={"car": When(["cat"], [], 3.0)})
    groups = EventSettings(groups={"pets": ["cat", "car"]})
    assert is_same("car", plain, other)
    assert not is_same("cat", plain, other)
    for settings in (needs, groups):
        with_cat = replace(plain, settings=settings), replace(other, settings=settings)
        assert not is_same("car", *with_cat)
        assert not is_same("car", plain, with_cat[0])
    assert is_same("cat", plain, replace(plain, settings=needs))
    assert not is_same("car", plain, replace(plain, vectors=None, bank="third"))
    assert is_same("car", plain, replace(plain, vectors=None))


@pytest.mark.slow
def test_a_memory_names_the_vectors_of_the_bank_in_use(tmp_path):
    """A word that is added leaves the vectors of all other labels as they are."""
    with Tagger() as tagger:
        memory = Memory(MemoryConfig(folder=tmp_path / "m"), tagger)
        before = memory._vectors_of(tagger.info["bank"])
        assert before == fingerprints(tagger.label_bank)
        old = tagger.info["bank"]
        tagger.set_labels(tagger.label_bank.join(Knowledge.load().bank(["castle"])))
        assert memory._vectors_of(tagger.info["bank"])[:-1] == before
        assert memory._vectors_of(old) is None
        memory.close(5)
