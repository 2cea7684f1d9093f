"""In which settings runs differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .runs import Run

_ALWAYS = ("model.head", "model.backbone", "data.input.width", "data.input.height", "train.seed")


def settings(runs: list[Run]) -> list[dict[str, Any]]:
    """Rows {"key", "values"}: of one run its main settings, of several those that are not the same in all."""
    each = [_flat(run.config.model_dump(mode="json", exclude={"name"})) for run in runs]
    keys = list(dict.fromkeys(key for one in each for key in one))
    if len(runs) == 1:
        stages = [key for key in keys if key.startswith("train.") and key.endswith((".epochs", ".batch", ".lr"))]
        chosen = [*_ALWAYS, *stages, "train.loss"]
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
    """A value in few words: lists of labels and of sources by what tells them apart."""
    if value is None:
        return "-"
    if isinstance(value, list):
        items = [_source(item) if isinstance(item, dict) else str(item) for item in value]
        text = ", ".join(items)
        return text if len(text) <= 80 else f"{len(items)}: {text[:77]}..."
    return str(value)


def _source(source: dict[str, Any]) -> str:
    """The file or folder that a source is read from, and its splits; not the whole path, which is private."""
    place = next(Path(source[key]) for key in ("labels", "devkit", "annotations", "root") if source.get(key))
    return "/".join(place.parts[-2:]) + "".join(f" {split}" for split in source.get("splits", []))
