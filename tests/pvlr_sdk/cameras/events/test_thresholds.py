"""The threshold of a label at a place: all ranks, against the rule written out, and the detector that uses it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pvlr_sdk.cameras.events import EventDetector, EventSettings
from pvlr_sdk.cameras.events.thresholds import Minimum, Threshold, Thresholds

LABELS = ("person", "cat", "car")
VALUES = st.floats(0, 1, width=32)
SOME = st.dictionaries(st.sampled_from(LABELS), VALUES)
ALL = st.fixed_dictionaries(dict.fromkeys(LABELS, VALUES))
PROVEN = st.dictionaries(st.sampled_from(LABELS), st.builds(Minimum, VALUES, st.integers(36, 999)))
SITES = st.builds(Thresholds, ALL, st.none() | VALUES, SOME, SOME, PROVEN)


def rule(
    site: Thresholds, label: str, region: dict[str, float], tiles: dict[str, float] | None
) -> tuple[float, str]:
    """The documented order, one rank after the other."""
    value, source = site.plan[label], "plan"
    if tiles and tiles[label] > value:
        value, source = tiles[label], "tiles"
    if site.every is not None:
        value, source = site.every, "site"
    if label in site.labels:
        value, source = site.labels[label], "site"
    if label in site.changes:
        value, source = site.changes[label], "change"
    if label in region:
        value, source = region[label], "region"
    if label in site.proven and site.proven[label].threshold > value:
        value, source = site.proven[label].threshold, "proven"
    return value, source


@given(SITES, SOME, st.none() | ALL)
def test_the_highest_rank_decides_and_a_proven_threshold_is_the_least(site, region, tiles):
    for label in LABELS:
        assert site.at(label, region, tiles)[:2] == rule(site, label, region, tiles)


@given(SITES, SOME, st.none() | ALL)
def test_a_detector_uses_what_is_stated(site, region, tiles):
    settings = EventSettings(on=site.configured(region))
    detector = EventDetector("door", LABELS, site.deployed(LABELS), settings)
    frame = None if tiles is None else [tiles[label] for label in LABELS]
    detector.update(0.0, 0.0, [0.0] * len(LABELS), LABELS, frame)
    stated = {label: site.at(label, region, tiles).value for label in LABELS}
    assert {label: threshold for label, (_, threshold) in detector.levels.items()} == stated


@given(SITES, SOME)
def test_what_is_in_use_is_all_that_differs_from_the_plan(site, region):
    stated = {label: site.at(label, region) for label in LABELS}
    assert site.in_use(region) == {
        label: threshold for label, threshold in stated.items() if threshold.source != "plan"
    }


def test_a_threshold_says_where_it_comes_from():
    site = Thresholds({"person": 0.5, "cat": 0.4}, proven={"person": Minimum(0.62, 72)})
    assert str(site.at("person")) == "0.62, proven by 72 answers"
    assert str(site.at("cat")) == "0.40, of the plan"
    assert str(site.at("cat", tiles={"cat": 0.55})) == "0.55, of the plan for tiles"
    assert str(Thresholds({"cat": 0.4}, labels={"cat": 0.3}).at("cat")) == "0.30, set for the site"
    assert str(site.with_change("cat", 0.3).at("cat")) == "0.30, changed while running"
    assert site.at("cat", {"cat": 0.2}) == Threshold(0.2, "region")
    assert site.at("cat", {"cat": 0.2}).origin == "set for the region"
    assert site.at("person", {"person": 0.2}) == Threshold(0.62, "proven", 72)
