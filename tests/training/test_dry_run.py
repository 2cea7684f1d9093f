"""What ``pvlr train --dry-run`` finds."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from pvlr_sdk.cli import app
from pvlr_sdk.errors import PvlrError
from pvlr_training.data.sources import is_held_out
from pvlr_training.train import train


def dry_run(config: Path, *overrides: str) -> str:
    text = io.StringIO()
    train(config, overrides, out=config.with_name("run"), dry_run=True, console=Console(file=text))
    return text.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("model.width=30", r"model\.width: expected a multiple of the 4 heads, got 30"),
        (
            "model.text.templates=['photo']",
            r"model\.text\.templates: expected a \{\} .* got 'photo'",
        ),
        ("model.backbone=test_eficientnet", r"model\.backbone: .* Did you mean test_efficientnet"),
        ("data.labels=[red,green,red]", r"data\.labels: expected unique labels, got 'red' twice"),
        ("train.init=nowhere", r"nowhere.model\.safetensors: expected a checkpoint"),
        (
            'model.text.names={"rde":"red"}',
            r"model\.text\.names: expected labels of data\.labels, got 'rde'",
        ),
        ("train.teacher.runs=[nowhere]", r"nowhere.model\.safetensors: expected a checkpoint"),
    ],
)
def test_a_setting_that_fits_nothing_is_named(write_config: Any, override: str, named: str) -> None:
    with pytest.raises(PvlrError, match=named):
        dry_run(write_config(), *override.split())


def test_braces_of_other_kinds_in_a_template_are_letters(write_config: Any) -> None:
    assert "million parameters" in dry_run(write_config(), "model.text.templates=['a {} {x} {']")


@pytest.mark.parametrize(
    "text", ["[]", '{"red": "a", "green": 3, "blue": "c"}', '{"red": "a"}', "no json"]
)
def test_descriptions_that_are_no_line_for_each_label(
    write_config: Any, tmp_path: Path, text: str
) -> None:
    (tmp_path / "lines.json").write_text(text)
    with pytest.raises(PvlrError, match=r"model\.text\.descriptions"):
        dry_run(write_config(), f"model.text.descriptions={tmp_path / 'lines.json'}")


def test_labels_that_cannot_be_told_apart_are_said(
    write_config: Any, photos: Path, tmp_path: Path
) -> None:
    """red is never absent; no held-out image has green; blue is correct."""
    header, *rows = (photos / "labels.csv").read_text().splitlines()
    changed = [header]
    for name, split, red, green, blue in (row.split(",") for row in rows):
        green = "-1" if is_held_out(name, 0.2) else green
        changed.append(f"{name},{split},{red.replace('-1', '')},{green},{blue}")
    (tmp_path / "labels.csv").write_text("\n".join(changed) + "\n")
    source = {"images": str(photos), "labels": str(tmp_path / "labels.csv"), "splits": ["train"]}
    said = dry_run(write_config(data={"sources": [source]}))
    assert "labels without a negative training image (-1): 'red'. " in said
    assert "labels without a positive held-out image: 'green'. " in said


def test_the_command_names_no_folder_that_it_does_not_write(
    write_config: Any, tmp_path: Path
) -> None:
    done = CliRunner().invoke(
        app, ["train", str(write_config()), "--dry-run", "--out", str(tmp_path / "run")]
    )
    assert (done.exit_code, done.stdout) == (0, "")
    assert "training images, " in done.stderr
