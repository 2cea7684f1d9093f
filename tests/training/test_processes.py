"""Two processes train like one with the same global batch."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from safetensors.torch import load_file

from pvlr_sdk.errors import ConfigError
from pvlr_training.checks import examine
from pvlr_training.config import load_config
from pvlr_training.data.features import share
from pvlr_training.data.images import load_dataset, split_holdout
from pvlr_training.train import train

# In float32 only the order of sums differs; dropout would draw differently in each process.
EXACT = ["train.precision=fp32", "model.dropout=0", "train.head.batch=16"]


def torchrun(config: Path, out: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
    ]
    command += ["-m", "pvlr_training.train", str(config), *overrides, "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_two_processes_have_the_loss_curve_of_one(write_config: Any, tmp_path: Path) -> None:
    config = write_config()
    alone = train(config, EXACT, out=tmp_path / "alone", console=Console(file=io.StringIO()))
    together = tmp_path / "together"
    done = torchrun(config, together, *EXACT)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{together}\n"  # once: the second process prints nothing
    assert len(rows(together)) == len(rows(alone)) == 5
    for one, two in zip(rows(alone), rows(together), strict=True):
        assert (one["stage"], one["epoch"]) == (two["stage"], two["epoch"])
        assert two["loss"] == pytest.approx(one["loss"], rel=2e-3)
    weights, others = (load_file(folder / "model.safetensors") for folder in (alone, together))
    for name, tensor in weights.items():
        np.testing.assert_allclose(others[name], tensor, rtol=0, atol=5e-4, err_msg=name)


def test_the_photos_are_shared_out_and_come_back_in_order() -> None:
    for photos in (1, 2, 63, 64, 65, 150):
        for processes in (1, 2, 3):
            parts = [share(photos, rank, processes) for rank in range(processes)]
            assert len({len(part) for part in parts}) == 1
            gathered: list[int] = []
            start = 0
            # like cache_features: batch by batch, without the padding
            while len(gathered) < photos:
                together = [index for part in parts for index in part[start : start + 32]]
                gathered += together[: photos - len(gathered)]
                start += 32
            assert gathered == list(range(photos))


def test_a_batch_that_cannot_be_shared_is_an_error(write_config: Any) -> None:
    config = load_config(write_config())
    training, holdout = split_holdout(load_dataset(config.data))
    errors = examine(config, training, holdout, processes=3).errors
    assert all(isinstance(error, ConfigError) for error in errors)
    assert [error.argument for error in errors] == ["train.head.batch", "train.finetune.batch"]
