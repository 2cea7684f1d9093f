"""The shipped models in training: where a run starts, and the comparison with the bundled model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pvlr_sdk import Tagger
from pvlr_sdk.workshop.evaluation.evaluate import evaluate
from pvlr_sdk.workshop.evaluation.labels_csv import read_labels
from pvlr_training import shipped
from pvlr_training.shipped import compare, match, start

IMAGES = Path(__file__).parents[2] / "docs" / "images"


def test_a_run_starts_from_the_shipped_model_with_its_backbone(tmp_path: Path) -> None:
    backbone, init = start(None, "tf_efficientnet_lite2")
    assert (backbone, Path(init or "").name) == (
        "tf_efficientnet_lite2",
        shipped.default_plan().parent.name,
    )
    assert start(None, "tf_efficientnet_lite0") == ("tf_efficientnet_lite0", "pvlr-lite0-open")
    assert start(None, "resnet101.a1h_in1k") == ("resnet101.a1h_in1k", None)
    assert start("imagenet", "tf_efficientnet_lite2") == ("tf_efficientnet_lite2", None)


def test_the_source_chooses_the_backbone(tmp_path: Path) -> None:
    assert start("pvlr-lite0-open", "tf_efficientnet_lite2") == (
        "tf_efficientnet_lite0",
        "pvlr-lite0-open",
    )
    (tmp_path / "model.json").write_text(
        json.dumps({"config": {"model": {"backbone": "test_resnet"}}})
    )
    assert start(str(tmp_path), "tf_efficientnet_lite2") == ("test_resnet", str(tmp_path))


def test_labels_are_matched_by_letters_and_as_synonyms() -> None:
    known = ("person", "car", "couch", "potted plant", "airplane", "cat")
    assert match(("Car", "potted_plant", "person"), known) == {
        "person": "person",
        "Car": "car",
        "potted_plant": "potted plant",
    }
    # Synonyms match, and a label has one name: the one with the same letters.
    assert match(("sofa", "aeroplane", "hard hat"), known) == {
        "sofa": "couch",
        "aeroplane": "airplane",
    }
    assert match(("cats", "Cat"), known) == {"Cat": "cat"}
    assert match(("wine bottle", "armchair"), ("bottle", "chair")) == {}


@pytest.mark.slow
def test_the_bundled_model_is_measured_on_the_same_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = tmp_path / "labels.csv"
    rows = "astronaut.jpg,val,1,-1,1\nchelsea.jpg,val,-1,1,-1\ncoffee.jpg,val,-1,-1,-1\n"
    labels.write_text(f"file,split,person,true cat,helmet\n{rows}")
    with Tagger() as tagger:
        renames = {"true cat": "cat"}
        measured = evaluate(tagger, IMAGES, read_labels(labels, "val", tagger.labels, renames))
    own = {"person": 50.0, "true cat": 100.0, "helmet": 0.0}
    comparison = compare(type(measured)(**{**vars(measured), "per_class": own}), IMAGES, labels)
    assert comparison is not None
    assert comparison.known == {"person": "person", "true cat": "cat"}
    assert (comparison.labels, comparison.bundled, comparison.run) == (3, 100.0, 75.0)
    assert str(comparison) == (
        f"2 of 3 labels are in {comparison.model} (true cat as cat): "
        "there it has 100.0 mAP on the held-out images, this run 75.0"
    )
    kinds = tmp_path / "kinds.csv"
    kinds.write_text(labels.read_text().replace("person,true cat", "pedestrian,true cat"))
    own = {"pedestrian": 50.0, "true cat": 100.0, "helmet": 0.0}
    comparison = compare(type(measured)(**{**vars(measured), "per_class": own}), IMAGES, kinds)
    assert comparison is not None
    assert comparison.known == {"pedestrian": "person", "true cat": "cat"}
    alone = tmp_path / "alone.csv"
    alone.write_text(
        f"file,split,helmet\n{rows.replace(',1,-1,1', ',1').replace(',-1,1,-1', ',-1').replace(',-1,-1,-1', ',-1')}"
    )
    assert (
        compare(type(measured)(**{**vars(measured), "per_class": {"helmet": 0.0}}), IMAGES, alone)
        is None
    )
    monkeypatch.setattr(shipped, "_bundled", lambda: None)
    assert compare(measured, IMAGES, labels) is None
