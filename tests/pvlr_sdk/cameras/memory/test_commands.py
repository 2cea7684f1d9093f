"""``pvlr search``, ``why`` and ``replay``, and what they are made of."""

from __future__ import annotations

import csv
import json
import os
import re

import numpy as np
import pytest
from typer import BadParameter

from pvlr_sdk import Tagger, errors
from pvlr_sdk.cameras.events import EventSettings, When
from pvlr_sdk.cameras.memory import search as find
from pvlr_sdk.cameras.memory.moments import Moment
from pvlr_sdk.cameras.memory.reader import Reader
from pvlr_sdk.cameras.memory.recording import Context, Place
from pvlr_sdk.cameras.memory.sink import MemoryConfig, MemorySink
from pvlr_sdk.cameras.memory.store import Store
from pvlr_sdk.cameras.memory.why import explain, find_event, near_misses
from pvlr_sdk.labels import Knowledge, learn
from pvlr_sdk.labels.edit import LinearFunction, add_labels, taught_function
from pvlr_sdk.models.find import load_bundle
from tests.pvlr_sdk.cameras.memory.conftest import PICTURE, WALL, pvlr, write

DATA = os.environ.get("PVLR_DATA")
ALL = find.chosen(None, None, None, None)


def test_why_shows_curve_thresholds_reasons_and_near_misses(folder):
    reader = Reader(folder)
    first = next(row for row in reader.rows("camera = 'door'"))
    found = explain(reader, find_event(reader, first.began.id[:13]))
    assert (found.upper, found.lower) == (0.5, pytest.approx(0.4))
    assert (
        found.began
        == "average 0.900 at or above 0.500 (of the plan), and at or above 0.400 for 1.00 s (min_duration 1 s)"
    )
    assert found.ended == "average below 0.400 for 1.00 s (min_gap 1 s)"
    inside = [average for time, _, average in found.curve if WALL + 1 <= time < WALL + 4]
    assert inside == pytest.approx([0.9] * 30)
    assert found.others[0][:2] == ("cat", pytest.approx(0.1, abs=1e-3))
    near = near_misses(reader, Place("door", None), WALL, WALL + 100)
    assert [(one.label, round(one.start - WALL, 1), one.reason) for one in near] == [
        ("cat", 2.0, "the label is not reported"),
        ("car", 11.0, "present for 0.40 s, min_duration is 1 s"),
        ("car", 13.5, "0.050 below the threshold"),
    ]
    text = pvlr("why", "last", "--memory", folder)
    assert re.search(r"began .*\n +ended .*\n +others", text)
    assert text.count("*") > 10
    assert json.loads(pvlr("why", first.began.id, "--memory", folder, "--json"))["upper"] == 0.5
    with pytest.raises(errors.OptionError, match="got 'no-such-event', which is none"):
        pvlr("why", "no-such-event", "--memory", folder)


def test_the_newest_near_misses_are_printed(tmp_path, make_scene):
    scene = make_scene(settings=EventSettings(smoothing=0, min_duration=0, min_gap=0))
    sink = MemorySink(MemoryConfig(folder=tmp_path))
    for step in range(40):
        scene.see(step, [0.9 if step == 36 else 0.45 * (step % 2), 0.1])
    scene.close(40)
    write(sink, scene)
    sink.close()
    near = [
        line
        for line in pvlr("why", "last", "--memory", tmp_path).splitlines()
        if line.startswith("  near")
    ]
    every = json.loads(pvlr("why", "last", "--memory", tmp_path, "--json"))["near"]
    assert (len(near), len(every)) == (10, 17)


def test_an_event_without_scores_yet_has_a_note_instead_of_a_chart(tmp_path, make_scene, capsys):
    scene = make_scene(settings=EventSettings(smoothing=0, min_duration=0, min_gap=0))
    sink = MemorySink(MemoryConfig(folder=tmp_path))
    for step in range(5):
        scene.see(step, [0.9, 0.1])
    write(sink, scene)
    assert "  1.0" not in pvlr("why", "last", "--memory", tmp_path)
    assert "no scores of this event are on the disk" in capsys.readouterr().err
    for step in range(5, 70):
        scene.see(step, [0.9, 0.1])
    write(sink, scene)
    assert "  1.0" in pvlr("why", "last", "--memory", tmp_path)
    sink.close()


