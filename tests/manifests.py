"""Edits manifests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pvlr_sdk.bundle.bundle import manifest_path


def read_raw(plan: Path) -> dict[str, Any]:
    """The fields of the manifest of a plan."""
    raw: dict[str, Any] = json.loads(manifest_path(plan).read_text())
    return raw


def edit_manifest(plan: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the fields of the manifest beside a plan in place."""
    raw = read_raw(plan)
    change(raw)
    manifest_path(plan).write_text(json.dumps(raw))


def shift_golden(plan: Path, by: float) -> None:
    """Give a bundle golden logits that the network does not compute."""
    logits = [value + by for value in read_raw(plan)["golden"]["logits"]]
    edit_manifest(plan, lambda raw: raw["golden"].update(logits=logits))
