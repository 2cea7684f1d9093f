"""What a run says of photos, computed once and kept beside it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from pvlr_sdk import __version__
from pvlr_sdk.errors import FrameError, OutputError
from pvlr_sdk.files import write_files
from pvlr_sdk.frames import load_frame
from pvlr_sdk.preprocess import Preprocessor

from .runs import Run

_BATCH = 32


@dataclass(frozen=True)
class Predictions:
    """Logits (n, C) of n photos, and which of them could be decoded (n,); the logits of the others are 0."""

    logits: NDArray[np.float32]
    done: NDArray[np.bool_]


def predict(run: Run, paths: list[Path], advance: Callable[[int], None]) -> Predictions:
    """What the run says of whole photos, in float32, as it is deployed.

    Kept in ``predictions/`` in the run's folder, under a name made from the weights and the photos: where either
    changes, it is computed again.

    Args:
        advance: called with the number of photos done since the last call.

    Raises:
        FrameError: not one photo can be decoded (the first photo's error).
        CheckpointError: the weights don't fit their configuration.
    """
    cache = run.folder / "predictions" / f"{_key(run, paths)}.safetensors"
    with contextlib.suppress(OSError, SafetensorError, KeyError):
        tensors = load_file(cache)
        if tensors["logits"].shape == (len(paths), len(run.labels)):
            return Predictions(tensors["logits"], tensors["done"].astype(np.bool_))
    predictions = _compute(run, paths, advance)
    with contextlib.suppress(OutputError):  # a run on a read-only disk is computed each time
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
    import torch  # here, because a page from kept predictions needs no network and should be instant

    from ..checkpoint import load_model
    from ..deploy import DeployedPVLR

    model, config, _ = load_model(run.folder)
    deployed = DeployedPVLR(model).to(memory_format=torch.channels_last)
    preprocess = Preprocessor(config.data.input)
    first_error: FrameError | None = None

    def read(path: Path) -> NDArray[np.float32] | FrameError:
        try:
            return preprocess(load_frame(path).pixels, "bgr")
        except FrameError as error:
            return error

    logits = np.zeros((len(paths), len(run.labels)), np.float32)
    done = np.zeros(len(paths), np.bool_)
    with ThreadPoolExecutor(2) as pool, torch.inference_mode():
        for start in range(0, len(paths), _BATCH):
            inputs = list(pool.map(read, paths[start : start + _BATCH]))
            good = [start + i for i, one in enumerate(inputs) if not isinstance(one, FrameError)]
            if good:
                images = torch.from_numpy(np.stack([inputs[i - start] for i in good]))
                logits[good] = deployed(images.to(memory_format=torch.channels_last)).logits.numpy()
                done[good] = True
            first_error = first_error or next((one for one in inputs if isinstance(one, FrameError)), None)
            advance(len(inputs))
    if first_error and not done.any():
        raise first_error
    return Predictions(logits, done)
