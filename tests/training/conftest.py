"""A tiny learnable data set, and a configuration that trains on it in seconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

if TYPE_CHECKING:
    from pvlr_training.config import Config

COLOURS = {"red": (40, 40, 220), "green": (40, 200, 40), "blue": (220, 40, 40)}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """PyTorch computes in one thread: sums have one order, and a busy machine does not slow it down more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 96 images with squares in up to three colours, and their labels.csv."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    lines = ["file,split," + ",".join(COLOURS)]
    for number in range(96):
        height, width = rng.integers(60, 110, 2)
        picture = rng.integers(90, 150, (height, width, 3)).astype(np.uint8)
        present = rng.random(3) < 0.5
        for colour in np.array(list(COLOURS.values()))[present]:
            top, left = rng.integers(0, height - 40), rng.integers(0, width - 40)
            picture[top : top + 40, left : left + 40] = colour
        cv2.imwrite(str(folder / f"{number}.png"), picture)
        lines.append(f"{number}.png,train," + ",".join("1" if p else "-1" for p in present))
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def tiny_config(photos: Path, **changes: Any) -> dict[str, Any]:
    """An experiment on ``photos``: a backbone of 0.3 million random weights, label vectors without a language model."""
    raw: dict[str, Any] = {
        "name": "tiny",
        "model": {
            "backbone": "test_efficientnet",
            "pretrained": False,
            "width": 32,
            "heads": 4,
            "ffn": 32,
            "text": {"encoder": "random"},
        },
        "data": {
            "input": {"width": 64, "height": 64, "mean": [127, 127, 127], "std": [64, 64, 64]},
            "labels": list(COLOURS),
            "sources": [
                {"images": str(photos), "labels": str(photos / "labels.csv"), "splits": ["train"]}
            ],
            "holdout": 0.2,
            "min_crop": 0.8,
        },
        "train": {
            "views": 2,
            "head": {"epochs": 2, "batch": 16, "lr": 2e-3},
            "finetune": {"epochs": 3, "batch": 16, "lr": 2e-3, "backbone_lr": 2e-3},
            "unfreeze_from": 0,
            "ema": 0.5,
        },
    }
    for key, value in changes.items():
        raw[key] = {**raw[key], **value} if isinstance(value, dict) else value
    return raw


def random_config(labels: Sequence[str], side: int = 64, **model: Any) -> Config:
    """A small network with random weights, without images; ``model`` changes keys of that section."""
    from pvlr_training.config import Config

    tiny = {
        "backbone": "test_efficientnet",
        "pretrained": False,
        "width": 32,
        "heads": 4,
        "ffn": 32,
    }
    spec = {"width": side, "height": side, "mean": [127] * 3, "std": [64] * 3}
    data = {"input": spec, "labels": list(labels), "sources": [{"images": ".", "labels": "x"}]}
    raw = {
        "name": "random",
        "model": {**tiny, "text": {"encoder": "random"}, **model},
        "data": data,
    }
    return Config.model_validate(raw)


@pytest.fixture
def write_config(photos: Path, tmp_path: Path) -> Any:
    """Write the tiny configuration, with changes, and return its path."""

    def write(**changes: Any) -> Path:
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump(tiny_config(photos, **changes)))
        return path

    return write
