"""Open labels on COCO: words alone, unseen labels beside trained ones, and K photos of a label, each with its rivals.

    python -m benchmarks.accuracy.open --json benchmarks/results/open.json

The network is frozen: an EfficientNet-Lite2 with its ImageNet classifier, which has seen no photo of COCO's labels.
Nothing is fitted to testdev. The features of the photos are computed once (minutes) and kept in runs/open. Needs the
train extra and $PVLR_DATA.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pvlr_sdk.evaluation.labels_csv import read_columns
from pvlr_sdk.words.bank import encode_prompts
from pvlr_training.concepts import class_vectors, knowledge_of

from ...common import Json, Table, conditions, run, save
from ..data import FOLDERS, Data, check_outputs, data_folder
from .data import BACKBONE, INPUT, read
from .few import COUNTS, few_photos
from .splits import calibration_of_all, seen_and_unseen
from .words import SPEC, prompts, word_scores, words_alone


def main(
    data: Data = None,
    seeds: Annotated[int, typer.Option(min=1, help="Draws of the photos of a label.")] = 3,
    cache: Annotated[Path, typer.Option(help="Folder of the features.")] = Path("runs/open"),
    out: Json = None,
) -> None:
    """Measure labels from words and from a few photos."""
    check_outputs(out)
    folder = data_folder(data)
    labels = [name for name in read_columns(folder / FOLDERS["coco"] / "labels.csv") if name != "person_biased"]
    train, test = (read(folder, split, labels, cache) for split in ("train", "testdev"))
    knowledge = knowledge_of(train.seen, class_vectors(), SPEC)
    result: dict[str, Any] = {
        "model": {"backbone": BACKBONE, "input": [INPUT.width, INPUT.height]},
        "photos": {"train": len(train.targets), "testdev": len(test.targets)},
        "words": words_alone(train, test, labels),
        "splits": seen_and_unseen(train, test, labels, knowledge),
        "calibration": vars(calibration_of_all(train, labels, knowledge)),
    }
    words_table(result["words"]).print(width=80)
    splits_table(result["splits"]).print(width=80)
    trust_table(result["splits"]).print(width=80)
    print("calibration of all labels:", result["calibration"])
    vectors = encode_prompts(prompts(labels, described=True))
    scores = (word_scores(knowledge, labels, vectors, photos) for photos in (train, test))
    result["few"] = few_photos(train, test, *scores, seeds)
    result["seeds"] = seeds
    few_table(result["few"]).print(width=80)
    save(out, {**result, "conditions": conditions(None, "torch", "timm")})


def words_table(words: dict[str, float]) -> Table:
    """Words alone, in the order of the rows."""
    rows = [[name, f"{value:.1f}"] for name, value in words.items()]
    return Table("Words alone: mAP on COCO testdev, 80 labels", ["", "mAP"], rows)


def splits_table(splits: dict[str, Any]) -> Table:
    """The unseen labels of each split, and their mean."""
    rows = [
        [name, *(f"{value:.1f}" for value in [*values, sum(values) / len(values)])]
        for name, values in splits["unseen"].items()
    ]
    columns = ["", *(f"Split {number}" for number in range(1, 4)), "Mean"]
    return Table("20 unseen labels beside 60 trained ones: mAP on COCO testdev", columns, rows)


def trust_table(splits: dict[str, Any]) -> Table:
    """What scores of unseen labels are worth with the calibration of the others."""
    rows = [[name, *(f"{of[name]:.1f}" for of in splits["trust"])] for name in splits["trust"][0]]
    columns = ["in percent", *(f"Split {number}" for number in range(1, 4))]
    return Table("Scores of 20 unseen labels, calibrated on 60 others", columns, rows)


def few_table(few: dict[str, dict[str, float]]) -> Table:
    """K photos of a label by way of learning."""
    counts = ["0", *map(str, COUNTS)]
    rows = [
        [name, *(f"{of[count]:.1f}" if count in of else "-" for count in counts)]
        for name, of in few.items()
        if name != "labels"
    ]
    title = f"K photos of a label and 100 others: mAP on COCO testdev, {few['labels']['count']} labels"
    return Table(title, ["K", *counts], rows)


if __name__ == "__main__":
    run(main)
