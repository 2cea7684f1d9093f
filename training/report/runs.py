"""Finished runs and their settings, read from their folders without loading the network."""

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

from pvlr_sdk.bundle.label_bank import LabelBank
from pvlr_sdk.errors import CheckpointError, OptionError

from ..config import Config, stored_config
from ..data.config import CsvSource
from ..folder import PREVALENCE, has_state

_MAIN_SETTINGS = (
    "model.head",
    "model.backbone",
    "data.input.width",
    "data.input.height",
    "train.seed",
)


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        name: the name of the folder, with parents if two runs share it.
        thresholds: (C,), the score at or above which a label is a tag: of the exported network, else of training.
        prevalence: (C,), the share of images with each label where the plan is used; None if it was not stated.
        parameters: of backbone and head; the text branch becomes the label bank.
        seconds: the training time, None if unknown.
    """

    folder: Path
    name: str
    config: Config
    thresholds: NDArray[np.float64]
    prevalence: NDArray[np.float64] | None
    parameters: int
    seconds: float | None

    @property
    def labels(self) -> tuple[str, ...]:
        return self.config.data.labels


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """The runs of these folders (or of the ``model.safetensors`` in them), in the same order.

    Raises:
        OptionError: no folder, or the same folder twice.
        CheckpointError: a folder has no finished run, or its files are damaged.
    """
    folders = [path.parent if path.is_file() else path for path in folders]
    places = [folder.resolve() for folder in folders]
    if not places or len(set(places)) < len(places):
        raise OptionError(
            "RUN",
            "different runs",
            "none" if not places else "the same folder twice",
            "Name the folder of each run once.",
        )
    names = _names(places)
    return [_read_run(folder, name) for folder, name in zip(folders, names, strict=True)]


def _read_run(folder: Path, name: str) -> Run:
    path = folder / "model.safetensors"
    try:
        with safe_open(path, "np") as file:
            data = json.loads((file.metadata() or {})["json"])
            shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118 - not a mapping
        config = _moved(stored_config(data["config"]), folder)
        thresholds = np.asarray(data["thresholds"], np.float64)
        bank = folder / "model.labels.safetensors"
        stated = folder / PREVALENCE
        if bank.exists():
            thresholds = LabelBank.load(bank).thresholds.astype(np.float64)
        shares = json.loads(stated.read_bytes()) if stated.exists() else None
        prevalence = shares and np.array([shares[label] for label in config.data.labels])
        if thresholds.shape != (len(config.data.labels),):
            raise ValueError(f"{thresholds.size} thresholds for {len(config.data.labels)} labels")
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        unfinished = not path.exists() and has_state(folder)
        raise CheckpointError(
            str(path),
            "the weights of a finished run",
            "an unfinished run" if unfinished else str(error).strip().splitlines()[0],
            "Finish it with pvlr train --resume."
            if unfinished
            else "Name the folder that pvlr train wrote.",
        ) from None
    parameters = sum(
        math.prod(shape) for key, shape in shapes.items() if _is_deployed_parameter(key)
    )
    return Run(folder, name, config, thresholds, prevalence, parameters, data.get("seconds"))


def _moved(config: Config, folder: Path) -> Config:
    """The configuration with the label file that ``pvlr train IMAGES`` wrote into the folder, which may be renamed."""
    first, *others = config.data.sources
    if (
        isinstance(first, CsvSource)
        and not first.labels.exists()
        and (own := folder / first.labels.name).exists()
    ):
        first = first.model_copy(update={"labels": own})
    data = config.data.model_copy(update={"sources": (first, *others)})
    return config.model_copy(update={"data": data})


def _is_deployed_parameter(key: str) -> bool:
    """Excludes batch norm statistics and the text branch, which becomes the label bank."""
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    return not key.startswith("text.") and not key.endswith(statistics)


def _names(places: list[Path]) -> list[str]:
    """The last parts of the paths, as many as needed to distinguish them."""
    for parts in range(1, max(len(place.parts) for place in places) + 1):
        names = ["/".join(place.parts[-parts:]) for place in places]
        if len(set(names)) == len(names):
            break
    return names


def compare_settings(runs: list[Run]) -> list[dict[str, Any]]:
    """Rows {"key", "values"}: the main settings of one run, or the settings in which several runs differ."""
    each = [_flat(run.config.model_dump(mode="json", exclude={"name"})) for run in runs]
    keys = list(dict.fromkeys(key for one in each for key in one))
    if len(runs) == 1:
        stages = [
            key
            for key in keys
            if key.startswith("train.") and key.endswith((".epochs", ".batch", ".lr"))
        ]
        chosen = [*_MAIN_SETTINGS, *stages]
    else:
        chosen = [key for key in keys if len({_shown(one.get(key)) for one in each}) > 1]
    return [{"key": key, "values": [_shown(one.get(key)) for one in each]} for key in chosen]


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(node, dict):
        return {prefix: node}
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat |= _flat(value, f"{prefix}.{key}" if prefix else key)
    return flat


def _shown(value: Any) -> str:
    """A short form of a value; lists of labels and sources are abbreviated."""
    if value is None:
        return "-"
    if isinstance(value, list):
        items = [_source(item) if isinstance(item, dict) else str(item) for item in value]
        text = ", ".join(items)
        return text if len(text) <= 80 else f"{len(items)}: {text[:77]}..."
    return str(value)


def _source(source: dict[str, Any]) -> str:
    """The file or folder of a source and its splits, without the rest of the path, which is private."""
    place = next(Path(source[key]) for key in ("labels", "devkit", "root") if source.get(key))
    return "/".join(place.parts[-2:]) + "".join(f" {split}" for split in source.get("splits", []))
