"""The value of each part of PVLR for labels that were not trained: 60 labels of COCO are, the other 20 have words only.

    python -m benchmarks.accuracy.open.parts --json benchmarks/results/open-parts.json

For each part and each split, PVLR's head is trained on 60 labels and 40 % of the images with a frozen backbone, then
reads a bank of all 80. Nothing is fitted to testdev. Needs the train extra and $PVLR_DATA: half an hour per seed on two
cores, kept in runs/open, so that it can be interrupted.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from pvlr_sdk.evaluation.metrics import mean_average_precision
from pvlr_sdk.labels.words import encode_prompts
from pvlr_training.checkpoint import load_model
from pvlr_training.concepts import class_vectors, knowledge_of
from pvlr_training.config import load_config
from pvlr_training.data.augmentation import Views
from pvlr_training.folder import has_state
from pvlr_training.model.network import PVLR
from pvlr_training.reuse import start_from
from pvlr_training.train import train

from ...common import Json, conditions, run, save
from ..__main__ import console, decoded, test_logits, test_split
from ..data import Data, check_outputs
from ..rows import CONFIGS
from .data import read, recipe_data
from .splits import splits
from .tables import parts_table
from .words import SPEC, percent, prompts, word_scores

Floats = NDArray[np.float64]

CONFIG = CONFIGS / "coco80-alone.yaml"
RECIPE = ("train.finetune.epochs=0", "train.views=1", "train.head.epochs=8", "data.share=0.4")
PARTS: dict[str, tuple[str, ...]] = {
    "PVLR (the defaults)": (),
    "random label vectors": ("model.text.encoder=random",),
    "KAP: bare names": ("model.text.templates=['{}']",),
    "CAP off": ("model.cap.mode=none",),
    "IFM: KAP only": ("model.ifm=ka",),
    "DMA off": ("model.dma=none",),
    "labels left out of batches": ("train.label_dropout=0.3",),
    "IFM: CAP only": ("model.ifm=ca",),
    "IFM: added": ("model.ifm=add",),
}


def main(
    data: Data = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each part and split: seeds 0, 1, ...")] = 1,
    cache: Annotated[Path, typer.Option(help="Folder of the runs and of the features.")] = Path("runs/open"),
    out: Json = None,
) -> None:
    """Measure what KAP, CAP, IFM and DMA are worth for labels that were not trained."""
    check_outputs(out)
    folder, labels = recipe_data(data)
    photos, test = (read(folder, split, labels, cache) for split in ("train", "testdev"))
    knowledge = knowledge_of(photos.seen, class_vectors(), SPEC)
    words = word_scores(knowledge, labels, encode_prompts(prompts(labels, described=True)), test)

    def score(logits: Floats, of: NDArray[np.int64]) -> float:
        return percent(mean_average_precision(logits[:, of], test.targets[:, of]))

    parts: dict[str, dict[str, list[float]]] = {
        "words alone": {"unseen": [], "with words": [score(words, unseen) for unseen in splits(labels)], "seen": []}
    }
    for name, changes in PARTS.items():
        parts[name] = {column: [] for column in ("unseen", "with words", "seen")}
        for split, unseen in enumerate(splits(labels)):
            seen = np.setdiff1d(np.arange(len(labels)), unseen)
            for seed in range(seeds):
                run_folder = cache / "parts" / f"{list(PARTS).index(name)}-{split}-{seed}"
                logits = trained(changes, labels, seen, seed, run_folder, cache / "features")
                both = logits / logits.std(0) + words / words.std(0)
                parts[name]["unseen"].append(score(logits, unseen))
                parts[name]["with words"].append(score(both, unseen))
                parts[name]["seen"].append(score(logits, seen))
        save(out, {"seeds": seeds, "parts": parts, "conditions": conditions(None, "torch", "timm")})
    parts_table(parts).print(width=80)


def trained(
    changes: Sequence[str], labels: list[str], seen: NDArray[np.int64], seed: int, folder: Path, features: Path
) -> Floats:
    """The logits of testdev (n, C) for all ``labels``, of which those of the indices ``seen`` were trained."""
    names = [labels[index] for index in seen]
    own = (f"data.labels={names}", f"train.seed={seed}", f"train.features={features.resolve()}")
    of_all = load_config(CONFIG, RECIPE).data
    dataset = copy.copy(decoded(of_all.model_dump_json()))
    dataset.targets = dataset.targets[:, seen]
    begun = has_state(folder) or (folder / "model.safetensors").exists()
    train(CONFIG, [*RECIPE, *changes, *own], out=folder, resume=begun, console=console, dataset=dataset, summary=False)
    _, config, _ = load_model(folder)
    size = config.data.input
    model = PVLR(tuple(labels), size.height, size.width, config.model)
    start_from(folder, model)
    tested = test_split(of_all)
    return test_logits(model.eval(), decoded(tested.model_dump_json()), Views(tested, 0), features.parent, frozen=True)


if __name__ == "__main__":
    run(main)
