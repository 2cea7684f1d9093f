"""What a run's folder says about it, read without loading the network."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from pvlr_sdk.errors import CheckpointError, OptionError

from ..config import Config


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        name: the folder's name, longer where two runs share it.
        thresholds: (C,), the score from which on a label is a tag.
        parameters: numbers in the backbone and the head. The text branch is left out: it becomes the label bank.
        seconds: how long it trained; None if it doesn't say.
        log: one row an epoch, as training wrote them; empty without a log.
    """

    folder: Path
    name: str
    config: Config
    thresholds: NDArray[np.float64]
    parameters: int
    seconds: float | None
    log: list[dict[str, Any]]

    @property
    def labels(self) -> tuple[str, ...]:
        return self.config.data.labels

    @property
    def weights(self) -> Path:
        return self.folder / "model.safetensors"


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """The runs of these folders (or of the ``model.safetensors`` in them), in their order.

    Raises:
        OptionError: no folder, or one of them twice.
        CheckpointError: there is no finished run in a folder, or its files are damaged.
    """
    folders = [path.parent if path.is_file() else path for path in folders]
    places = [folder.resolve() for folder in folders]
    if not places or len(set(places)) < len(places):
        got = "none" if not places else "the same folder twice"
        raise OptionError("RUN", expected="different runs", got=got, hint="Name the folder of each run once.")
    names = _names(places)
    return [_read_run(folder, name) for folder, name in zip(folders, names, strict=True)]


def _read_run(folder: Path, name: str) -> Run:
    path = folder / "model.safetensors"
    try:
        with safe_open(path, "np") as file:
            data = json.loads((file.metadata() or {})["json"])
            shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118 - not a mapping
        config = Config.model_validate(data["config"])
        thresholds = np.asarray(data["thresholds"], np.float64)
        if thresholds.shape != (len(config.data.labels),):
            raise ValueError(f"{thresholds.size} thresholds for {len(config.data.labels)} labels")
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        unfinished = not path.exists() and (folder / "state.safetensors").exists()
        raise CheckpointError(
            str(path),
            expected="the weights of a finished run",
            got="a run that is not finished" if unfinished else str(error).strip().splitlines()[0],
            hint="Finish it with pvlr train --resume." if unfinished else "Name the folder that pvlr train wrote.",
        ) from None
    parameters = sum(math.prod(shape) for key, shape in shapes.items() if _is_deployed_parameter(key))
    return Run(folder, name, config, thresholds, parameters, data.get("seconds"), _read_log(folder / "log.jsonl"))


def _is_deployed_parameter(key: str) -> bool:
    """Batch norm's statistics are no parameters, and it is the label bank that is deployed of the text branch."""
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    return not key.startswith("text.") and not key.endswith(statistics)


def _read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a log, each epoch once: a run that was stopped between log and state repeats its last epoch."""
    rows: dict[tuple[Any, Any], dict[str, Any]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    for line in lines:
        try:
            row = json.loads(line)
            rows[row["stage"], row["epoch"]] = {key: value for key, value in row.items() if _is_plain(value)}
        except (ValueError, KeyError, TypeError):
            continue  # half a line, from a crash
    return list(rows.values())


def _is_plain(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, int | float) and math.isfinite(value))


def _names(places: list[Path]) -> list[str]:
    """The last parts of the paths, as many as tell them apart."""
    for parts in range(1, max(len(place.parts) for place in places) + 1):
        names = ["/".join(place.parts[-parts:]) for place in places]
        if len(set(names)) == len(names):
            break
    return names
