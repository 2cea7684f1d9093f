"""Predictions of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pvlr_sdk.frames.frames import load_frame

from .runs import Run


@dataclass(frozen=True)
class Predictions:
    """Logits (n, C) of n images, and which of them were decoded (n,); the logits of the others are 0."""

    logits: NDArray[np.float32]
    done: NDArray[np.bool_]


def predict(run: Run, paths: list[Path], advance: Callable[[int], None]) -> Predictions:
    """The predictions of a run for whole images, in float32, as it is deployed.

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
    failed = set(dataset.failed)
    done = np.array([str(path) not in failed for path in paths])
    if not done.any():
        load_frame(paths[0])  # raises
    return Predictions((logits * done[:, None]).astype(np.float32), done)