def test_nothing_comes_close_to_a_low_threshold_from_zero(tmp_path, make_scene):
    sink, scene = MemorySink(MemoryConfig(folder=tmp_path)), make_scene(thresholds=[0.08, 0.5])
    for step, level in enumerate([0.01] * 10 + [0.06] * 10 + [0.01] * 10):
        scene.see(step, [level, 0.1])
    scene.close(40)
    write(sink, scene)
    (near,) = near_misses(Reader(tmp_path), Place("door", None), WALL, WALL + 100)
    assert (near.label, near.start >= WALL + 10) == ("car", True)
    sink.close()


def test_near_misses_come_in_the_order_in_which_they_began(tmp_path, make_scene):
    sink, scene = (
        MemorySink(MemoryConfig(folder=tmp_path)),
        make_scene(settings=EventSettings(smoothing=0)),
    )
    for step in range(40):
        scene.see(step, [0.45 * (10 <= step < 30), 0.45 * (15 <= step < 20)])
    scene.close(40)
    write(sink, scene)
    sink.close()
    near = near_misses(Reader(tmp_path), Place("door", None), WALL, WALL + 100)
    assert [(one.label, one.start - WALL) for one in near] == [("car", 10), ("cat", 15)]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"cooldown": 20}, "the cooldown is 20 s"),
        ({"max_per_hour": 1}, "max_per_hour is 1"),
        ({"when": {"car": When(["cat"], within=2)}}, "no cat within 2 s"),
        (
            {"when": {"car": When(absent=["dog"], within=8)}},
            "present for less than 8 s without dog",
        ),
    ],
)
def test_what_limits_held_back_is_a_near_miss_with_the_reason(tmp_path, make_scene, limits, reason):
    scene = make_scene(
        ["car", "cat", "dog"], settings=EventSettings(smoothing=0, min_gap=0, **limits)
    )
    sink = MemorySink(MemoryConfig(folder=tmp_path))
    for step in range(200):
        scene.see(step / 10, [0.9 * (step % 100 < 60), 0.9 * (step < 20), 0.1])
    scene.close(20)
    write(sink, scene)
    sink.close()
    near = near_misses(Reader(tmp_path), Place("door", None), WALL, WALL + 100)
    assert [(one.label, one.reason) for one in near][-1] == ("car", reason)
    reported = [one for one in scene.events if (one.label, one.state) == ("car", "on")]
    assert len(reported) == (0 if "without" in reason else 1)


@pytest.mark.slow
def test_search_by_label_filter_and_features(folder, tmp_path, capsys):
    reader = Reader(folder)
    cars = find.by_label(reader, "car", ALL)
    assert [round(1 / (1 + np.exp(-score)), 2) for _, score in cars] == [0.9, 0.9, 0.7, 0.7]
    early = find.by_label(reader, "car", find.chosen("yard", None, None, WALL + 5))
    assert {row.camera for row, _ in early} == {"yard"}
    function = LinearFunction(np.eye(16)[0], 0.0)
    found = find.by_features(reader, "tiny", function, ALL)
    assert [round(score, 2) for _, score in found] == [1, 1, 0, 0]
    assert (
        len(find.by_features(reader, "tiny", function, find.chosen("door", "car", None, None), 1))
        == 1
    )
    with pytest.raises(errors.OptionError, match="expected one with the features tiny, got others"):
        find.by_features(reader, "others", function, ALL)
    with pytest.raises(
        errors.OptionError, match="--like: expected a picture instead of words, got both"
    ):
        pvlr("search", "car", "--like", "cat.jpg", "--memory", folder)
    page = tmp_path / "found.html"
    listed = json.loads(
        pvlr("search", "car", "--memory", folder, "--camera", "door", "--json", "--html", page)
    )
    assert [(one["camera"], one["label"]) for one in listed] == [("door", "car")] * 2
    assert page.read_text().count("data:image/jpeg") == 2
    clocks = [
        line[:22]
        for line in pvlr("search", "--memory", folder, "--since", "0001-01-01").splitlines()
    ]
    assert (len(clocks), clocks) == (4, sorted(clocks, reverse=True))
    times = [one["time"] for one in json.loads(pvlr("search", "--memory", folder, "--json"))]
    for offset in ("Z", "+00:00"):  # as events and --json have it
        late = times[1].replace("Z", offset)
        kept = json.loads(pvlr("search", "--memory", folder, "--since", late, "--json"))
        assert [one["time"] for one in kept] == times[:2]
    with pytest.raises(BadParameter, match="'yesterday' is no time such as"):
        pvlr("search", "--memory", folder, "--until", "yesterday")
    assert not pvlr("search", "--memory", folder, "--camera", "dor")
    assert "nothing found; recorded cameras: 'door', 'yard'" in capsys.readouterr().err
    with pytest.raises(errors.OptionError, match="got none"):
        pvlr("search", "car", "--memory", tmp_path)
    for wrong in (["car"], ["--like", "cat.jpg"], []):
        with pytest.raises(
            errors.OptionError, match="--delete: expected --camera, --label, --since or --until"
        ):
            pvlr(
                "search",
                *wrong,
                "--memory",
                folder,
                "--delete",
                *(["--camera", "door"] if wrong else []),
            )
    assert (
        pvlr("search", "--memory", folder, "--camera", "door", "--delete")
        == "2 events and frames deleted\n"
    )
    assert {row.camera for row in reader.rows()} == {"yard"}


