"""Values set in a site file: everything else stays, comments included."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvlr_sdk import errors
from pvlr_sdk._util import files
from pvlr_sdk._util.files import remove_leftovers
from pvlr_sdk.cameras.site.yaml_file import edited, parse_yaml

CAR, LABELS = ("events", "thresholds", "car"), ("events", "labels")


@pytest.mark.parametrize(
    ("before", "changes", "after"),
    [
        ("cameras: {a: 0}", {CAR: 0.5}, "cameras: {a: 0}\nevents:\n  thresholds:\n    car: 0.5\n"),
        ("a: 0  # x\n\n# end\n", {CAR: 1}, "a: 0  # x\nevents:\n  thresholds:\n    car: 1\n\n# end\n"),
        ("{}\n", {CAR: 0.5}, "events:\n  thresholds:\n    car: 0.5\n"),
        ("{cameras: {a: 0}}\n", {CAR: 0.5}, "{cameras: {a: 0}, events: {thresholds: {car: 0.5}}}\n"),
        ("events:\n  margin: 0  # x\n\nb: null\n", {CAR: 0.5},
         "events:\n  margin: 0  # x\n  thresholds:\n    car: 0.5\n\nb: null\n"),
        ("events: {thresholds: {car: 0.7}} # x\n", {CAR: 0.00001}, "events: {thresholds: {car: 1e-05}} # x\n"),
        (
            "events:\n  thresholds:\n    # of cars\n    car: 0.7  # x\n    dog: 1\n# y\nb: 1\n",
            {CAR: 0.5, ("events", "thresholds", "cat"): 0.1},
            "events:\n  thresholds:\n    # of cars\n    car: 0.5  # x\n    dog: 1\n    cat: 0.1\n# y\nb: 1\n",
        ),
        ("events:\n  thresholds:\nb: 1\n", {CAR: 0.5}, "events:\n  thresholds:\n    car: 0.5\nb: 1\n"),
        ("events:\n  thresholds: {}  # x\n", {CAR: 0.5}, "events:\n  thresholds:\n    car: 0.5      # x\n"),
        ("events:\n    labels:\n        - 'car'  # lost\n        - dog  # x\n    # y\n    deny: ['a']\nb:\n    - 1\n",
         {LABELS: ["cat"]}, "events:\n    labels: [cat] # x\n    # y\n    deny: ['a']\nb:\n    - 1\n"),
        ("events: {labels: [a,\n  b]}\n", {LABELS: None}, "events: {labels: null}\n"),
        ("b: 1\r\nevents: {labels: [a]}\r\n", {LABELS: ["hot dog", "1"]},
         "b: 1\r\nevents: {labels: [hot dog, '1']}\r\n"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_only_the_value_changes(tmp_path, before, changes, after, encoding):
    path = tmp_path / "site.yaml"
    path.write_bytes(before.encode(encoding))
    assert edited(path, changes)[0].decode() == after


@pytest.mark.slow
@given(st.dictionaries(st.text(max_size=8), st.floats(0, 1).map(lambda x: round(x, 4)), min_size=1), st.booleans())
@settings(deadline=None)  # a busy machine is no reason
def test_any_name_is_kept(tmp_path_factory, names, flow):
    path = tmp_path_factory.getbasetemp() / "names.yaml"
    path.write_text("events: {thresholds: {x: 1}}" if flow else "events:\n  thresholds:\n    x: 1\n")
    text, read = edited(path, {("events", "thresholds", name): value for name, value in names.items()})
    assert read == parse_yaml(text, "names.yaml") == {"events": {"thresholds": {"x": 1, **names}}}


@pytest.mark.parametrize(
    "text", ["a: &x {events: {labels: []}}\n<<: *x\n", "events: &x {margin: 0}\nb: *x\n", "events: [1\n"]
)
def test_what_cannot_be_changed_in_place_stays(tmp_path, text):
    path = tmp_path / "site.yaml"
    path.write_text(text)
    with pytest.raises(errors.ConfigError, match=r"site\.yaml"):
        edited(path, {CAR: 0.5})


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        pytest.param(["label"] * 100_000, "more than 100000 values", marks=pytest.mark.slow),
        (["x" * 1000] * 1100, "expected at most 1048576 bytes"),
    ],
)
def test_what_could_not_be_read_back_is_refused(tmp_path, labels, message):
    """Version 0.2 wrote it, and did not start again."""
    path = tmp_path / "site.yaml"
    path.write_text("events: {labels: [a]}\n")
    with pytest.raises(errors.ConfigError, match=message):
        edited(path, {LABELS: labels})


def test_what_killed_writers_left_is_removed(tmp_path, monkeypatch):
    path, other = tmp_path / "site.yaml", tmp_path / ".other.yaml.0123456789ab.tmp"
    left = tmp_path / f".site.yaml.{'0' * 12}.tmp"
    for file in (path, other, left):
        file.touch()
    monkeypatch.setattr(files.time, "time", lambda: left.stat().st_ctime + 59.9)
    remove_leftovers(path)
    assert left.exists()  # a live writer may use it
    monkeypatch.setattr(files.time, "time", lambda: left.stat().st_ctime + 60.1)
    remove_leftovers(path)
    assert set(tmp_path.iterdir()) == {path, other}
