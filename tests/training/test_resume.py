"""A run that is killed with SIGKILL and resumed ends with the same weights as an uninterrupted one."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from pvlr_sdk.errors import CheckpointError
from pvlr_training.config import load_config
from pvlr_training.data.images import load_dataset
from pvlr_training.state import read_progress
from pvlr_training.train import train

from .conftest import tiny_config

pytestmark = pytest.mark.slow

POINTS = {
    "step:3": "in the head's first epoch",
    "step:7": "in its second",
    "logged:2": "between the stages",
    "step:15": "in fine-tuning",
    "write:6": "half a state is on the disk",
    "rename:4": "a whole state is, under its temporary name",
    "rename:8": "the model is written, its JSON is not",
    "again:3": "again and again, until it came through",
}


@pytest.fixture(scope="module")
def config(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_config(photos)))
    return path


@pytest.fixture(scope="module")
def whole(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run: 2 epochs of the head and 3 of fine-tuning, 4 steps each."""
    return train(config, out=tmp_path_factory.mktemp("whole"), console=quiet())


@pytest.fixture(scope="module")
def killed(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("killed")
    subprocess.run(
        [sys.executable, Path(__file__).with_name("killed.py"), config, out, *POINTS], check=True
    )
    return out


def quiet() -> Console:
    return Console(file=io.StringIO())


def weights(folder: Path) -> bytes:
    """All bytes of the tensors, without the header, in which the training time differs."""
    data = (folder / "model.safetensors").read_bytes()
    return data[8 + int.from_bytes(data[:8], "little") :]


def losses(folder: Path) -> list[tuple[str, int, float]]:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [(row["stage"], row["epoch"], row["loss"]) for row in rows]


def test_what_the_state_depends_on_cannot_change_on_the_way(config: Path, killed: Path) -> None:
    out = killed / "step-15"
    for change in (
        "model.width=16",
        "data.holdout=0.3",
        "data.share=0.9",
        "train.seed=5",
        "train.balance=0.1",
        "train.finetune.batch=8",
    ):
        with pytest.raises(
            CheckpointError,
            match=f"the same {change.split('=')[0]}".replace("model.width", "model"),
        ):
            read_progress(out, load_config(config, [change]))
    progress = read_progress(
        out, load_config(config, ["train.finetune.lr=1e-4", "data.cache=none"])
    )
    assert (progress.stage, progress.epoch, progress.step) == ("finetune", 1, 2)


@pytest.mark.parametrize("point", POINTS)
def test_killed_and_resumed_ends_with_the_same_bytes(
    config: Path, whole: Path, killed: Path, tmp_path: Path, point: str
) -> None:
    out = Path(shutil.copytree(killed / point.replace(":", "-"), tmp_path / "run"))
    if not point.startswith("again"):
        assert (out / "state.safetensors").exists()
        train(config, ["train.save_every=0.0005"], out=out, resume=True, console=quiet())
    assert len(weights(out)) > 100_000
    assert weights(out) == weights(whole)
    assert losses(out) == losses(whole)
    assert not [
        path.name for path in out.iterdir() if "state" in path.name or path.suffix == ".tmp"
    ]


@pytest.fixture
def unfinished(killed: Path, tmp_path: Path) -> Path:
    """Killed in its second epoch of fine-tuning, after two of its four steps."""
    return Path(shutil.copytree(killed / "step-15", tmp_path / "run"))


def test_a_run_can_end_with_fewer_epochs_than_it_has(config: Path, unfinished: Path) -> None:
    train(config, ["train.finetune.epochs=1"], out=unfinished, resume=True, console=quiet())
    assert [(stage, epoch) for stage, epoch, _ in losses(unfinished)] == [
        ("head", 1),
        ("head", 2),
        ("finetune", 1),
    ]
    assert (unfinished / "model.safetensors").exists()


def test_an_epoch_begins_again_where_the_photos_are_others(config: Path, unfinished: Path) -> None:
    photos = load_dataset(load_config(config).data)
    console = quiet()
    # two steps per epoch: the run was killed after the last one
    few = photos.subset(list(range(50)))
    train(config, out=unfinished, resume=True, console=console, dataset=few)
    assert "restarting this epoch" in console.file.getvalue()
    assert [epoch for stage, epoch, _ in losses(unfinished) if stage == "finetune"] == [1, 2, 3]


def test_a_finished_run_is_left_as_it_is(config: Path, whole: Path) -> None:
    before = (whole / "model.safetensors").read_bytes()
    train(config, out=whole, resume=True, console=quiet())
    with pytest.raises(
        CheckpointError, match=r"expected a new folder, got a finished run\. Choose another"
    ):
        train(config, out=whole, console=quiet())
    assert (whole / "model.safetensors").read_bytes() == before