@pytest.mark.slow
def test_replay_shows_the_difference(folder, tmp_path, capsys):
    (site := tmp_path / "new.yaml").write_text(
        "events: {smoothing: 0, min_duration: 1, min_gap: 1, labels: [car], thresholds: {car: 0.8}}"
    )
    lines = pvlr(
        "replay", "--memory", folder, "--config", site, "--html", tmp_path / "d.html"
    ).splitlines()
    assert [line.split()[0] for line in lines] == ["gone", "gone", "2"]
    assert (tmp_path / "d.html").read_text().count("data:image/jpeg") == 2
    assert (
        json.loads(pvlr("replay", "--memory", folder, "-c", site, "--against", site, "--json"))[
            "changes"
        ]
        == []
    )
    events = "smoothing: 0, min_duration: 1, min_gap: 1, labels: [car]"
    for limit in ("cooldown: 60", "max_per_hour: 1"):
        site.write_text(f"events: {{{events}, {limit}}}")
        found = json.loads(pvlr("replay", "--memory", folder, "-c", site, "--json"))["changes"]
        assert [(one["change"], one["peak"]) for one in found] == [("gone", 0.7)] * 2
    site.write_text(
        f"events: {{{events}, thresholds: {{cat: 0.5}}, when: {{car: {{present: [cat], within: 1}}}}}}"
    )
    found = json.loads(pvlr("replay", "--memory", folder, "-c", site, "--json"))["changes"]
    assert [(one["change"], one["peak"]) for one in found] == [("gone", 0.7)] * 2
    site.write_text(
        "cameras: {door: {uri: x.mp4, labels: [cat]}}\nevents: {min_duration: 0.3, smoothing: 0}"
    )
    found = json.loads(pvlr("replay", "--memory", folder, "-c", site, "--json"))["changes"]
    assert [(one["change"], one["camera"], one["label"]) for one in found if one["camera"] == "door"] == [
        ("gone", "door", "car"), ("new", "door", "cat"), ("gone", "door", "car"),
    ]  # fmt: skip
    square = "[[0, 0], [1, 0], [1, 1], [0, 1]]"
    site.write_text(
        f"cameras: {{door: {{uri: x.mp4, regions: {{left: {{polygon: {square}}}}}}}, new: y.mp4}}"
    )
    capsys.readouterr()
    pvlr("replay", "--memory", folder, "-c", site)
    notes = [line for line in capsys.readouterr().err.splitlines() if "no scores" in line]
    assert notes == ["pvlr: no scores were recorded of door:left, so that it has no events here"]
    with pytest.raises(errors.OptionError, match="got neither"):
        pvlr("replay", "-c", site)


