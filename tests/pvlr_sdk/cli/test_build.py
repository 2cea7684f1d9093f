"""``pvlr build`` on OpenVINO and TensorRT, ``pvlr info`` and ``pvlr labels`` of its plan, progress bars."""

from __future__ import annotations

import json
import sys

import pytest
from typer.testing import CliRunner

from pvlr_sdk import Tagger, errors
from pvlr_sdk.cli import app
from pvlr_sdk.cli.screen import Phases


@pytest.mark.slow
def test_build_info_and_labels(pvlr, exported, tmp_path):
    plan = tmp_path / "new" / "my.plan"
    built = pvlr("build", exported.onnx, "--out", plan, "--precision", "fp32", "--json")
    assert (built.code, built.err) == (0, "")
    facts = json.loads(pvlr("info", plan, "--json").out)
    assert json.loads(built.out) == facts
    assert (facts["name"], facts["precision"], facts["plan"]) == ("tiny", "fp32", str(plan))
    with Tagger(plan) as tagger:
        assert tagger.info["precision"] == "fp32"
        labels = json.loads(pvlr("labels", plan, "--json").out)
        assert [label["label"] for label in labels] == tagger.labels
        assert [
            line.split("\t")[0] for line in pvlr("labels", plan).out.splitlines()
        ] == tagger.labels
    text = pvlr("info", plan).out
    assert "tiny" in text
    assert "verified" in text


def test_build_from_what_is_no_network(pvlr, tmp_path, exported):
    (tmp_path / "model.onnx").write_text("no network")
    done = pvlr(
        "build", tmp_path / "model.onnx", "--bank", exported.onnx.with_suffix(".labels.safetensors")
    )
    assert (done.code, done.out) == (2, "")
    assert "ModelError" in done.err
    assert not (tmp_path / "engine.plan").exists()


def test_on_the_command_line(trt, exported, tmp_path, capsys):
    out = tmp_path / "engine.plan"
    command = [
        str(exported.onnx),
        "-o",
        str(out),
        "--device",
        "tensorrt",
        "--attention",
        "native",
        "--batch",
        "1:2:4",
    ]
    result = CliRunner().invoke(app, ["build", *command, "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["tensorrt"]["batch"] == [1, 2, 4]
    result = CliRunner().invoke(app, ["build", *command, "--batch", "4:2"])
    assert isinstance(result.exception, errors.OptionError)
    trt.world.dla_cores = 1
    result = CliRunner().invoke(app, ["build", *command[:-2], "--dla", "0", "--json"])
    assert json.loads(result.stdout)["tensorrt"]["batch"] == [1, 1, 1]


def test_bars_come_and_go(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Phases() as phases:
        phases.begin("Building", None, 2)
        phases.begin("Timing", "Building", 5)
        phases.step("Timing", 3)
        bars = {task.description: (task.completed, task.total) for task in phases._bars.tasks}
        assert bars == {"Building": (0, 2), "  Timing": (3, 5)}
        phases.end("Timing")
        phases.end("Timing")  # TensorRT may report it twice
        phases.end("Building")
        assert not phases._bars.tasks
