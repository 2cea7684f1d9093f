"""Untrained runs to report on."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rich.console import Console

pytest.importorskip("torch", reason="training needs the extra [train]")

from pvlr_training.report import report
from pvlr_training.train import train


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 noise images with random labels (one in ten unknown), in labels.csv, and no_decode.png among them."""
    folder = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(1)
    lines = ["file,split,red,green,blue"]
    for number in range(80):
        picture = rng.integers(0, 255, (*rng.integers(30, 90, 2), 3)).astype(np.uint8)
        cv2.imwrite(
            str(folder / f"{number}.png"),
            cv2.resize(picture, (500, 300)) if number < 5 else picture,
        )
        cells = rng.choice(["1", "-1", ""], 3, p=[0.4, 0.5, 0.1])
        lines.append(f"{number}.png,{'train' if number < 60 else 'val'}," + ",".join(cells))
    (folder / "no_decode.png").write_bytes(b"no picture")
    (folder / "labels.csv").write_text("\n".join([*lines, "no_decode.png,train,1,1,1"]) + "\n")
    return folder


@pytest.fixture
def make_run(folder: Path, write_config: Any, tmp_path: Path) -> Callable[..., Path]:
    """Make a run with random weights; other ``labels`` than those of labels.csv get a CSV of their own."""

    def make(
        name: str = "run", labels: tuple[str, ...] = ("red", "green", "blue"), epochs: int = 0
    ) -> Path:
        csv = folder / "labels.csv"
        if labels[0] != "red":
            csv = tmp_path / f"{name}.csv"
            rng = np.random.default_rng(2)
            quoted = ",".join('"' + label.replace('"', '""') + '"' for label in labels)
            rows = [
                f"{i}.png,train," + ",".join(rng.choice(["1", "-1"], len(labels)))
                for i in range(60)
            ]
            csv.write_text("\n".join([f"file,split,{quoted}", *rows]) + "\n", encoding="utf-8")
        stage = {"epochs": epochs, "batch": 16, "lr": 1e-3}
        source = {"images": str(folder), "labels": str(csv), "splits": ["train"]}
        config = write_config(
            data={
                "input": {"width": 64, "height": 64, "mean": [127, 127, 127], "std": [64, 64, 64]},
                "labels": list(labels),
                "sources": [source],
                "holdout": 0.4,
            },
            train={"head": stage, "finetune": stage, "views": 1},
        )
        return train(config, out=tmp_path / name, console=Console(file=io.StringIO()))

    return make


@pytest.fixture
def write_page(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Write page.html about runs and return its data, with its images."""

    def write(*runs: Path, **options: Any) -> dict[str, Any]:
        page = tmp_path / "page.html"
        data = report(runs, page, **{"console": Console(file=io.StringIO()), **options})
        pictures = re.findall(r'<img src="(data:[^"]+)"', page.read_text(encoding="utf-8"))
        return {**json.loads(json.dumps(data, allow_nan=False)), "pictures": pictures}

    return write
