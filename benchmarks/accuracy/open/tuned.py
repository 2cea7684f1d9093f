"""Words and K photos with the recipe of pvlr-lite2-open's backbone, for labels that it was not trained on.

    python -m benchmarks.accuracy.open.tuned --json benchmarks/results/open-tuned.json

The 80 labels of COCO are divided into four splits. For each, the backbone is trained on the other 60 labels, without
the 1,500 photos that the labels are taught from. Nothing is fitted to testdev. Needs the train extra and $PVLR_DATA: an
hour on two cores, kept in runs/open, so that it can be interrupted.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
import yaml

from pvlr_sdk.evaluation.metrics import mean_average_precision
from pvlr_sdk.labels.words import encode_prompts
from pvlr_training.concepts import class_vectors, knowledge_of
from pvlr_training.config import load_config
from pvlr_training.folder import has_state
from pvlr_training.train import train

from ...common import Json, conditions, run, save
from ..__main__ import console
from ..data import FOLDERS, Data, check_outputs
from ..rows import CONFIGS
from .data import read, recipe_data
from .few import Known, few_photos, pool
from .splits import splits
from .tables import few_table
from .words import SPEC, percent, prompts, word_scores

CONFIG = CONFIGS / "pvlr-lite2-open-features.yaml"


def main(
    data: Data = None,
    seeds: Annotated[int, typer.Option(min=1, help="Draws of the photos of a label.")] = 3,
    cache: Annotated[Path, typer.Option(help="Folder of the runs and of the features.")] = Path("runs/open"),
    out: Json = None,
) -> None:
    """Measure labels from words and from a few photos, with a backbone trained on other labels."""
    check_outputs(out)
    folder, labels = recipe_data(data)
    classes, vectors = class_vectors(), encode_prompts(prompts(labels, described=True))
    networks, alone = [], []
    for number, unseen in enumerate(splits(labels, 4)):
        trained = cache / f"tuned-{number}"
        train_backbone(folder, labels, unseen.tolist(), trained)
        photos = [read(folder, split, labels, cache, trained) for split in ("train", "testdev")]
        knowledge = knowledge_of(photos[0].seen, classes, SPEC)
        words = [word_scores(knowledge, labels, vectors, of) for of in photos]
        networks.append(Known(unseen.tolist(), *photos, *words))
        alone.append(percent(mean_average_precision(words[1][:, unseen], photos[1].targets[:, unseen])))
    few = few_photos(networks, seeds)
    few_table(few).print(width=80)
    print(f"words alone, 20 unseen labels of each split: {alone}, mean {np.mean(alone):.2f}")
    save(out, {"seeds": seeds, "words": alone, "few": few, "conditions": conditions(None, "torch", "timm")})


def train_backbone(data: Path, labels: list[str], unseen: list[int], folder: Path) -> None:
    """Train, or go on training, the backbone on the labels that are not ``unseen``."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = [label for index, label in enumerate(labels) if index not in unseen]
    path = folder / "without-the-pool.csv"
    with (data / FOLDERS["coco"] / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    trained = [row for row in rows if row["split"] == "train"]
    for index in pool(len(trained)):
        trained[index]["split"] = "pool"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    config = load_config(CONFIG).model_dump(mode="json")
    renames = json.loads((CONFIGS / "voc_to_coco.json").read_text())
    (folder / "rename.json").write_text(json.dumps({voc: coco for voc, coco in renames.items() if coco in kept}))
    coco, voc = config["data"]["sources"]
    coco["labels"], voc["rename"], config["data"]["labels"] = "without-the-pool.csv", "rename.json", kept
    (folder / "recipe.yaml").write_text(yaml.safe_dump(config))
    begun = has_state(folder) or (folder / "model.safetensors").exists()
    train(folder / "recipe.yaml", [], out=folder, resume=begun, console=console, summary=False)


if __name__ == "__main__":
    run(main)
