"""Answers for events that look alike, and answers as examples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pvlr_sdk import errors
from pvlr_sdk.cameras.events import EventSettings
from pvlr_sdk.cameras.memory.examples import to_label
from pvlr_sdk.cameras.memory.moments import Moment
from pvlr_sdk.cameras.memory.precision import statement, to_review
from pvlr_sdk.cameras.memory.recording import Place
from pvlr_sdk.cameras.memory.search import alike
from pvlr_sdk.frames.bgr import load_bgr
from pvlr_sdk.labels import Photos
from pvlr_sdk.workshop.evaluation.labels_csv import read_labels, read_photos
from pvlr_sdk.workshop.export.results import read_results
from tests.pvlr_sdk.cameras.memory.conftest import PICTURE, WALL, pvlr


def direction(*values: float) -> np.ndarray:
    vector = np.float32([*values, *[0] * (16 - len(values))])
    return vector / np.linalg.norm(vector)


def ids(rows) -> list[str]:
    return [row.began.id for row in rows]


def test_what_looks_alike_has_no_answer_and_the_same_label(site):
    first = site.event(0.9, features=direction(1))
    # cosines of 0.981 and 0.995
    near = [site.event(0.8, features=direction(1, 0.1 * number)) for number in (2, 1)]
    site.event(0.8, features=direction(1, 0.4))  # 0.928
    cat = site.event(0.8, label="cat", features=direction(1))
    answered, plain = site.event(0.8, "no", features=direction(1)), site.event(0.7)
    rows = {row.began.id: row for row in site.store.rows("kind = 'event'")}
    assert ids(alike(site.store, rows[first])) == near[::-1]
    assert ids(alike(site.store, rows[first], limit=1)) == near[1:]
    assert alike(site.store, rows[plain]) == []
    site.answer(first, "yes", [*near, answered, cat, "no such event"])
    found = site.answers()
    assert found == {first: "yes", near[0]: "yes", near[1]: "yes", answered: "no"}
    assert alike(site.store, rows[first]) == []
    site.answer(near[0], "no")  # corrected
    site.answer(first, None)
    assert site.answers() == {near[0]: "no", answered: "no"}


def test_only_events_whose_answers_count_are_asked_for(site):
    site.event(0.9)
    site.event(0.9, camera="yard", settings=EventSettings(labels=["car"], on={"car": 0.7}))
    assert {row.camera for row in to_review(site.store)} == {"door", "yard"}
    assert {row.camera for row in to_review(site.store, camera="door")} == {"door"}
    newest = site.event(0.9, bank="another")
    assert [row.began.id for row in to_review(site.store)] == [newest]


@pytest.mark.slow
def test_answers_alike_prove_what_answers_one_by_one_prove(site):
    """A parked car is reported again and again, and is wrong each time: what repeats must keep its weight."""
    random = np.random.default_rng(0)
    groups = np.where(random.random(150) < 0.4, 0, 1 + random.integers(12, size=150)).tolist()
    vectors = np.eye(16, dtype=np.float32)
    events = {
        site.event(random.uniform(0.5, 1), features=vectors[group]): group for group in groups
    }
    for right in (range(1, 13), range(13)):
        truth = {event: "yes" if group in right else "no" for event, group in events.items()}
        drawn: list[str] = []
        while rows := to_review(site.store, "car", 1):
            drawn += ids(rows)
            site.answer(drawn[-1], truth[drawn[-1]], ids(alike(site.store, rows[0])))
        assert site.answers() == truth
        found = statement(site.store, "car", 0.8)
        for event in drawn:
            site.answer(event, None)
        assert site.store.answers() == {}
        for event in sorted(truth):
            if event <= drawn[-1]:
                site.answer(event, truth[event])
        assert found == statement(site.store, "car", 0.8)
        assert (found.answers > 2 * len(drawn), found.threshold is None) == (True, 0 not in right)
        for event in truth:
            site.answer(event, None)


@pytest.fixture
def answered(site):
    return {
        site.event(0.9, "yes"): "yes", site.event(0.8, "no"): "no", site.event(0.7, "unclear"): None,
        site.event(0.6): None, site.event(0.9, "yes", label="cup/small", names=("car", "cup/small")): "yes",
    }  # fmt: skip


def test_answers_are_examples_for_eval_train_and_teach(answered, tmp_path):
    out = tmp_path / "examples"
    pvlr("precision", "--memory", tmp_path / "m", "--export", out)
    known = [event for event, answer in answered.items() if answer]
    table = read_labels(out / "labels.csv")
    targets = {
        file.rpartition("/")[2]: row
        for file, row in zip(table.files, table.targets.tolist(), strict=True)
    }
    assert targets == dict(
        zip([f"{one}.jpg" for one in known], [[1, 0], [-1, 0], [0, 1]], strict=True)
    )
    assert [load_bgr(out / file).shape for file in table.files] == [(48, 64, 3)] * 3
    assert read_photos(out / "labels.csv", out, ["car"]).targets.tolist() == [[1], [-1], [0]]
    assert len(Photos.from_folders("car", out / "yes/car", tmp_path / "none").files) == 1
    assert list(read_results(out / "answers.jsonl").values()) == [
        {"car": 1.0},
        {},
        {"cup/small": 1.0},
    ]
    pvlr("export-labels", out / "answers.jsonl", "--format", "cvat", "--out", tmp_path / "cvat.xml")
    assert (tmp_path / "cvat.xml").read_text().count("<tag ") == 2
    assert sorted(one.name for one in tmp_path.iterdir()) == ["cvat.xml", "examples", "m"]


def test_yes_alone_does_not_make_the_rest_absent(site, tmp_path):
    site.event(0.9, "yes")
    site.event(0.9, "yes", label="cat")
    pvlr("precision", "--memory", tmp_path / "m", "--export", tmp_path / "out")
    assert read_labels(tmp_path / "out/labels.csv").targets.tolist() == [[1, 0], [0, 1]]
    pvlr("precision", "--memory", tmp_path / "m", "--label", "cat", "--export", tmp_path / "cat")
    assert (tmp_path / "cat/labels.csv").read_text().splitlines()[0] == "file,cat"


def test_an_export_is_complete_or_not_there(answered, tmp_path, monkeypatch):
    folder, out = tmp_path / "m", tmp_path / "out"
    out.mkdir()
    with pytest.raises(errors.OptionError, match=r"got .*out, which exists"):
        pvlr("precision", "--memory", folder, "--export", out)
    with pytest.raises(errors.OptionError, match="got no answers"):
        pvlr("precision", "--memory", folder, "--camera", "nowhere", "--export", tmp_path / "new")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.rename", full)
    with pytest.raises(errors.OutputError, match="No space left"):
        pvlr("precision", "--memory", folder, "--export", tmp_path / "new")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["m", "out"]


def moment(site, number: int, logits: tuple[float, float], features=None, **context) -> Moment:
    space = "" if features is None else "tiny"
    place, of = Place("door", None), replace(site.context, **context)
    return Moment(
        place, of, WALL + number, np.float32(logits), features, space, PICTURE, kind="new"
    )


def frame(site, *of, **context) -> int:
    site.store.write(moment(site, *of, **context))
    return site.store.rows()[-1].id


def test_sampled_frames_are_asked_for_by_what_they_teach(site, tmp_path):
    site.event(0.9)
    copies = [frame(site, 1, (4, -9), direction(1)), frame(site, 2, (3.5, -9), direction(1, 0.01))]
    doubt, cat = (
        frame(site, 3, (-9, 0.1), direction(0, 1)),
        frame(site, 4, (-9, 5), direction(0, 0, 1)),
    )
    plain = frame(site, 5, (-9, -8), direction(0, 0, 0, 1))
    frame(site, 0, (4, -9), direction(0, 0, 0, 0, 1), bank="another")
    assert to_label(site.store)[0][0].context.bank == "another"
    site.store.delete(since=WALL, until=WALL)  # the frame of the other bank
    asked = {row.id: label for row, label in to_label(site.store)}
    assert asked == {copies[1]: "car", doubt: "cat", cat: "cat", plain: "cat"}
    for number, answer in (
        (copies[1], "no"),
        (copies[1], "yes"),
        (doubt, "no"),
        (cat, "unclear"),
        (plain, "yes"),
    ):
        site.store.answer(number, answer, asked[number])
    site.store.answer(plain, None, "cat")
    assert {row.id for row, _ in to_label(site.store)} == {copies[0], plain}
    assert (site.store.answers(), statement(site.store, "car", 0.9).answers) == ({}, 0)
    pvlr("precision", "--memory", tmp_path / "m", "--export", tmp_path / "out")
    table = read_labels(tmp_path / "out/labels.csv")
    files = [f"yes/car/frame-{copies[1]}.jpg", f"no/cat/frame-{doubt}.jpg"]
    assert dict(zip(table.files, table.targets.tolist(), strict=True)) == dict(
        zip(files, [[1, 0], [0, -1]], strict=True)
    )
    site.store.delete(label="cat")
    frames = "SELECT id, label, answer FROM answers WHERE event IS NULL"
    assert list(site.store.query(frames)) == [(copies[1], "car", "yes")]
    site.store.delete(camera="door")
    assert list(site.store.query("SELECT * FROM answers")) == []


def test_frames_of_all_cameras_are_asked_for_and_no_health_pictures(site):
    door = [frame(site, number, (number, -9), direction(*[0] * number, 1)) for number in range(3)]
    yard = frame(
        site,
        9,
        (0, -9),
        direction(0, 0, 0, 1),
        settings=EventSettings(labels=["cat"], on={"cat": 0.7}),
    )
    frame(
        site,
        10,
        (0, -9),
        direction(0, 0, 0, 0, 1),
        settings=EventSettings(labels=[], deny=["car", "cat"]),
    )
    site.store.write(replace(moment(site, 11, (9, 9), direction(0, 0, 0, 0, 0, 1)), kind="health"))
    asked = {row.id: label for row, label in to_label(site.store)}
    assert asked.keys() == {*door, yard}
    assert asked[yard] == "cat"
    with pytest.raises(errors.OptionError, match="or a sampled frame"):
        site.store.answer(site.store.rows()[-1].id, "yes", "car")


@pytest.mark.parametrize(("number", "label"), [(99, "car"), (1, "car"), (2, "dog")])
def test_an_answer_needs_a_sampled_frame_and_a_label_of_it(site, number, label):
    site.event(0.9)
    assert frame(site, 1, (0, 0)) == 2
    with pytest.raises(errors.OptionError, match="or a sampled frame and a label"):
        site.store.answer(number, "yes", label)


def test_without_features_frames_are_likely_or_uncertain(site):
    wanted = [frame(site, number, (2 - number, -9)) for number in range(3)]
    assert [(row.id, label) for row, label in to_label(site.store, 2)] == [
        (wanted[2], "car"),
        (wanted[0], "cat"),
    ]
    assert to_label(site.store, 0) == []


def test_an_event_that_a_person_chose_counts_once_the_review_has_come_to_it(site):
    first, second, third = sorted(site.event(0.9) for _ in range(3))
    site.answer(second, "yes", drawn=False)
    assert statement(site.store, "car", 0.9).reviewed == 0
    assert [row.event for row in to_review(site.store)] == [first, third]
    site.answer(first, "yes")
    assert statement(site.store, "car", 0.9).reviewed == 1
    site.answer(third, "yes")
    assert statement(site.store, "car", 0.9).reviewed == 3
    site.answer(second, None, drawn=False)
    assert set(site.answers()) == {first, third}
