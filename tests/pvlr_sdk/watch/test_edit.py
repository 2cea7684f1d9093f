"""Values set in a site file: all other text stays."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pvlr_sdk import errors
from pvlr_sdk.watch.edit import edited

CAR, LABELS = ("events", "thresholds", "car"), ("events", "labels")


@pytest.mark.parametrize(
    ("before", "changes", "after"),
    [
        ("cameras: {a: 0}\n", {CAR: 0.5}, "cameras: {a: 0}\nevents: {thresholds: {car: 0.5}}\n"),
        ("cameras: {a: 0}", {CAR: 0.5}, "cameras: {a: 0}\nevents: {thresholds: {car: 0.5}}"),
        ("a: 0  # x\n\n# end\n", {CAR: 1}, "a: 0  # x\nevents: {thresholds: {car: 1}}\n\n# end\n"),
        ("{cameras: {a: 0}}\n", {CAR: 0.5}, "{cameras: {a: 0}, events: {thresholds: {car: 0.5}}}\n"),
        ("events:\n  margin: 0  # x\n\nb: 1\n", {CAR: 0.5},
         "events:\n  margin: 0  # x\n  thresholds: {car: 0.5}\n\nb: 1\n"),
        ("events: {thresholds: {car: 0.7}}\n", {CAR: 0.00001}, "events: {thresholds: {car: 1.0e-05}}\n"),
        ("events: {thresholds: {car: 0.7}}  # x\n", {CAR: 0.5}, "events: {thresholds: {car: 0.5}}  # x\n"),
        (
            "events:\n  thresholds:\n    # of cars\n    car: 0.7  # x\n    dog: 1\n# y\nb: 1\n",
            {CAR: 0.5, ("events", "thresholds", "cat"): 0.1},
            "events:\n  thresholds:\n    # of cars\n    car: 0.5  # x\n    dog: 1\n    cat: 0.1\n# y\nb: 1\n",
        ),
        ("events:\n  thresholds:\nb: 1\n", {CAR: 0.5}, "events:\n  thresholds: {car: 0.5}\nb: 1\n"),
        ("events:\n  thresholds: {}  # x\n", {CAR: 0.5}, "events:\n  thresholds: {car: 0.5}  # x\n"),
        ("events: null\n", {CAR: 0.5}, "events: {thresholds: {car: 0.5}}\n"),
        ("events:\n  labels:\n  - car  # x\n  - dog\n  deny: []\n", {LABELS: ["cat"]},
         "events:\n  labels: [cat]\n  deny: []\n"),
        ("events: {labels: [a,\n  b]}\n", {LABELS: None}, "events: {labels: null}\n"),
        ("b: 1\r\nevents: {labels: [a]}\r\n", {LABELS: ["hot dog", "on"]},
         'b: 1\r\nevents: {labels: ["hot dog", "on"]}\r\n'),
    ],
)  # fmt: skip
def test_only_the_value_changes(tmp_path, before, changes, after):
    path = tmp_path / "site.yaml"
    path.write_bytes(before.encode())
    assert edited(path, changes).decode() == after


@pytest.mark.slow
@given(st.dictionaries(st.text(max_size=8), st.floats(0, 1).map(lambda x: round(x, 4)), min_size=1), st.booleans())
@settings(deadline=None)  # a busy machine is no reason
def test_any_name_is_kept(tmp_path_factory, names, flow):
    path = tmp_path_factory.getbasetemp() / "names.yaml"
    path.write_text(yaml.safe_dump({"events": {"thresholds": {"x": 1}}}, default_flow_style=flow))
    text = edited(path, {("events", "thresholds", name): value for name, value in names.items()})
    assert yaml.safe_load(text) == {"events": {"thresholds": {"x": 1, **names}}}


@pytest.mark.parametrize(
    "text", ["a: &x {events: {labels: []}}\n<<: *x\n", "events: &x {margin: 0}\nb: *x\n", "events: [1\n"]
)
def test_what_cannot_be_changed_in_place_stays(tmp_path, text):
    path = tmp_path / "site.yaml"
    path.write_text(text)
    with pytest.raises(errors.ConfigError, match=r"site\.yaml"):
        edited(path, {CAR: 0.5})
