"""The log of a run: log.jsonl, TensorBoard curves, progress bar."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pvlr_training import logs
from pvlr_training.logs import RunLog


def row(stage: str, epoch: int, **figures: float) -> dict[str, Any]:
    return {
        "stage": stage,
        "epoch": epoch,
        "loss": 0.5 / epoch,
        "seconds": 7,
        "lr": 1e-3,
        **figures,
    }


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    event_accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    events = event_accumulator.EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {
        tag: [(e.step, round(e.value, 4)) for e in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO())


def test_epochs_and_steps_are_logged(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_SECONDS_BETWEEN_POINTS", 0.0)
    log = RunLog(tmp_path, console)
    log.open([], 0)
    log.step({"loss/batch": 1.0, "rate/head": 0.25}, 1)
    log.step({"loss/batch": 0.5, "rate/head": 0.5}, 2)
    log.epoch(row("head", 1, holdout_mAP=float("nan")), 2, 3)
    log.epoch(row("head", 2, holdout_mAP=61.5), 4, 3)
    log.close()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines == [{**row("head", 1), "holdout_mAP": None}, row("head", 2, holdout_mAP=61.5)]
    assert curves(tmp_path) == {
        "loss/batch": [(1, 1.0), (2, 0.5)],
        "rate/head": [(1, 0.25), (2, 0.5)],
        "loss/epoch": [(2, 0.5), (4, 0.25)],
        "holdout_mAP": [(4, 61.5)],
    }
    assert "head 2/3  loss 0.25  7 s" in console.file.getvalue()


def test_a_resumed_run_drops_what_a_killed_one_logged_after_its_last_state(
    tmp_path: Path, console: Console
) -> None:
    killed = RunLog(tmp_path, console)
    killed.open([], 0)
    for epoch, step in ((1, 10), (2, 20), (3, 30)):
        killed.epoch(row("head", epoch), step, 3)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"stage": "head", "epo')  # killed while writing
    killed.close()
    resumed = RunLog(tmp_path, console)
    resumed.open([("head", 1), ("head", 2)], 20)
    resumed.epoch(row("head", 3, holdout_mAP=9.0), 30, 3)
    resumed.close()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines == [row("head", 1), row("head", 2), row("head", 3, holdout_mAP=9.0)]
    assert [step for step, _ in curves(tmp_path)["loss/epoch"]] == [10, 20, 30]


def test_the_other_processes_write_and_say_nothing(tmp_path: Path, console: Console) -> None:
    log = RunLog(tmp_path, console, quiet=True)
    log.open([], 0)
    log.epoch(row("head", 1), 10, 3)
    log.warn("something")
    log.close()
    assert console.file.getvalue() == ""
    assert list(tmp_path.iterdir()) == []


def test_without_tensorboard_the_rest_is_logged(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    log = RunLog(tmp_path, console)
    log.open([], 0)
    log.epoch(row("head", 1), 10, 3)
    assert "pip install" in console.file.getvalue()
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_curves_that_cannot_be_written_stop_no_training(tmp_path: Path, console: Console) -> None:
    (tmp_path / "tensorboard").write_text("a file where the folder should be")
    log = RunLog(tmp_path, console)
    log.open([], 0)
    log.epoch(row("head", 1), 10, 3)
    assert "No TensorBoard curves" in console.file.getvalue()
    assert "head 1/3" in console.file.getvalue()


def test_brackets_in_names_are_shown(tmp_path: Path, console: Console) -> None:
    RunLog(tmp_path, console).say("images per label: [red] 3")
    assert console.file.getvalue() == "images per label: [red] 3\n"


def test_the_bar_shows_figures_and_the_time_left(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with RunLog(tmp_path, console).bar(100, done=40) as bar:
        bar(10, "head 1/2", "loss 0.123  17 images/s")
    text = console.file.getvalue()
    assert "head 1/2" in text
    assert "50/100" in text
    assert "loss 0.123  17 images/s" in text
    assert ":" in text.rsplit("images/s", 1)[1]  # the time left
