"""Failures during training raise specific errors, and the last state is kept."""

from __future__ import annotations

import io
import json
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from pvlr_sdk.errors import ConfigError, LabelsFileError, LossError, OutputError
from pvlr_training import loop
from pvlr_training.data import features
from pvlr_training.data.sources import is_held_out
from pvlr_training.train import train


def screen() -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text), text


def copy_photos(photos: Path, folder: Path, count: int = 96) -> Path:
    folder.mkdir()
    for number in range(count):
        (folder / f"{number}.png").write_bytes((photos / f"{number}.png").read_bytes())
    (folder / "labels.csv").write_text((photos / "labels.csv").read_text())
    return folder


def source(folder: Path) -> dict[str, Any]:
    return {"images": str(folder), "labels": str(folder / "labels.csv"), "splits": ["train"]}


@pytest.mark.slow
def test_a_loss_that_is_not_finite_keeps_its_batch_and_the_last_sound_state(
    write_config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(write_config(), out=tmp_path / "whole", console=screen()[0])
    compute, calls = loop.StageLoss.forward, []

    def spoil(self: Any, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        calls.append(True)
        return compute(self, inputs, targets) * (float("nan") if len(calls) == 7 else 1.0)

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(loop.StageLoss, "forward", spoil)
        with pytest.raises(
            LossError, match=r"loss: .* got NaN at step 3 of head epoch 2, images '\d+\.png'"
        ) as caught:
            train(write_config(), ["train.save_every=0"], out=out, console=screen()[0])
    assert str(out / "nonfinite.safetensors") in caught.value.hint
    assert "train.head.lr or train.grad_clip and add --resume" in caught.value.hint
    batch, details = (
        load_file(out / "nonfinite.safetensors"),
        json.loads((out / "nonfinite.json").read_text()),
    )
    assert len(batch["inputs"]) == len(batch["targets"]) == len(details["files"]) == 16
    assert (details["stage"], details["epoch"], details["step"], details["loss"]) == (
        "head",
        2,
        3,
        "nan",
    )
    assert details["rates"][0] > 0
    rows = {
        line.split(",")[0]: line
        for line in Path(config_labels(write_config)).read_text().splitlines()
    }
    for name, target in zip(details["files"], batch["targets"].tolist(), strict=True):
        assert rows[name] == f"{name},train," + ",".join(map(str, target))
    # Without the cause (a lower rate, a repaired image) the run continues with identical results.
    train(write_config(), out=out, resume=True, console=screen()[0])
    weights, others = load_file(whole / "model.safetensors"), load_file(out / "model.safetensors")
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def config_labels(write_config: Any) -> str:
    from pvlr_training.config import load_config

    return str(load_config(write_config()).data.sources[0].labels)


@pytest.mark.slow
def test_a_gradient_that_is_not_finite_stops_before_it_spoils_the_weights(
    write_config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = loop.StageLoss.forward

    def infinite_slope(self: Any, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        loss = compute(self, inputs, targets)
        # a finite value with the gradient 1 / 0
        return loss.detach() + (loss - loss.detach()).sqrt()

    monkeypatch.setattr(loop.StageLoss, "forward", infinite_slope)
    with pytest.raises(
        LossError, match=r"gradient: .* at step 1 of head epoch 1.* start again: no state"
    ):
        train(write_config(), out=tmp_path / "run", console=screen()[0])


@pytest.mark.slow
def test_a_full_disk_leaves_the_state_before_it(
    write_config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel refuses to write files of more than 10 kB while the fifth state is saved."""
    whole = train(write_config(), out=tmp_path / "whole", console=screen()[0])
    save, states = loop.save_state, []
    out = tmp_path / "run"

    def save_on_a_full_disk(*arguments: Any) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        if len(states) == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
        try:
            save(*arguments)
            states.append((out / "state.safetensors").read_bytes())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_state", save_on_a_full_disk)
        with pytest.raises(
            OutputError, match=r"state\.safetensors: .*Free some space and add --resume"
        ):
            train(write_config(), ["train.save_every=0"], out=out, console=screen()[0])
    assert (out / "state.safetensors").read_bytes() == states[3]
    assert not list(out.glob(".*.tmp"))
    train(write_config(), out=out, resume=True, console=screen()[0])
    weights, others = load_file(whole / "model.safetensors"), load_file(out / "model.safetensors")
    assert all(torch.equal(weights[name], others[name]) for name in weights)


@pytest.mark.slow
def test_a_photo_that_breaks_in_the_middle_is_skipped_and_named(
    write_config: Any, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_photos(photos, tmp_path / "copy")
    epoch = loop.StageLoop._epoch

    def break_a_photo(self: loop.StageLoop, features: Any) -> None:
        if (self.stage, self.progress.epoch) == ("finetune", 1):
            for name in ("11.png", "12.png"):
                (folder / name).write_bytes((photos / name).read_bytes()[:200])
        epoch(self, features)

    monkeypatch.setattr(loop.StageLoop, "_epoch", break_a_photo)
    console, text = screen()
    config = write_config(data={"sources": [source(folder)], "cache": "none"})
    out = train(config, out=tmp_path / "run", console=console)
    assert len((out / "log.jsonl").read_text().splitlines()) == 5
    named = [str(folder / "11.png"), str(folder / "12.png")]
    assert json.loads((out / "model.json").read_text())["skipped"] == named
    assert f"skipped images: {', '.join(map(repr, named))}" in text.getvalue()


def test_everything_wrong_with_the_data_is_said_at_once(
    write_config: Any, photos: Path, tmp_path: Path
) -> None:
    folder = copy_photos(photos, tmp_path / "copy", 40)
    (folder / "7.png").write_text("no picture")
    header, *rows = (photos / "labels.csv").read_text().splitlines()
    rows = [f"{row},-1,1" for row in rows[:42]]  # 40.png and 41.png do not exist
    (folder / "labels.csv").write_text("\n".join([f"{header},grey,pink", *rows]) + "\n")
    labels = ["red", "green", "blue", "grey", "rde"]
    console, text = screen()
    config = write_config(data={"sources": [source(folder)], "labels": labels})
    with pytest.raises(LabelsFileError, match=r"data\.labels: .* got 'rde'\. Label some images"):
        train(config, ["train.head.batch=64"], out=tmp_path / "run", dry_run=True, console=console)
    said = text.getvalue()
    for name in ("7.png", "40.png", "41.png"):
        assert str(folder / name) in said
    assert "labels without a positive training image: 'grey'" in said
    assert "unused columns of the labels CSV: 'pink'" in said
    assert "train.head.batch: expected at most" in said
    assert "million parameters" in said
    assert not (tmp_path / "run").exists()


def test_a_misspelt_label_is_suggested(write_config: Any, tmp_path: Path) -> None:
    config = write_config(data={"labels": ["red", "gren", "blue"]})
    with pytest.raises(LabelsFileError, match=r"got 'gren'\. Did you mean 'green'"):
        train(config, out=tmp_path / "run", console=screen()[0])


def test_nothing_held_out_is_an_error(write_config: Any, photos: Path, tmp_path: Path) -> None:
    folder = copy_photos(photos, tmp_path / "copy", 4)
    (folder / "labels.csv").write_text(
        "\n".join((photos / "labels.csv").read_text().splitlines()[:5]) + "\n"
    )
    config = write_config(data={"sources": [source(folder)], "holdout": 0.01})
    with pytest.raises(ConfigError, match=r"data\.holdout: .* holds out none"):
        train(
            config,
            ["train.head.batch=2", "train.finetune.batch=2"],
            out=tmp_path / "run",
            console=screen()[0],
        )


def test_a_held_out_split_of_damaged_images_is_an_error_with_their_reasons(
    write_config: Any, photos: Path, tmp_path: Path
) -> None:
    folder = copy_photos(photos, tmp_path / "copy", 12)
    lines = (photos / "labels.csv").read_text().splitlines()[:13]
    rows = [line.split(",") for line in lines]
    for number, row in enumerate(rows[1:]):
        row[1] = "train" if number > 1 else "val"
        if number <= 1:
            (folder / row[0]).write_text("broken")
    (folder / "labels.csv").write_text("\n".join(map(",".join, rows)) + "\n")
    sources = [{**source(folder), "splits": []}]
    config, (console, text) = write_config(data={"sources": sources, "holdout": "val"}), screen()
    with pytest.raises(
        ConfigError,
        match=r"data\.holdout: .* holds out none of 10\. Check the images of that split",
    ):
        train(
            config,
            ["train.head.batch=2", "train.finetune.batch=2"],
            out=tmp_path / "run",
            console=console,
        )
    assert f"{rows[1][0]} (" in text.getvalue()


def test_a_label_of_a_configuration_that_no_bundle_can_have(
    write_config: Any, tmp_path: Path
) -> None:
    config = write_config(data={"labels": ["red", "x" * 1001]})
    with pytest.raises(
        ConfigError, match=r"data\.labels: expected label names of 1 to 1000 characters"
    ):
        train(config, out=tmp_path / "run", console=screen()[0])


@pytest.mark.slow
def test_features_that_would_not_fit_are_refused_before_the_kernel_kills(
    write_config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "available_memory", lambda: 10_000)
    with pytest.raises(ConfigError, match=r"train\.views: .* got 2 views of \d+ images"):
        train(write_config(), out=tmp_path / "run", console=screen()[0])


@pytest.mark.slow
def test_figures_that_nobody_can_know_are_null(
    write_config: Any, photos: Path, tmp_path: Path
) -> None:
    """NaN is not valid JSON."""
    rows = [line.split(",") for line in (photos / "labels.csv").read_text().splitlines()]
    blank = [[name, split, *("-1" for _ in labels)] for name, split, *labels in rows]
    kept = [
        row if number == 0 or not is_held_out(row[0], 0.2) else blank[number]
        for number, row in enumerate(rows)
    ]
    (tmp_path / "labels.csv").write_text("\n".join(map(",".join, kept)) + "\n")
    sources = [{**source(photos), "labels": str(tmp_path / "labels.csv")}]
    stages = [f"train.{stage}.epochs=1" for stage in ("head", "finetune")]
    run = train(
        write_config(data={"sources": sources}), stages, out=tmp_path / "run", console=screen()[0]
    )
    data = json.loads((run / "model.json").read_text(), parse_constant=pytest.fail)
    assert data["holdout"]["mAP"] is None
