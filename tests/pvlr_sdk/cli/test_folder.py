"""``pvlr tag`` of a folder large enough for parallel inference: order, scores, and an invalid file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pvlr_sdk import Tagger
from pvlr_sdk.cli import app
from pvlr_sdk.cli.tag import _MANY


@pytest.fixture
def many(tmp_path: Path) -> list[Path]:
    cv2 = pytest.importorskip("cv2")
    random = np.random.default_rng(5)
    paths = [tmp_path / "many" / f"{number:03}.png" for number in range(_MANY + 7)]
    paths[0].parent.mkdir()
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), random.integers(0, 256, (16 + number, 40, 3), np.uint8))
    return paths


def test_lines_are_predicts_results_in_the_order_of_the_files(plan: Path, many: list[Path]) -> None:
    done = CliRunner().invoke(
        app, ["tag", str(many[0].parent), "--plan", str(plan), "--json", "--threshold", "0"]
    )
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["source"] for line in lines] == [str(path) for path in many]
    with Tagger(plan, threshold=0, optimize="throughput") as tagger:
        for path, line in zip(many, lines, strict=True):
            expected = [
                {"label": t.label, "score": t.score, "threshold": t.threshold}
                for t in tagger.predict(path)
            ]
            assert line["tags"] == expected


def test_a_bad_file_is_reported_and_the_others_stay_in_order(plan: Path, many: list[Path]) -> None:
    many[20].write_bytes(b"not an image")
    done = CliRunner().invoke(app, ["tag", str(many[0].parent), "--plan", str(plan), "--json"])
    assert done.exit_code == 2
    sources = [json.loads(line)["source"] for line in done.stdout.splitlines()]
    assert sources == [str(path) for path in many if path != many[20]]
    assert "ImageDecodeError" in done.stderr
    assert "020.png" in done.stderr


def test_fast_jpeg_is_passed_on(plan: Path, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    noise = np.random.default_rng(0).integers(0, 256, (600, 800, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "large.jpg"), noise)
    command = [
        "tag",
        str(tmp_path / "large.jpg"),
        "--plan",
        str(plan),
        "--json",
        "--threshold",
        "0",
    ]
    exact, fast = (
        json.loads(CliRunner().invoke(app, [*command, *more]).stdout)
        for more in ([], ["--fast-jpeg"])
    )
    assert exact["tags"] != fast["tags"]
    assert {tag["label"] for tag in exact["tags"]} == {tag["label"] for tag in fast["tags"]}


def test_no_file_ends_the_others(plan: Path, many: list[Path]) -> None:
    """A pipe, a device, and a file that claims 200 GB: each ended or filled the process once."""
    os.mkfifo(many[0].parent / "1.png")
    (many[0].parent / "2.png").symlink_to("/dev/zero")
    with open(many[0].parent / "3.png", "wb") as file:
        file.truncate(200 * 10**9)
    done = CliRunner().invoke(app, ["tag", str(many[0].parent), "--plan", str(plan), "--json"])
    assert done.exit_code == 2
    assert len(done.stdout.splitlines()) == len(many)
    assert [name for name in ("1.png", "2.png", "3.png") if name in done.stderr] == [
        "1.png",
        "2.png",
        "3.png",
    ]


@pytest.mark.slow
def test_isolated_decoding_changes_no_line(
    plan: Path, many: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cv2

    command = ["tag", str(many[0].parent), "--plan", str(plan), "--csv", "--threshold", "0"]
    expected = CliRunner().invoke(app, command).stdout
    monkeypatch.delattr(cv2, "imdecode")
    done = CliRunner().invoke(app, [*command, "--isolate", "--draw", str(tmp_path / "drawn")])
    assert done.exit_code == 0, done.output
    assert done.stdout == expected
    assert len(list((tmp_path / "drawn").iterdir())) == len(many)
