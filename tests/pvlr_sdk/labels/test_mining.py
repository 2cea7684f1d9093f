"""Which photos ``pvlr mine`` selects."""

from __future__ import annotations

import csv
import json

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from pvlr_sdk import Tagger, errors
from pvlr_sdk.cli import app
from pvlr_sdk.labels.mining import ALIKE, select
from pvlr_sdk.workshop.export.results import read_results
from tests.pvlr_sdk.labels import tiny_open


def units(random: np.random.Generator, count: int) -> np.ndarray:
    vectors = random.normal(size=(count, 32)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def reasons(found) -> dict[str, list[int]]:
    return {
        reason: [row for row, (_, why) in found.items() if why == reason]
        for _, reason in found.values()
    }


def test_a_third_is_likely_a_third_uncertain_and_a_third_different():
    random = np.random.default_rng(0)
    margins, features = random.normal(-3, 2, (200, 1)).astype(np.float32), units(random, 200)
    found = reasons(select(margins, features, 30))
    order = margins[:, 0].argsort()[::-1].tolist()
    assert found["likely"] == order[:10]
    left = [row for row in np.abs(margins[:, 0]).argsort().tolist() if row not in found["likely"]]
    assert found["uncertain"] == left[:10]
    chosen = [*found["likely"], *found["uncertain"]]
    for row in found["different"]:
        nearest = (features @ features[chosen].T).max(1)
        assert row == nearest.argmin()
        chosen.append(row)
    assert len(set(chosen)) == 30


def test_labels_take_turns():
    margins = np.random.default_rng(0).normal(size=(90, 3)).astype(np.float32)
    found = select(margins, None, 30)
    assert len(found) == 30
    chosen = [(label, float(margins[row, label])) for row, (label, _) in found.items()][:9]
    for turn in (chosen[:3], chosen[3:6], chosen[6:]):
        assert sorted(label for label, _ in turn) == [0, 1, 2]
        # so that few photos are of the labels that are there
        assert turn == sorted(turn, key=lambda pair: -pair[1])
    assert {reason: len(rows) for reason, rows in reasons(found).items()} == {
        "likely": 10,
        "uncertain": 20,
    }


def test_photos_that_another_plan_tags_otherwise_come_first_among_the_uncertain():
    random = np.random.default_rng(0)
    margins, features = random.normal(-1, 2, (200, 2)).astype(np.float32), units(random, 200)
    other = margins.copy()
    other[40:60, 1] = np.where(margins[40:60, 1] >= 0, -1, 1) - np.arange(20) * np.sign(
        margins[40:60, 1]
    )
    other[50] = np.nan
    found = select(margins, features, 30, other)
    rows = reasons(found)
    assert {reason: len(of) for reason, of in rows.items()} == {
        "likely": 10,
        "disputed": 10,
        "different": 10,
    }
    left = [row for row in range(59, 40, -1) if row != 50 and row not in rows["likely"]]
    assert {*rows["disputed"]} <= {*left}
    differences = [abs(float(margins[row, 1] - other[row, 1])) for row in rows["disputed"]]
    assert differences == sorted(differences, reverse=True)
    assert {found[row][0] for row in rows["disputed"]} == {1}
    one = np.where(np.arange(200)[:, None] == rows["disputed"][0], other, margins)
    counts = {reason: len(of) for reason, of in reasons(select(margins, features, 30, one)).items()}
    assert counts == {"likely": 10, "disputed": 1, "uncertain": 9, "different": 10}


def test_thirds_are_of_the_photos_that_there_are():
    random = np.random.default_rng(0)
    found = reasons(select(random.normal(size=(12, 1)).astype(np.float32), units(random, 12), 300))
    assert {reason: len(rows) for reason, rows in found.items()} == {
        "likely": 4,
        "uncertain": 4,
        "different": 4,
    }


def test_what_looks_like_a_selected_photo_is_left_out():
    random = np.random.default_rng(0)
    features = np.repeat(units(random, 20), 3, 0) + random.normal(0, 0.01, (60, 32)).astype(
        np.float32
    )
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    found = [*select(random.normal(size=(60, 1)).astype(np.float32), features, 60)]
    assert sorted(row // 3 for row in found) == [*range(20)]
    assert (features[found] @ features[found].T - 2 * np.eye(20)).max() < ALIKE


@pytest.mark.parametrize("features", [None, np.zeros((0, 8), np.float32)])
def test_no_photos(features):
    assert select(np.zeros((0, 2), np.float32), features, 3) == {}


@pytest.mark.slow
def test_the_command(open_plan, taught, tmp_path):
    for number in range(12):
        tiny_open.draw(
            tmp_path / f"photos/{number}.png", *(("red",), ("green",), ("red", "blue"))[number % 3]
        )
    for number in range(3):  # copies
        tiny_open.draw(tmp_path / "photos/0.png", "red")
        (tmp_path / f"photos/copy{number}.png").write_bytes(
            (tmp_path / "photos/0.png").read_bytes()
        )
    (tmp_path / "photos/clip.mp4").write_bytes(b"no photo")

    def mine(*arguments):
        call = ["mine", str(tmp_path / "photos"), "--plan", str(open_plan), *arguments]
        return CliRunner().invoke(app, call, catch_exceptions=False, standalone_mode=False)

    header, *rows = csv.reader(mine("--label", "cat", "-n", "6").stdout.splitlines())
    assert header == ["file", "label", "score", "reason"]
    assert {row[1] for row in rows} == {"cat"}
    with Tagger(open_plan, num_threads=1) as tagger:
        scores = {
            str(path): tagger.predict(path).scores for path in (tmp_path / "photos").glob("*.png")
        }
        at = tagger.labels.index("cat")
        names = tagger.labels
    for file, _, score, _ in rows:
        assert float(score) == pytest.approx(scores[file][at], abs=2e-2)
    best = max(score[at] for score in scores.values())
    assert float(rows[0][2]) == pytest.approx(best, abs=2e-2)
    assert [row[3] for row in rows[:2]] == ["likely", "likely"]
    everything = [json.loads(line) for line in mine("--json").stdout.splitlines()]
    files = [one["source"] for one in everything]
    assert sum("copy" in file or file.endswith("/0.png") for file in files) <= 1
    assert {one["label"] for one in everything} <= set(names)
    (tmp_path / "mined.jsonl").write_text("\n".join(map(json.dumps, everything)))
    assert [*read_results(tmp_path / "mined.jsonl")] == files
    assert "disputed" not in mine("--against", str(open_plan)).stdout
    with pytest.raises(errors.UnknownLabelError, match="dragon"):
        mine("--label", "dragon")
    taught.bank.save(tmp_path / "bank.safetensors")
    with pytest.raises(errors.UnknownLabelError, match=r"plan with the label '.*pvlr build --bank"):
        mine("--bank", str(tmp_path / "bank.safetensors"), "--against", str(open_plan))
    (tmp_path / "photos/broken.jpg").write_bytes(b"no photo")
    done = mine("--json")
    assert done.exit_code or done.return_value == 2
    assert [json.loads(line)["source"] for line in done.stdout.splitlines()] == files


def test_a_closed_plan_has_likely_and_uncertain_photos(plan, tmp_path):
    random = np.random.default_rng(0)
    for number in range(9):
        cv2.imwrite(
            str(tmp_path / f"{number}.png"), random.integers(0, 255, (40, 50, 3)).astype(np.uint8)
        )
    call = ["mine", str(tmp_path), "--plan", str(plan), "--count", "6", "--json"]
    lines = (
        CliRunner()
        .invoke(app, call, catch_exceptions=False, standalone_mode=False)
        .stdout.splitlines()
    )
    assert [json.loads(line)["reason"] for line in lines] == ["likely"] * 2 + ["uncertain"] * 4
