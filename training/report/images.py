"""The images that a run is measured on, and its predictions of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pvlr_sdk.errors import LabelsFileError, OptionError
from pvlr_sdk.frames.find import check_folder
from pvlr_sdk.frames.frames import load_frame
from pvlr_sdk.workshop.evaluation.labels_csv import read_labels

from ..data.sources import Rows, read_all, read_split
from .runs import Run


@dataclass(frozen=True)
class ImageSelection:
    """Images, their targets (n, C) int8 (1 present, -1 absent, 0 unknown), and a description for readers."""

    paths: list[Path]
    targets: NDArray[np.int8]
    description: str


def choose_images(
    run: Run, images: Path | None, labels: Path | None, split: str | None
) -> ImageSelection:
    """The images to measure a run on.

    By default its held-out images; with ``split``, that split of its sources; with ``images`` and ``labels``, those
    images (and only the rows of ``split``).

    Raises:
        OptionError: ``images`` without ``labels``.
        LabelsFileError, UnknownLabelError, ImageNotFoundError: invalid or missing files, or no such split.
    """
    if (images is None) != (labels is None):
        raise OptionError(
            "--labels" if labels is None else "--images",
            "both --images and --labels, or neither",
            "one",
            "Add the other.",
        )
    if images is not None and labels is not None:
        check_folder(images, "--images")
        table = read_labels(labels, split, run.labels)
        rows = [
            (images / name, target) for name, target in zip(table.files, table.targets, strict=True)
        ]
        return _selection(rows, labels.name + (f", split {split}" if split else ""))
    if split is not None:
        return _selection(read_split(run.config.data, split), f"split {split} of its data")
    held = [(path, target) for path, target, is_held in read_all(run.config.data) if is_held]
    holdout = run.config.data.holdout
    return _selection(held, f"split {holdout}" if isinstance(holdout, str) else "held-out images")


def _selection(rows: Rows, description: str) -> ImageSelection:
    if not any((target == 1).any() for _, target in rows):
        raise LabelsFileError(
            "images",
            "at least one image with a label",
            f"{len(rows)} images ({description}), none labelled",
            "Select other images with --images and --labels, or another --split.",
        )
    return ImageSelection(
        [path for path, _ in rows], np.stack([target for _, target in rows]), description
    )


def predict(
    run: Run, paths: list[Path], advance: Callable[[int], None]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Logits (n, C) of a run for whole images, in float32, as it is deployed, and which of them were decoded (n,).

    Args:
        advance: called with the number of images predicted since the last call.

    Raises:
        FrameError: no image can be decoded (the first one's error).
        CheckpointError: the weights do not match the configuration.
    """
    import torch  # takes seconds, and pvlr train checks images and labels first

    from ..checkpoint import load_model
    from ..data.augmentation import Views
    from ..data.images import ImageDataset
    from ..deploy import DeployedPVLR
    from ..evaluate import predict_logits

    model, config, _ = load_model(run.folder)
    deployed = DeployedPVLR(model).to(memory_format=torch.channels_last)
    dataset = ImageDataset.unlabelled(paths)
    logits = predict_logits(deployed, dataset, Views(config.data, seed=0), advance=advance)
    decoded = ~np.isin([str(path) for path in paths], list(dataset.failed))
    if not decoded.any():
        load_frame(paths[0])  # raises
    return logits, decoded
