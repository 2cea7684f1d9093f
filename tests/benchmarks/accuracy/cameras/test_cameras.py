"""Runs of the benchmark of labelled footage from the command line."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import common
from benchmarks.accuracy.cameras.__main__ import main, make_settings
from benchmarks.common import SAMPLES
from pvlr_sdk import errors

MODULE = "benchmarks.accuracy.cameras"
CLIPS = common.ROOT / "benchmarks/accuracy/cameras/clips"
CAT = next(path for path in SAMPLES if path.stem == "chelsea")
DATA = Path(os.environ.get("PVLR_DATA", "/none"))


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    """A wall with a cat in front of it from second 2 to 5, and the wall alone with the same labels."""
    wall = cv2.imread(str(CAT))
    wall = np.full_like(wall, wall.mean((0, 1)))
    for name in ("cat", "plain wall"):
        folder = tmp_path / "footage" / name
        folder.mkdir(parents=True)
        cv2.imwrite(str(folder / "wall.png"), wall)
        rows = []
        for number in range(40):
            seen = 2 <= number / 5 <= 5
            file = f"{number:03}{'.jpg' if seen and name == 'cat' else '.png'}"
            shutil.copy(CAT if file.endswith("jpg") else folder / "wall.png", folder / file)
            rows.append([file, 100 + number / 5, int(seen), 0])
        with (folder / "labels.csv").open("w", newline="") as file_:
            csv.writer(file_).writerows([["file", "time", "cat", "dog"], *rows])
    (tmp_path / "footage/sequences.csv").write_text(
        "sequence,light,view\ncat,day,low\nplain wall,,low\n"
    )
    return tmp_path / "footage"


def measure(run: Callable[..., str], out: Path, *arguments: str | Path) -> dict[str, Any]:
    printed = run(MODULE, *arguments, "--json", out)
    assert max(map(len, printed.splitlines())) <= 80
    report: dict[str, Any] = json.loads(out.read_text())
    return report


def test_events_and_tags_of_a_site(run: Callable[..., str], footage: Path, tmp_path: Path) -> None:
    report = measure(run, tmp_path / "first.json", footage)
    cat, wall = (report["sequences"][name] for name in ("cat", "plain wall"))
    assert (cat["frames"], cat["seconds"]) == (40, 7.8)
    assert (cat["found"], cat["appearances"]) == (1, 1)
    assert cat["recall"] == 100
    assert cat["precision"] == 100
    assert wall["recall"] == 0
    assert [item["label"] for item in wall["missed"]] == ["cat"]
    assert (wall["missed"][0]["start"], wall["missed"][0]["end"]) == (2, 5)
    assert report["light"].keys() == {"day"}
    assert report["view"]["low"]["frames"] == report["all"]["frames"] == 80
    assert report["operating_point"] == "precise"

    again = measure(run, tmp_path / "second.json", footage)
    assert again["sequences"] == report["sequences"]


def test_labels_tiles_and_a_site_file(
    run: Callable[..., str], footage: Path, tmp_path: Path
) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(
        "events: {min_duration: 60}\ncameras: {other: 0}\nsinks: [{kind: jsonl, path: a}]"
    )
    options = ("--label", "cat", "--tiles", "2x1", "--config", site, "--operating-point", "f1")
    report = measure(run, tmp_path / "a.json", footage, *options)
    assert report["all"]["by_label"].keys() == {"cat"}
    assert report["all"]["found"] == 0  # no event can begin
    assert report["sequences"]["cat"]["recall"] > 0
    assert report["events"] == {"labels": ["cat"], "min_duration": 60}
    assert (report["tiles"], report["operating_point"]) == ("2x1", "f1")
    assert not (tmp_path / "a").exists()


def test_the_settings_are_those_of_watch() -> None:
    settings = make_settings(None)
    assert settings.operating_point == "precise"
    assert settings.stream.every_frame
    assert settings.events == type(settings.events)()
    with pytest.raises(errors.ConfigError, match="operating_point"):
        make_settings(None, operating_point="precice")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{}", "--tiles", "9x9"], "tiles: expected"),
        (["{}", "--label", "unicorn"], "unicorn"),
        (["{}", "--json", "/none/a.json"], "/none/a.json: expected a file in a folder that exists"),
    ],
)
def test_bad_options_are_one_message(
    arguments: list[str],
    message: str,
    footage: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["cameras", *(text.format(footage) for text in arguments)])
    with pytest.raises(SystemExit) as caught:
        common.run(main)
    assert caught.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert message in printed


def test_a_damaged_frame_and_an_unknown_column_are_one_message(
    footage: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (footage / "cat/007.png").write_bytes(b"not an image")
    monkeypatch.setattr("sys.argv", ["cameras", str(footage)])
    with pytest.raises(SystemExit):
        common.run(main)
    printed = capsys.readouterr().err
    assert (
        "cat/labels.csv: expected 40 frames, one per row, got 1 that cannot be decoded" in printed
    )
    table = footage / "cat/labels.csv"
    table.write_text(table.read_text().replace("cat,dog", "cat,dgo"))
    with pytest.raises(SystemExit):
        common.run(main)
    assert "Did you mean 'dog'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(
    not (DATA / "sequences").is_dir(), reason="PVLR_DATA has no sequences: no footage of cameras"
)
def test_ten_sequences(run: Callable[..., str], tmp_path: Path) -> None:
    report = measure(run, tmp_path / "a.json", DATA / "sequences")
    assert len(report["sequences"]) == 10
    assert report["all"]["appearances"] == 26
    assert report["all"]["found"] >= 20
    assert report["all"]["false_events"] <= 6
    assert set(report["light"]) == {"day", "indoor", "night IR", "rain"}


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "video").is_dir(), reason="PVLR_DATA has no video: no clips")
def test_clips(run: Callable[..., str], tmp_path: Path) -> None:
    report = measure(run, tmp_path / "a.json", CLIPS, "--plan", "pvlr-lite0-open")
    bottle, car = (report["sequences"][f"{name}-detection"] for name in ("bottle", "car"))
    assert bottle["found"] == bottle["appearances"] == 1
    assert car["appearances"] == 3
    assert len(report["model"]["sha256"]) == 64