def test_a_clip_that_cannot_be_replayed_leaves_nothing(plan, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (clip := tmp_path / "clip.mp4").write_bytes(b"no clip")
    (site := tmp_path / "site.yaml").write_text(f"plan: {plan}\n")
    with pytest.raises(errors.OutputError, match="expected the scores of all frames of a clip"):
        pvlr("replay", clip, "-c", site)
    assert list(tmp_path.glob("state/pvlr_sdk/replays/*")) == []


@pytest.mark.slow
@pytest.mark.skipif(not DATA, reason="needs the clips of PVLR_DATA")
def test_replay_of_a_clip_is_a_run_with_these_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    clip, jsonl = f"{DATA}/video/car-detection.mp4", tmp_path / "events.jsonl"
    site = (
        "threads: 1\nevents: {threshold: 0.3, min_duration: 0.2, smoothing: 1.5, min_gap: 8, labels: [car, person], "
        "cooldown: 1, max_per_hour: 3, when: {person: {present: [car], within: 2}}}\n"
    )
    (config := tmp_path / "site.yaml").write_text(site)
    (none := tmp_path / "none.yaml").write_text("events: {labels: []}")
    (full := tmp_path / "full.yaml").write_text(
        f"{site}stream: {{every_frame: true}}\ncameras: {{clip: {clip}}}\nsinks: [{{kind: jsonl, path: {jsonl}}}]\n"
    )
    pvlr("watch", "--config", full)
    expected = [json.loads(line) for line in jsonl.read_text().splitlines()]
    for state in ("computed", "kept", "damaged"):
        if state == "damaged":
            (kept,) = tmp_path.glob("state/pvlr_sdk/replays/*/memory.sqlite")
            kept.write_bytes(kept.read_bytes()[:20_000])
        found = json.loads(pvlr("replay", clip, "-c", config, "--against", none, "--json"))[
            "changes"
        ]
        keys = "label", "score", "peak", "duration", "reason"
        ours, run = (
            [[one[key] for key in keys] for one in of if one["event"] == "off"]
            for of in (found, expected)
        )
        assert (sorted(ours), len(ours) > 1) == (sorted(run), True)


def _moments(photos, names, space, results):
    context = Context(tuple(names), EventSettings(), (0.5,) * len(names), None, "plan", "bank", 0.4)
    for number, result in enumerate(results):
        yield Moment(
            Place("album", None),
            context,
            WALL + number,
            result.logits,
            result.features,
            space,
            PICTURE,
        )


@pytest.mark.slow
@pytest.mark.skipif(not DATA, reason="needs the photos of PVLR_DATA")
def test_search_finds_photos_by_words_labels_and_taught_labels(tmp_path):
    """Recall at 10 of 20 words on photos of VOC."""
    with open(f"{DATA}/voc2007/labels.csv") as file:
        rows = list(csv.DictReader(file))[
            :: max(1, 9963 // int(os.environ.get("PVLR_PHOTOS", "300")))
        ]
    store = Store(tmp_path, write=True)
    words = {
        "tvmonitor": "television",
        "pottedplant": "potted plant",
        "diningtable": "dining table",
    }
    with Tagger(num_threads=1, optimize="throughput") as tagger:
        results = list(
            tagger.predict_stream(f"{DATA}/voc2007/images/{row['file']}" for row in rows)
        )
        space, own, plan = tagger.info["features"], set(tagger.labels), tagger.info["sha256"]
        for moment in _moments(rows, tagger.labels, space, results):
            store.write(moment)
    names = [name for name in rows[0] if name not in ("file", "split", "path")]
    truth = {
        name: {WALL + number for number, row in enumerate(rows) if row[name] == "1"}
        for name in names
    }
    knowledge, spec = Knowledge.load(), load_bundle().manifest.open
    features = np.array([one.features for one in results], np.float64)
    hits = {"words": [], "taught": [], "labels": []}
    for name in names:
        bank = knowledge.bank([words.get(name, name)], force=True)
        queries = {"words": taught_function(bank, bank.names[0])}
        shown = np.array([WALL + number in truth[name] for number in range(len(rows))])
        half = np.arange(len(rows)) % 2 == 0  # taught on every second photo
        if shown[half].any():
            base = add_labels(load_bundle().labels.select(["person"]), ["x"], spec, words=False)
            targets = np.where(shown[half], 1, -1).astype(np.int8)[:, None]
            taught, _ = learn(
                base, ["x"], ["p"] * int(half.sum()), features[half], targets, plan=plan
            )
            queries["taught"] = taught_function(taught, "x")
        for kind, function in queries.items():
            found = find.by_features(store, space, function, ALL, 10)
            wanted = min(10, len(truth[name]))
            hits[kind].append(sum(row.time in truth[name] for row, _ in found) / max(1, wanted))
        if words.get(name, name) in own:
            found = find.by_label(store, words.get(name, name), ALL, 10)
            hits["labels"].append(
                sum(row.time in truth[name] for row, _ in found) / max(1, min(10, len(truth[name])))
            )
    means = {kind: float(np.mean(values)) for kind, values in hits.items()}
    print(len(rows), {kind: round(100 * value, 1) for kind, value in means.items()})
    assert means["words"] > 0.5
    assert means["taught"] > 0.6
    assert means["labels"] > 0.7


@pytest.mark.slow
def test_the_best_of_many_are_those_of_a_product_in_float64(tmp_path):
    random, count = np.random.default_rng(0), 20_000
    vectors = random.normal(0, 1, (count, 96)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    store = Store(tmp_path, write=True)
    for number, vector in enumerate(vectors):
        store.features.write("s", number + 1, vector)
    query = vectors[77].astype(np.float64)
    numbers, products = store.features.products("s", vectors[77])
    assert numbers.tolist() == list(range(1, count + 1))
    assert np.abs(products - vectors @ query).max() < 0.01
    found = set(numbers[np.argsort(-products)[:10]].tolist())
    assert len(found & set((np.argsort(-(vectors @ query))[:10] + 1).tolist())) >= 9
