"""The state of an unfinished run: everything that it needs to go on as if it had never stopped.

What is drawn at random is no part of it: the order of an epoch, the views of a photo and the draws of a step each
follow from the seed and their own numbers.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pvlr_sdk.errors import CheckpointError

from .checkpoint import read_checkpoint, write_checkpoint
from .config import Config
from .stages import Stage

_NAME = "state.safetensors"

# A photo's place in an epoch, and the shapes of the weights, follow from these.
_FIXED = (
    "model",
    "data.input",
    "data.labels",
    "data.sources",
    "data.holdout",
    "data.share",
    "train.seed",
    "train.unfreeze_from",
    "train.depthwise",
)
_FIXED_IN_STAGE = ("batch", "accumulate")


@dataclass
class Progress:
    """How far a run is: ``step`` optimizer steps into the epoch after ``epoch`` finished ones of ``stage``.

    ``loss`` is the sum over the batches of the unfinished epoch, ``seconds`` the time that the run has taken,
    ``photos`` how many there were to train on (0: written before this was noted).
    """

    stage: Stage = "head"
    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    photos: int = 0


def save_state(
    folder: Path, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer, progress: Progress, config: Config
) -> None:
    """Write the state of an unfinished run, whole or not at all, from which ``load_state`` goes on.

    Raises:
        OutputError: it can't be written; the state before it is untouched.
    """
    tensors = {f"{key}/{name}": t for key, module in modules.items() for name, t in module.state_dict().items()}
    state = optimizer.state_dict()
    for index, entries in state["state"].items():
        tensors |= {f"optimizer/{index}/{name}": value for name, value in entries.items()}
    data = {**asdict(progress), "groups": state["param_groups"], "config": config.model_dump(mode="json")}
    write_checkpoint(folder / _NAME, tensors, data)


def load_state(folder: Path, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer) -> None:
    """Restore modules and optimizer from ``save_state``.

    Raises:
        CheckpointError: the settings that say which weights have a rate of their own are others.
    """
    tensors, data = read_checkpoint(folder / _NAME)
    for key, module in modules.items():
        prefix = f"{key}/"
        module.load_state_dict({k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)})
    entries: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer/"):
            _, index, entry = name.split("/")
            entries.setdefault(int(index), {})[entry] = tensor
    try:
        optimizer.load_state_dict({"state": entries, "param_groups": data["groups"]})
    except ValueError as error:
        raise CheckpointError(
            str(folder / _NAME),
            expected="an unfinished run with the same groups of weights",
            got=f"others ({error})",
            hint="Set cap_lr back and --resume, or train into another folder (--out).",
        ) from None
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if value.shape == parameter.shape:
                # In the parameter's memory format: another one rounds differently in the last bit.
                state[name] = torch.empty_like(parameter).copy_(value)


def has_state(folder: Path) -> bool:
    """Whether there is an unfinished run in the folder."""
    return (folder / _NAME).exists()


def read_progress(folder: Path, config: Config) -> Progress:
    """Where the unfinished run in the folder stopped; the beginning if there is none.

    Raises:
        CheckpointError: the state is damaged, or of a run with other settings that can't be changed on the way.
    """
    if not has_state(folder):
        return Progress()
    _, data = read_checkpoint(folder / _NAME)
    progress = Progress(**{f.name: data[f.name] for f in fields(Progress) if f.name in data})
    _check_settings(folder, data.get("config"), config.model_dump(mode="json"), progress)
    return progress


def clear_state(folder: Path) -> None:
    """Remove the state of a run that is finished."""
    (folder / _NAME).unlink(missing_ok=True)


def clear_leftovers(folder: Path) -> None:
    """Remove what a process was writing when it was killed: a run's folder belongs to one run, so nobody still does."""
    for name in (_NAME, "model.safetensors", "model.json", "log.jsonl"):
        for path in folder.glob(f".{name}.*.tmp"):
            path.unlink(missing_ok=True)


def _check_settings(folder: Path, before: dict[str, Any] | None, now: dict[str, Any], progress: Progress) -> None:
    if before is None:  # as an earlier version wrote it
        return
    with contextlib.suppress(ValueError):
        before = Config.model_validate(before).model_dump(mode="json")  # keys that are new since have their defaults
    in_stage = [f"train.{progress.stage}.{key}" for key in _FIXED_IN_STAGE] if progress.step else []
    for key in (*_FIXED, *in_stage):
        old, new = _lookup(before, key), _lookup(now, key)
        if old != new:
            raise CheckpointError(
                str(folder / _NAME),
                expected=f"an unfinished run with the same {key}",
                got=f"one with {old}" if len(str(old)) < 60 else "one with another",
                hint="Set it back and --resume, or train into another folder (--out).",
            )


def _lookup(node: Any, key: str) -> Any:
    for part in key.split("."):
        node = node.get(part)
    return node
