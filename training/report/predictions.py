"""Predictions of a run, computed once and cached in its folder."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from pvlr_sdk import __version__
from pvlr_sdk._util.files import write_files
from pvlr_sdk.errors import OutputError
from pvlr_sdk.frames.frames import load_frame

from .runs import Run


@dataclass(frozen=True)
class Predictions:
    """Logits (n, C) of n images, and which of them were decoded (n,); the logits of the others are 0."""

    logits: NDArray[np.float32]
    done: NDArray[np.bool_]


def predict(run: Run, paths: list[Path], advance: Callable[[int], None]) -> Predictions:
    """The predictions of a run for whole images, in float32, as it is deployed.

    They are cached in ``predictions/`` in the run's folder, under a hash of the weights and the images.

    Args:
        advance: called with the number of images predicted since the last call.

    Raises:
        FrameError: no image can be decoded (the first one's error).
        CheckpointError: the weights do not match the configuration.
    """
    cache = run.folder / "predictions" / f"{_key(run, paths)}.safetensors"
    with contextlib.suppress(OSError, SafetensorError, KeyError):
        tensors = load_file(cache)
        if tensors["logits"].shape == (len(paths), len(run.labels)):
            return Predictions(tensors["logits"], tensors["done"].astype(np.bool_))
    predictions = _compute(run, paths, advance)
    with contextlib.suppress(OutputError):  # without write access, predictions are not cached
        write_files({cache: save({"logits": predictions.logits, "done": predictions.done.astype(np.uint8)})})
    return predictions


def _key(run: Run, paths: list[Path]) -> str:
    digest = hashlib.sha256(__version__.encode())
    with open(run.weights, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    for path in paths:
        try:
            state = path.stat()
            digest.update(f"\n{path}\0{state.st_size}\0{state.st_mtime_ns}".encode())
        except OSError:
            digest.update(f"\n{path}\0missing".encode())
    return digest.hexdigest()[:16]


def _compute(run: Run, paths: list[Path], advance: Callable[[int], None]) -> Predictions:
    import torch  # not needed with cached predictions, which makes their report fast

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
