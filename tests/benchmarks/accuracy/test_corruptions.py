"""mAP under corruptions: what is measured, and the means."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.accuracy import corruptions
from benchmarks.accuracy.data import data_folder, read_split
from benchmarks.common import SAMPLES
from pvlr_sdk import Tagger, errors
from pvlr_training.data.corruptions import CORRUPTIONS

LABELS = ["person", "cat", "cup"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder like $PVLR_DATA: the three sample images, as VOC."""
    images = tmp_path / "voc2007" / "images"
    images.mkdir(parents=True)
    rows = ["file,split,person,cat,tvmonitor"]
    for number, path in enumerate(SAMPLES):
        cv2.imwrite(str(images / f"{number}.jpg"), cv2.resize(cv2.imread(str(path)), (160, 120)))
        rows.append(f"{number}.jpg,testdev,{1 if number == 0 else -1},{1 if number == 1 else -1},-1")
    (images.parent / "labels.csv").write_text("\n".join(rows))
    return tmp_path


def test_a_case_is_the_same_for_a_seed_and_a_file(data: Path) -> None:
    folder = data / "voc2007/images"
    whole = list(corruptions.corrupted(folder, ["0.jpg", "1.jpg"], "noise 0.6", 0))
    alone = list(corruptions.corrupted(folder, ["1.jpg"], "noise 0.6", 0))
    other = list(corruptions.corrupted(folder, ["1.jpg"], "noise 0.6", 1))
    clean = list(corruptions.corrupted(folder, ["1.jpg"], "clean", 0))
    assert np.array_equal(whole[1], alone[0])
    assert not np.array_equal(alone[0], other[0])
    assert np.array_equal(clean[0], cv2.imread(str(folder / "1.jpg")))
    (folder / "same.jpg").write_bytes((folder / "1.jpg").read_bytes())
    twice = list(corruptions.corrupted(folder, ["1.jpg", "same.jpg"], "noise 0.6", 0))
    assert not np.array_equal(*twice)  # no image has the noise of another
    weak = next(corruptions.corrupted(folder, ["1.jpg"], "noise 0.3", 0))
    errors_of = [np.abs(image.astype(int) - clean[0]).mean() for image in (weak, alone[0])]
    assert 0 < errors_of[0] < errors_of[1]


def test_every_corruption_is_measured_at_every_strength() -> None:
    cases = corruptions.cases()
    assert len(cases) == 1 + 12 * 3
    assert {name for name, _ in cases.values()} == {"", *CORRUPTIONS}


def test_the_mean_drop_is_relative_to_clean_images() -> None:
    scores = {case: 90 - 10 * strength for case, (_, strength) in corruptions.cases().items()}
    assert corruptions.drops(scores)["mean_drop"] == {"0.3": 3.0, "0.6": 6.0, "0.9": 9.0}


def test_labels_are_mapped_and_the_share_is_spread(data: Path) -> None:
    table = read_split(data, "voc", "testdev", ["person", "tv", "cup"])[1]
    assert table.missing == ["cup"]
    table = read_split(data, "voc", "testdev", ["tvmonitor"], 0.67)[1]
    assert table.files == ["0.jpg", "1.jpg"]
    assert table.targets.tolist() == [[-1], [-1]]


def test_invalid_options_are_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PVLR_DATA", raising=False)
    with pytest.raises(errors.OptionError, match="--data"):
        data_folder(None)
    with pytest.raises(errors.OptionError, match="no such folder"):
        corruptions.main(data=data, out=data / "none" / "out.json")
    with pytest.raises(errors.OptionError, match="--dataset: expected voc or coco"):
        read_split(data, "imagenet", "testdev", LABELS)
    for share in (0.0, 1.5, float("nan")):
        with pytest.raises(errors.OptionError, match="--share"):
            read_split(data, "voc", "testdev", LABELS, share)
    with pytest.raises(errors.LabelsFileError):
        read_split(data, "coco", "testdev", LABELS)
    (data / "voc2007/images/1.jpg").write_bytes(b"no image")
    with pytest.raises(errors.ImageDecodeError, match=r"1\.jpg"):
        list(corruptions.corrupted(data / "voc2007/images", ["0.jpg", "1.jpg"], "clean", 0))
    with Tagger(num_threads=1) as tagger, pytest.raises(errors.OptionError, match="--share"):
        corruptions.measure(tagger, iter(()), np.zeros((2, 80), np.int8))


@pytest.mark.slow
def test_corruptions_end_to_end(run: Callable[..., str], data: Path) -> None:
    out = data / "out.json"
    printed = run("benchmarks.accuracy.corruptions", "--data", data, "--threads", "1", "--json", out)
    assert max(map(len, printed.splitlines())) <= 80
    assert "mean drop" in printed
    found = json.loads(out.read_text())
    assert len(found["scores"]) == 37
    assert found["scores"]["clean"] == 100
    assert found["mean_drop"]["0.9"] >= 0
