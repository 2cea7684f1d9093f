"""Events on clips: the truth files, and what counts as true and false."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import common
from benchmarks.accuracy.clips.__main__ import detect, judge, main, tag_file
from benchmarks.accuracy.clips.score import ClipScore, score
from benchmarks.accuracy.clips.truth import FOLDER, Interval, Truth, read_truth
from pvlr_sdk import Tagger, errors
from pvlr_sdk.cameras.events import Event, EventDetector


def event(label: str, start: float, end: float) -> Event:
    return Event("off", "", "clip", label, end, 0.5, 0.9, start, start, end, "score")


def verdicts(events: list[Event], truth: Truth) -> list[str]:
    return [row["verdict"] for row in score(events, truth, 60)[1]]


CARS = Truth("", {"car": [Interval(4, 8), Interval(14, 19)]}, {"person": [Interval(2, 5)]})


def test_an_event_late_and_lagging_is_true() -> None:
    assert verdicts([event("car", 6, 8.9), event("car", 15, 20)], CARS) == ["true", "true"]


def test_an_event_that_never_ends_is_false() -> None:
    assert verdicts([event("car", 0, 60)], CARS) == ["false"]
    assert score([event("car", 0, 60)], CARS, 60)[0].found == 0


def test_a_second_event_in_one_interval_is_repeated_and_false() -> None:
    events = [event("car", 14, 15), event("car", 16, 19)]
    assert verdicts(events, CARS) == ["repeated", "true"]  # the longer one finds the interval
    measured = score(events, CARS, 60)[0]
    assert (measured.found, measured.false, measured.repeated, measured.never) == (
        1,
        ("car",),
        1,
        (),
    )


def test_optional_intervals_count_neither_way() -> None:
    truth = Truth("", {}, CARS.optional)
    measured, rows = score([event("person", 3, 5.5), event("person", 8, 9)], truth, 60)
    assert [row["verdict"] for row in rows] == ["optional", "false"]
    assert measured.never == ()  # a person is visible at some time


def test_the_rates_of_all_clips_are_those_of_their_sums() -> None:
    parts = [
        ClipScore(1800, 3, 1, ("cat", "cat"), 1, ("cat", "cat")),
        ClipScore(1800, 1, 1, (), 0, ()),
    ]
    total = ClipScore.total(parts).to_dict()
    assert total["precision"] == 50
    assert total["recall"] == 50
    assert total["false_per_hour"] == 2
    assert total["false_labels"] == {"cat": 2}
    assert ClipScore(10, 0, 0, (), 0, ()).to_dict()["precision"] is None


def test_the_truth_files_are_valid() -> None:
    assert [path.stem for path in sorted(FOLDER.glob("*.yaml"))] == [
        "bottle-detection",
        "car-detection",
    ]
    for path in FOLDER.glob("*.yaml"):
        assert read_truth(path).file == f"video/{path.stem}.mp4"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("present: {}", "file"),
        ("file: a.mp4\nlabels: {}", "labels"),
        ("file: a.mp4\npresent: [car]", "present"),
        ("file: a.mp4\npresent: {car: [[4, 2]]}", "car"),
        ("file: a.mp4\npresent: {car: [[1, 3], [2, 5]]}", "car"),
        ("file: a.mp4\npresent: {car: [[-1, 3]]}", "car"),
        ("file: a.mp4\noptional: {car: [[1, x]]}", "car"),
        ("file: a.mp4\npresent: {car: 4-8}", "car"),
        ("file: a.mp4\npresent: {car: [[.nan, 3]]}", "car"),
    ],
)
def test_an_invalid_truth_file_is_refused(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "clip.yaml"
    path.write_text(text)
    with pytest.raises(errors.ConfigError) as caught:
        read_truth(path)
    assert named in caught.value.argument.partition("clip.yaml")[2] or named in caught.value.got


def test_detect_uses_the_time_of_the_clip() -> None:
    limits = {"thresholds": np.array([0.5])}
    results = [
        SimpleNamespace(scores=np.array([0.9 if 20 <= t < 60 else 0.0]), **limits)
        for t in range(100)
    ]
    events, seconds = detect(
        EventDetector("clip", ["car"], [0.5]), ((t / 10, one) for t, one in enumerate(results))
    )
    assert [one.state for one in events] == ["on", "off"]
    assert seconds == pytest.approx(9.9)
    assert 2 <= events[1].start < 3
    assert events[1].end is not None
    assert 6 <= events[1].end < 7


def test_a_video_that_is_missing_or_too_short_is_refused(tmp_path: Path) -> None:
    with Tagger(num_threads=1) as tagger:
        with pytest.raises(errors.SourceOpenError, match=r"none\.mp4"):
            list(tag_file(tagger, tmp_path / "none.mp4"))
        few = [
            (number / 10, tagger.predict(np.zeros((48, 64, 3), np.uint8))) for number in range(5)
        ]
        truth = Truth("", {"car": [Interval(0, 30)]})
        with pytest.raises(errors.OptionError, match=r"a clip of 30 s.*got 0\.4 s"):
            judge(tagger, "clip", few, truth)


def test_bad_options_are_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["clips", "--data", "/none"])
    with pytest.raises(SystemExit) as caught:
        common.run(main)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(
        "error: --data: expected a folder with video/, got '/none'."
    )


@pytest.mark.slow
@pytest.mark.skipif("PVLR_DATA" not in os.environ, reason="PVLR_DATA is not set: no clips")
def test_clips_end_to_end(run: Callable[..., str], tmp_path: Path) -> None:
    out = tmp_path / "clips.json"
    printed = run("benchmarks.accuracy.clips", "--plan", "pvlr-lite0-open", "--json", out)
    assert max(map(len, printed.splitlines())) <= 80
    data = json.loads(out.read_text())
    assert set(data["clips"]) == {"bottle-detection", "car-detection"}
    assert data["clips"]["bottle-detection"]["recall"] == 100
    assert data["clips"]["car-detection"]["intervals"] == 3
    assert len(data["model"]["sha256"]) == 64
