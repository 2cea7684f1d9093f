"""The state of an unfinished run: everything needed to resume it with identical results.

It contains no random state: the order of an epoch, the views of an image and the draws of a step depend only on the
seed and their indices.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass, fields
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pvlr_sdk.errors import CheckpointError

from .checkpoint import read_checkpoint, write_checkpoint
from .config import Config, Stage, stored_config
from .folder import BEST, STATE, has_state

# The order of an epoch and the shapes of the weights depend on these.
_FIXED = (
    "model",
    "data.input",
    "data.labels",
    "data.sources",
    "data.holdout",
    "data.share",
    "train.seed",
    "train.balance",
    "train.unfreeze_from",
)


@dataclass
class Progress:
    """The progress of a run: ``step`` optimizer steps into the epoch after ``epoch`` finished ones of ``stage``.

    ``loss`` is the sum over the batches of the unfinished epoch, ``seconds`` the training time so far, ``images`` the
    number of training images.
    """

    stage: Stage = "head"
    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    images: int = 0


def save_state(
    folder: Path,
    modules: dict[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    config: Config,
) -> None:
    """Write the state of an unfinished run atomically.

    Raises:
        OutputError: the file cannot be written; the previous state is untouched.
    """
    tensors = {
        f"{key}/{name}": t
        for key, module in modules.items()
        for name, t in module.state_dict().items()
    }
    state = optimizer.state_dict()
    for index, entries in state["state"].items():
        tensors |= {f"optimizer/{index}/{name}": value for name, value in entries.items()}
    data = {
        **asdict(progress),
        "groups": state["param_groups"],
        "config": config.model_dump(mode="json"),
    }
    write_checkpoint(folder / STATE, tensors, data)


def load_state(
    folder: Path, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer
) -> None:
    """Restore modules and optimizer from ``save_state``."""
    tensors, data = read_checkpoint(folder / STATE)
    for key, module in modules.items():
        prefix = f"{key}/"
        module.load_state_dict(
            {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
        )
    entries: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer/"):
            _, index, entry = name.split("/")
            entries.setdefault(int(index), {})[entry] = tensor
    optimizer.load_state_dict({"state": entries, "param_groups": data["groups"]})
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if value.shape == parameter.shape:
                # In the parameter's memory format: another format rounds the last bit differently.
                state[name] = torch.empty_like(parameter).copy_(value)


def read_progress(folder: Path, config: Config) -> Progress:
    """Where the unfinished run in the folder stopped.

    Raises:
        CheckpointError: the state is damaged, or settings have changed that must stay the same during a run.
    """
    _, data = read_checkpoint(folder / STATE)
    progress = Progress(**{f.name: data[f.name] for f in fields(Progress) if f.name in data})
    _check_settings(folder, data["config"], config.model_dump(mode="json"), progress)
    return progress


def interrupted(folder: Path) -> str:
    """What an interrupted run keeps, and how to continue it."""
    if has_state(folder):
        _, data = read_checkpoint(folder / STATE)
        step = f" and step {data['step']}" if data["step"] else ""
        kept = f"keeps the training up to {data['stage']} epoch {data['epoch']}{step}"
    elif (folder / "model.safetensors").exists():
        kept = "keeps the trained model"
    else:
        return "interrupted before anything was saved; run the command again"
    return f"interrupted; {folder} {kept}. To continue, run the command again with --resume"


def clear_leftovers(folder: Path) -> None:
    """Remove the temporary files of a killed process; only one run writes to a folder."""
    for name in (STATE, BEST, "model.safetensors", "model.json", "log.jsonl"):
        for path in folder.glob(f".{name}.*.tmp"):
            path.unlink(missing_ok=True)


def _check_settings(
    folder: Path, before: dict[str, Any], now: dict[str, Any], progress: Progress
) -> None:
    with contextlib.suppress(ValueError):
        before = stored_config(before).model_dump(mode="json")  # adds the defaults of newer keys
    for key in (*_FIXED, *([f"train.{progress.stage}.batch"] if progress.step else [])):
        old = _lookup(before, key)
        new = _lookup(now, key)
        if old != new:
            raise CheckpointError(
                str(folder / STATE),
                f"an unfinished run with the same {key}",
                f"one with {old}" if len(str(old)) < 60 else "one with another",
                "Restore that setting, or train into another folder (--out).",
            )


def _lookup(node: Any, key: str) -> Any:
    return reduce(dict.get, key.split("."), node)
