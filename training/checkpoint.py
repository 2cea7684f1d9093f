"""Checkpoints: tensors in safetensors, everything else in JSON, written atomically."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from pvlr_sdk._util.files import write_files
from pvlr_sdk.errors import CheckpointError, OutputError

from .config import Config, stored_config
from .model.network import PVLR


def save_model(folder: Path, model: PVLR, config: Config, extra: dict[str, Any]) -> None:
    """Write ``model.safetensors`` and ``model.json`` (configuration, thresholds, metrics) into ``folder``."""
    data = {"config": config.model_dump(mode="json"), **extra}
    write_checkpoint(folder / "model.safetensors", model.state_dict(), data, readable=True)


def load_model(folder: Path) -> tuple[PVLR, Config, dict[str, Any]]:
    """Read what ``save_model`` wrote: (model in evaluation mode, its configuration, the rest of the JSON).

    Its logits are calibrated, as in a plan; the weights in the file are those of training, which continues from them.

    Raises:
        CheckpointError: a file is missing or damaged, or the weights do not match the configuration.
    """
    tensors, extra = read_checkpoint(folder / "model.safetensors")
    try:
        config = stored_config(extra.pop("config"))
        spec = config.data.input
        untrained = config.model.model_copy(update={"pretrained": False})
        model = PVLR(config.data.labels, spec.height, spec.width, untrained)
        model.load_state_dict(tensors)
        if calibration := extra.get("calibration"):
            model.calibrate(**calibration)
    except (KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            str(folder),
            "weights that match the configuration",
            str(error).strip().splitlines()[0],
            "Use the pvlr_training version that wrote it, or train again.",
        ) from None
    return model.eval(), config, extra


def write_checkpoint(
    path: Path, tensors: dict[str, Tensor], data: dict[str, Any], *, readable: bool = False
) -> None:
    """Write tensors and, in the header of the same file, JSON data, so that both always belong together.

    Args:
        readable: also write the data to a JSON file next to it, for people to read.

    Raises:
        OutputError: no space or no permission; existing files are untouched.
    """
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    contents = {path: save(contiguous, {"json": json.dumps(data)})}
    if readable:
        contents[path.with_suffix(".json")] = json.dumps(data, indent=1).encode()
    try:
        write_files(contents)
    except OutputError as error:
        raise OutputError(
            error.argument,
            error.expected,
            error.got,
            "Free some space and add --resume to continue from the last saved state.",
        ) from None


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``write_checkpoint`` wrote; raises CheckpointError if it is missing or damaged."""
    try:
        with safe_open(path, "pt") as file:
            data = json.loads((file.metadata() or {})["json"])
        return load_file(path), data
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise CheckpointError(
            str(path), "a checkpoint of pvlr_training", str(error), "Name the folder of a run."
        ) from None
