"""COCO as a frozen network sees it: its features, what its ImageNet classifier says, and the labels."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from pvlr_sdk.bundle.manifest import InputSpec
from pvlr_sdk.evaluation.labels_csv import read_columns
from pvlr_training.checkpoint import load_model
from pvlr_training.concepts import Seen, look
from pvlr_training.data.augmentation import Views
from pvlr_training.data.config import DataConfig
from pvlr_training.data.images import ImageDataset
from pvlr_training.deploy import DeployedPVLR
from pvlr_training.model.backbone import Backbone

from ..data import FOLDERS, data_folder, read_split

BACKBONE = "tf_efficientnet_lite2"
INPUT = InputSpec(width=288, height=288, mean=(127, 127, 127), std=(128, 128, 128))


@dataclass(frozen=True)
class Photos:
    """Photos of a split of COCO.

    Attributes:
        seen: their features and evidence.
        targets: (n, C), 1 present, -1 absent.
    """

    seen: Seen
    targets: NDArray[np.int8]


def labels_of(data: Path) -> list[str]:
    """The 80 labels of COCO, in the order of its label file."""
    return [name for name in read_columns(data / FOLDERS["coco"] / "labels.csv") if name != "person_biased"]


def recipe_data(given: Path | None) -> tuple[Path, list[str]]:
    """The folder of the data sets, for recipes too, which name it $PVLR_DATA, and the labels of COCO."""
    folder = data_folder(given)
    os.environ["PVLR_DATA"] = str(folder.resolve())
    return folder, labels_of(folder)


def read(data: Path, split: str, labels: list[str], cache: Path, run: Path | None = None) -> Photos:
    """The photos of a split, from the folder ``cache`` if they are there; computing them takes minutes.

    Args:
        run: a trained run, whose features replace those of the pretrained network.
    """
    _, table = read_split(data, "coco", split, labels)
    path = cache / f"{run.name if run else BACKBONE}-{INPUT.width}-{split}.npz"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        seen = _look([data / FOLDERS["coco"] / "images" / file for file in table.files], split, run)
        np.savez(path, **{name: array.astype(np.float32) for name, array in vars(seen).items()})
    with np.load(path) as arrays:
        seen = Seen(**{name: arrays[name].astype(np.float64) for name in arrays.files})
    return Photos(seen, table.targets)


def _look(files: list[Path], split: str, run: Path | None) -> Seen:
    config = DataConfig.model_validate({"input": INPUT, "sources": [{"images": ".", "labels": "none.csv"}]})
    dataset = ImageDataset.unlabelled(files)
    pretrained = Backbone(BACKBONE, pretrained=True, classifier=True).eval()
    backbone = DeployedPVLR(load_model(run)[0]).backbone if run else pretrained
    with Progress() as progress:
        bar = progress.add_task(f"features of {split}", total=len(files))
        return look(backbone, pretrained, dataset, Views(config, 0), lambda count: progress.advance(bar, count))
