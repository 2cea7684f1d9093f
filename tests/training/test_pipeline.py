"""``pvlr train IMAGES LABELS``: one command from images to a verified plan and a report."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from pvlr_sdk import Tagger
from pvlr_sdk.bundle.label_bank import LabelBank
from pvlr_sdk.cli import app
from pvlr_sdk.errors import MissingPartError
from pvlr_training import pipeline
from pvlr_training import train as training
from pvlr_training.report.runs import read_runs
from pvlr_training.train import train

TINY = [
    "model.backbone=test_efficientnet",
    "model.pretrained=false",
    "model.width=32",
    "model.heads=4",
    "model.ffn=32",
    "model.text.encoder=random",
    "data.input.width=64",
    "data.input.height=64",
    "train.unfreeze_from=0",
    "train.ema=0.5",
    "train.head.epochs=1",
    "train.finetune.epochs=1",
]


@pytest.fixture
def listed(photos: Path, tmp_path: Path) -> Path:
    """The labels of ``photos`` as a list of tags with semicolons, with labels of two words and a bad row."""
    header, *rows = (photos / "labels.csv").read_text().splitlines()
    names = [f"{name} Fläche" for name in header.split(",")[2:]]
    lines = ["filename;tags", "nowhere.jpg;red Fläche"]
    for row in rows:
        file, _, *cells = row.split(",")
        lines.append(
            f"{file};{'|'.join(n for n, cell in zip(names, cells, strict=True) if cell == '1')}"
        )
    path = tmp_path / "tags.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.slow
def test_one_command_ends_with_a_plan_and_a_report(
    photos: Path, listed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    call = ["train", str(photos), str(listed), *TINY, "--prevalence", "0.2", "--out", str(run)]
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 0, done.output
    assert max(map(len, done.stderr.replace(str(tmp_path), "").splitlines())) <= 80
    assert "1 of 97 rows are skipped: no image 'nowhere.jpg'" in done.stderr
    assert " on 18 held-out images" in done.stdout
    assert "18 images are too few" in done.stdout
    assert "red Fläche 20.0 %, green Fläche 20.0 %, blue Fläche 20.0 %" in done.stdout
    assert set(json.loads((run / "prevalence.json").read_text()).values()) == {0.2}
    assert f"pvlr tag photo.jpg --plan {run / 'engine.plan'}" in done.stdout
    page = (run / "report.html").read_text()
    assert "Training report" in page
    assert "as stated: red Fläche 20.0 %" in page
    with Tagger(run / "engine.plan") as tagger:
        assert set(tagger.labels) == {"red Fläche", "green Fläche", "blue Fläche"}
        assert tagger.predict(photos / "0.png").tags is not None
    extra = json.loads((run / "model.json").read_text())
    assert extra["holdout"]["images"] == 18
    low, high = extra["holdout"]["mAP_interval"]
    assert low <= extra["holdout"]["mAP"] <= high

    # Thresholds of the plan carry over into later builds.
    labels = ["--images", str(photos), "--labels", str(run / "labels.csv"), "--split", "val"]
    done = CliRunner().invoke(
        app, ["thresholds", str(run / "engine.plan"), *labels, "--objective", "recall=0.9"]
    )
    assert done.exit_code == 0, done.output
    chosen = LabelBank.load(run / "engine.labels.safetensors").thresholds
    assert not (chosen == extra["thresholds"]).all()
    done = CliRunner().invoke(
        app, ["build", str(run / "model.onnx"), "--out", str(tmp_path / "other.plan")]
    )
    assert done.exit_code == 0, done.output
    assert (LabelBank.load(tmp_path / "other.labels.safetensors").thresholds == chosen).all()

    again = CliRunner().invoke(app, call)
    assert "expected a new folder, got a finished run" in str(again.exception)
    resumed = CliRunner().invoke(app, [*call, "--resume"])  # only what comes after training
    assert resumed.exit_code == 0, resumed.output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            ["photos", "a.csv", "b.csv"],
            "LABELS: expected one label file, got 2: a.csv, b.csv. Join them",
        ),
        (["photos", "--dry-run"], "--dry-run"),
        (["photos", "--budget", "soon"], "--budget: expected a time"),
        (["photos", "--budget", "2d"], "--budget: expected a time"),
        (["photos", "--budget", "0m"], "--budget: expected a time"),
        (
            ["tiny.yaml", "labels.csv"],
            "LABELS: expected a folder of images as the first argument, got CONFIG.yaml.",
        ),
        (["tiny.yaml", "--quick"], "--quick"),
        (["tiny.yaml", "--from", "imagenet"], "--from"),
        (
            ["photos", "--from", "pvlr-lite3"],
            "pvlr-lite3: expected a plan file, its folder or the name of a model",
        ),
        (["nowhere"], "expected a folder of images"),
    ],
)
def test_arguments_that_do_not_fit(tmp_path: Path, call: list[str], says: str) -> None:
    done = CliRunner().invoke(app, ["train", *call, "--out", str(tmp_path / "run")])
    assert done.exit_code != 0
    assert says in (done.stderr + str(done.exception))


@pytest.mark.slow
def test_images_and_labels_are_checked_before_pytorch_is_imported(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code = "import sys\nfrom pvlr_sdk.cli import main\ntry:\n    main()\nfinally:\n    print('torch' in sys.modules)"
    command = [
        sys.executable,
        "-c",
        code,
        "train",
        str(tmp_path / "empty"),
        "--out",
        str(tmp_path / "run"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "LabelsFileError" in done.stderr
    assert done.stdout == "False\n"


def test_a_package_that_is_missing_in_training_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise ModuleNotFoundError("No module named 'timm'", name="timm")

    monkeypatch.setattr(pipeline, "train_images", stop)
    done = CliRunner().invoke(app, ["train", str(tmp_path)])
    assert isinstance(done.exception, MissingPartError)
    assert "no module 'timm'" in str(done.exception)


@pytest.mark.parametrize(
    ("text", "minutes"), [("30m", 30), ("90s", 1.5), ("2h", 120), ("5", 5), ("1.5 min", 1.5)]
)
def test_a_budget_has_a_unit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, minutes: float
) -> None:
    given: dict[str, Any] = {}

    def stop(*_: Any, **options: Any) -> None:
        given.update(options)
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "train_images", stop)
    done = CliRunner().invoke(
        app, ["train", str(tmp_path), "--budget", text, "--out", str(tmp_path / "run")]
    )
    assert given["budget"] == minutes
    assert done.exit_code == 130
    assert "interrupted before anything was saved" in done.stderr


@pytest.mark.slow
def test_a_budget_is_kept(write_config: Any, tmp_path: Path) -> None:
    said = io.StringIO()
    many = {
        "head": {"epochs": 3000},
        "finetune": {"epochs": 3000, "backbone_lr": 1e-4},
        "budget": 0.1,
        "views": 2,
    }
    began = time.perf_counter()
    run = train(write_config(train=many), out=tmp_path / "run", console=Console(file=said))
    assert time.perf_counter() - began < 12
    assert "of at most 3000 epochs fit into the budget" in said.getvalue()
    epochs = [json.loads(line)["stage"] for line in (run / "log.jsonl").read_text().splitlines()]
    assert 0 < epochs.count("head") < 3000
    assert 0 < epochs.count("finetune") < 3000


@pytest.mark.slow
def test_an_interrupted_run_says_how_to_go_on(
    write_config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = training.evaluate.predict_logits

    def interrupt(*arguments: Any, **options: Any) -> Any:
        if (tmp_path / "run" / "state.safetensors").exists():
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(training.evaluate, "predict_logits", interrupt)
    done = CliRunner().invoke(app, ["train", str(write_config()), "--out", str(tmp_path / "run")])
    assert done.exit_code == 130
    assert f"{tmp_path / 'run'} keeps the training up to head epoch 1." in done.stderr
    assert "--resume" in done.stderr


@pytest.mark.slow
def test_the_deadline_limits_the_views(write_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from pvlr_training.config import load_config
    from pvlr_training.data.augmentation import Views
    from pvlr_training.data.features import cache_features
    from pvlr_training.data.images import load_dataset
    from pvlr_training.machine import Machine
    from pvlr_training.model.backbone import Backbone

    config = load_config(write_config())
    dataset = load_dataset(config.data).subset(list(range(8)))
    given = (
        Backbone("test_efficientnet", False),
        dataset,
        Views(config.data, 0),
        3,
        Machine("fp32"),
        lambda _: None,
    )
    assert len(cache_features(*given, math.inf)) == 3
    assert len(cache_features(*given, 0.0)) == 1


@pytest.mark.slow
def test_one_parameter_count(write_config: Any, tmp_path: Path) -> None:
    said = io.StringIO()
    few = {"head": {"epochs": 1, "batch": 16}, "finetune": {"epochs": 0}}
    train(write_config(train=few), out=tmp_path / "run", dry_run=True, console=Console(file=said))
    run = train(write_config(train=few), out=tmp_path / "run", console=Console(file=io.StringIO()))
    assert f"{read_runs([run])[0].parameters / 1e6:.2f} million parameters" in said.getvalue()
