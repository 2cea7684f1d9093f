"""Checkpoints: tensors in safetensors, everything else in JSON, written atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from pvlr_sdk.bundle.catalogue import is_model
from pvlr_sdk.errors import CheckpointError, OutputError, PlanNotFoundError
from pvlr_sdk.files import write_files

from .config import Config
from .model.network import PVLR
from .plan_weights import read_plan

T = TypeVar("T")


def save_model(folder: Path, model: PVLR, config: Config, extra: dict[str, Any]) -> None:
    """Write ``model.safetensors`` and ``model.json`` (configuration, thresholds, metrics) into ``folder``."""
    data = {"config": config.model_dump(mode="json"), **extra}
    write_checkpoint(folder / "model.safetensors", model.state_dict(), data, readable=True)


def load_model(folder: Path) -> tuple[PVLR, Config, dict[str, Any]]:
    """Read what ``save_model`` wrote: (model in evaluation mode, its configuration, the rest of the JSON).

    Raises:
        CheckpointError: a file is missing or damaged, or the weights do not match the configuration.
    """
    tensors, extra = read_checkpoint(folder / "model.safetensors")
    try:
        config = Config.model_validate(extra.pop("config"))
        spec = config.data.input
        untrained = config.model.model_copy(update={"pretrained": False})
        model = PVLR(config.data.labels, spec.height, spec.width, untrained)
        model.load_state_dict(tensors)
    except (KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            str(folder),
            expected="weights that match the configuration",
            got=str(error).strip().splitlines()[0],
            hint="Use the pvlr_training version that wrote it, or train again.",
        ) from None
    return model.eval(), config, extra


def start_from(folder: Path, model: PVLR) -> int:
    """Copy the weights of a finished run, or of a bundle, with matching name and shape; returns the number of tensors.

    The encodings of prompts and labels and the evidence of a knowledge branch stay those of this configuration; either
    run may be without such a branch. If the labels differ, weights of single labels (bias, residual) are left out.

    Args:
        folder: the folder of the run; or a plan, its folder or the name of a model.

    Raises:
        CheckpointError: neither a finished run nor a bundle, or one with another backbone.
        BundleError: the bundle is damaged, or the model of this name is not installed.
    """
    tensors, labels = _weights(folder, model)
    tensors, names = _unwrapped(tensors), _unwrapped({name: name for name in model.state_dict()})
    own = {name: model.state_dict()[full] for name, full in names.items()}
    encodings = {f"text.{name}" for name, _ in model.text.named_buffers()}
    fitting = {
        name: tensor
        for name, tensor in tensors.items()
        if name in own and name not in encodings and own[name].shape == tensor.shape
    }
    if any(name.startswith("backbone.") and name not in fitting for name in own):
        raise CheckpointError(
            str(folder),
            expected=f"weights for {model.backbone.name}",
            got="weights of another network",
            hint="Start from a run with the same backbone, or remove train.init.",
        )
    if labels != model.labels:
        count = len(model.labels)
        fitting = {n: t for n, t in fitting.items() if n.startswith("backbone.") or count not in t.shape[:1]}
    model.load_state_dict({names[name]: tensor for name, tensor in fitting.items()}, strict=False)
    return len(fitting)


def _weights(folder: Path, model: PVLR) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors and labels of a run or a bundle; errors as :func:`start_from`."""
    path = folder / "model.safetensors"
    if not path.exists():
        try:
            return read_plan(folder, model)
        except PlanNotFoundError:
            if is_model(folder.name):  # one that is not installed
                raise
    tensors, data = read_checkpoint(path)
    return tensors, tuple(data["config"]["data"]["labels"])


def _unwrapped(named: Mapping[str, T]) -> dict[str, T]:
    """What has these names without the knowledge branch, a head around the head, if there is one."""
    if not any(name.startswith("head.head.") for name in named):
        return dict(named)
    kept = {name: of for name, of in named.items() if not name.startswith("head.") or name.startswith("head.head.")}
    return {name.replace("head.head.", "head.", 1): of for name, of in kept.items()}


def write_checkpoint(path: Path, tensors: dict[str, Tensor], data: dict[str, Any], *, readable: bool = False) -> None:
    """Write tensors and, in the header of the same file, JSON data, so that both always belong together.

    Args:
        readable: also write the data to a JSON file beside it, for people to read.

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
        hint = "Free some space and add --resume to continue from the last saved state."
        raise OutputError(error.argument, expected=error.expected, got=error.got, hint=hint) from None


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``write_checkpoint`` wrote; raises CheckpointError if it is missing or damaged."""
    try:
        with safe_open(path, "pt") as file:
            data = json.loads((file.metadata() or {})["json"])
        return load_file(path), data
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise CheckpointError(
            str(path), expected="a checkpoint of pvlr_training", got=str(error), hint="Name the folder of a run."
        ) from None
