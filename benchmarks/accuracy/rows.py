"""The experiments of docs/heads.md, from rows.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..common import RESULTS, ROOT

CONFIGS = ROOT / "training/configs"


@dataclass(frozen=True)
class Row:
    """One experiment: the configuration of a recipe with the overrides of the recipe and of the row."""

    name: str
    label: str
    group: str
    table: str
    recipe: str
    config: Path
    overrides: tuple[str, ...]

    def result(self, seed: int, results: Path = RESULTS) -> Path:
        """The file of the results with a seed."""
        return results / "accuracy" / f"{self.name}-{seed}.json"


def read_rows() -> list[Row]:
    """All rows, in their order."""
    raw: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "rows.yaml").read_text())
    rows = []
    for group in raw["groups"]:
        config, *recipe = raw["recipes"][group["place"][2]]
        rows += [
            Row(row["name"], row["label"], *group["place"], CONFIGS / config, (*recipe, *row.get("set", ())))
            for row in group["rows"]
        ]
    return rows
