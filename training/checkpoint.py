"""Checkpoints: tensors in safetensors, everything else in JSON, written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from pvlr_sdk.errors import CheckpointError
from pvlr_sdk.files import write_files

from .config import Config
from .model import PVLR


def save_model(folder: Path, model: PVLR, config: Config, extra: dict[str, Any]) -> None:
    """Write ``model.safetensors`` and ``model.json`` (configuration, thresholds, figures) into ``folder``."""
    _write_pair(folder / "model", model.state_dict(), {"config": config.model_dump(mode="json"), **extra})


def load_model(folder: Path) -> tuple[PVLR, Config, dict[str, Any]]:
    """Read what ``save_model`` wrote: (model in evaluation mode, its configuration, the rest of the JSON).

    Raises:
        CheckpointError: a file is missing or damaged, or the weights don't fit the configuration.
    """
    tensors, extra = _read_pair(folder / "model")
    try:
        config = Config.model_validate(extra.pop("config"))
        spec = config.data.input
        untrained = config.model.model_copy(update={"pretrained": False})
        model = PVLR(config.data.labels, spec.height, spec.width, untrained)
        model.load_state_dict(tensors)
    except (KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            str(folder),
            expected="weights that fit their configuration",
            got=str(error).strip().splitlines()[0],
            hint="Use the pvlr_training version that wrote it, or train again.",
        ) from None
    return model.eval(), config, extra


def start_from(folder: Path, model: PVLR) -> int:
    """Copy the weights of a finished run wherever name and shape fit; returns how many tensors those are.

    Where the labels are others, what belongs to a label (bias, residual, encoding) is not taken.

    Raises:
        CheckpointError: it is no finished run, or it is one with another backbone.
    """
    tensors, data = _read_pair(folder / "model")
    own = model.state_dict()
    fitting = {name: tensor for name, tensor in tensors.items() if name in own and own[name].shape == tensor.shape}
    if any(name.startswith("backbone.") and name not in fitting for name in own):
        raise CheckpointError(
            str(folder),
            expected=f"weights for {model.backbone.name}",
            got="those of another network",
            hint="Start from a run with the same backbone, or remove train.init.",
        )
    labels = tuple(data["config"]["data"]["labels"])
    if labels != model.labels:
        count = len(model.labels)
        fitting = {n: t for n, t in fitting.items() if n.startswith("backbone.") or count not in t.shape[:1]}
    model.load_state_dict(fitting, strict=False)
    return len(fitting)


def save_state(
    folder: Path, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer, progress: dict[str, Any]
) -> None:
    """Write the state of an unfinished run, from which ``load_state`` goes on."""
    tensors = {f"{key}/{name}": t for key, module in modules.items() for name, t in module.state_dict().items()}
    state = optimizer.state_dict()
    for index, entries in state["state"].items():
        tensors |= {f"optimizer/{index}/{name}": value for name, value in entries.items()}
    groups = state["param_groups"]
    _write_pair(folder / "state", tensors, {"groups": groups, **progress})


def load_state(folder: Path, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Restore modules and optimizer from ``save_state``; returns the progress it was given."""
    tensors, progress = _read_pair(folder / "state")
    for key, module in modules.items():
        prefix = f"{key}/"
        module.load_state_dict({k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)})
    entries: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer/"):
            _, index, entry = name.split("/")
            entries.setdefault(int(index), {})[entry] = tensor
    optimizer.load_state_dict({"state": entries, "param_groups": progress.pop("groups")})
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if value.shape == parameter.shape:
                # In the parameter's memory format: another one rounds differently in the last bit.
                state[name] = torch.empty_like(parameter).copy_(value)
    return progress


def read_progress(folder: Path) -> dict[str, Any] | None:
    """What ``save_state`` was last told of the run's progress; None if there is no unfinished run."""
    path = folder / "state.json"
    return json.loads(path.read_text()) if path.exists() else None


def _write_pair(stem: Path, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
    # The JSON travels in the safetensors header too, so that weights and progress are always of the same moment.
    payload = save({name: tensor.contiguous() for name, tensor in tensors.items()}, {"json": json.dumps(data)})
    write_files(
        {stem.with_suffix(".safetensors"): payload, stem.with_suffix(".json"): json.dumps(data, indent=1).encode()}
    )


def _read_pair(stem: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    path = stem.with_suffix(".safetensors")
    try:
        with safe_open(path, "pt") as file:
            data = json.loads((file.metadata() or {})["json"])
        return load_file(path), data
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise CheckpointError(
            str(path), expected="a checkpoint of pvlr_training", got=str(error), hint="Name the folder of a run."
        ) from None
