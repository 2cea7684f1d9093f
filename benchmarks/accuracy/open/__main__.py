"""Open labels on COCO: words alone, unseen labels next to trained ones, and K photos of a label, each with its rivals.

    python -m benchmarks.accuracy.open --json benchmarks/results/open.json

The network is frozen: an EfficientNet-Lite2 with its ImageNet classifier, which has seen no photo of COCO's labels.
Nothing is fitted to testdev. The features of the photos are computed once (minutes) and kept in runs/open. Needs the
train extra and $PVLR_DATA.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pvlr_sdk.labels.words import encode_prompts
from pvlr_training.concepts import class_vectors, knowledge_of

from ...common import Json, conditions, run, save
from ..data import Data, check_outputs, data_folder
from .data import BACKBONE, INPUT, labels_of, read
from .few import Known, few_photos
from .splits import calibration_of_all, seen_and_unseen
from .tables import few_table, splits_table, trust_table, words_table
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
    labels = labels_of(folder)
    train, test = (read(folder, split, labels, cache) for split in ("train", "testdev"))
    knowledge = knowledge_of(train.seen, class_vectors(), SPEC)
    result: dict[str, Any] = {
        "model": {"backbone": BACKBONE, "input": [INPUT.width, INPUT.height]},
        "photos": {"train": len(train.targets), "testdev": len(test.targets)},
        "seeds": seeds,
        "words": words_alone(train, test, labels, knowledge),
    }
    words_table(result["words"]).print(width=80)
    result["splits"] = seen_and_unseen(train, test, labels, knowledge)
    result["calibration"] = vars(calibration_of_all(train, labels, knowledge))
    splits_table(result["splits"]).print(width=80)
    trust_table(result["splits"]).print(width=80)
    print("calibration of all labels:", result["calibration"])
    vectors = encode_prompts(prompts(labels, described=True))
    scores = (word_scores(knowledge, labels, vectors, photos) for photos in (train, test))
    result["few"] = few_photos([Known(range(len(labels)), train, test, *scores)], seeds)
    few_table(result["few"]).print(width=80)
    save(out, {**result, "conditions": conditions(None, "torch", "timm")})


if __name__ == "__main__":
    run(main)
