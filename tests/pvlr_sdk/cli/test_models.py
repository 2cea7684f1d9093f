"""``pvlr models``, and models by name in the other commands."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from pvlr_sdk.models import catalogue as module
from pvlr_sdk.models.catalogue import catalogue

ROOT = Path(__file__).parents[3]
NAME = "pvlr-lite0-open"
PLAN = ROOT / "models" / NAME / "engine.plan"


@pytest.fixture
def only_the_wheel(monkeypatch, tmp_path):
    """The package without its checkout, and an empty cache."""
    catalogue()
    (tmp_path / "lib/pvlr_sdk").mkdir(parents=True)
    (tmp_path / "lib/pvlr_sdk/models").symlink_to(ROOT / "pvlr_sdk/models")
    monkeypatch.setattr(module, "PACKAGE", tmp_path / "lib/pvlr_sdk")
    monkeypatch.setenv("PVLR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def test_list(pvlr, only_the_wheel, monkeypatch):
    done = pvlr("models")
    lines = [line.split() for line in done.out.splitlines()]
    assert lines[0] == [
        "Model",
        "Labels",
        "Input",
        "MB",
        "mAP",
        "Trained",
        "on",
        "Licence",
        "Where",
    ]
    assert (
        " ".join(lines[1]) == "pvlr-lite2-open 80 COCO 288 10.5 70.3 COCO + VOC Apache-2.0 bundled"
    )
    assert [line[-1] for line in lines[2:]] == ["absent"] * 2
    assert "an absent model is in models/ of a clone" in done.err
    monkeypatch.setenv("PVLR_MODELS_URL", "http://127.0.0.1:9")
    assert "pvlr models fetch NAME" in pvlr("models").err
    found = json.loads(pvlr("models", "--json").out)
    assert [(model["where"], bool(model["plan"])) for model in found] == [("bundled", True)] + [
        ("absent", False)
    ] * 2
    assert found[0]["accuracy"][0] == {"data": "COCO testdev", "images": 539, "mAP": 70.281}
    assert found[0]["bytes"] == sum(file["bytes"] for file in found[0]["files"].values())


@pytest.mark.slow
def test_list_fits_80_columns():
    """On a terminal of 80 columns each model has one line."""
    primary, secondary = pty.openpty()
    code = "from pvlr_sdk.cli import main; main()"
    environment = {**os.environ, "COLUMNS": "80", "TERM": "dumb"}
    subprocess.run(
        [sys.executable, "-c", code, "models"],
        stdout=secondary,
        stderr=secondary,
        check=True,
        env=environment,
    )
    os.close(secondary)
    lines = os.read(primary, 10_000).decode().splitlines()
    os.close(primary)
    assert len(lines) == 4
    assert max(map(len, lines)) <= 80


def test_fetch(pvlr, only_the_wheel, monkeypatch):
    done = pvlr("models", "fetch", "pvlr-lite2-open")
    assert done == (0, f"{module.PACKAGE / 'models/pvlr-lite2-open/engine.plan'}\n", "")
    assert "Did you mean pvlr-lite0-open" in pvlr("models", "fetch", "pvlr-lite0-coco80").err
    monkeypatch.setenv("PVLR_MODELS_URL", "http://127.0.0.1:9")
    done = pvlr("models", "fetch", NAME)
    assert (done.code, done.out) == (2, "")
    assert "DownloadError: http://127.0.0.1:9/pvlr-lite0-open" in done.err
    assert f"pvlr models fetch {NAME}" in pvlr("info", NAME).err


@pytest.mark.slow
def test_commands_take_a_name_or_a_folder(pvlr):
    for plan in (NAME, PLAN.parent):
        assert json.loads(pvlr("info", plan, "--json").out)["plan"] == str(PLAN)
        assert "person" in pvlr("labels", plan).out
    assert json.loads(pvlr("doctor", NAME, "--json").out)["plan"]["path"] == str(PLAN)
    done = pvlr("tag", ROOT / "docs/images/chelsea.jpg", "--plan", NAME)
    assert ": cat " in done.out
    done = pvlr("watch", "--check", "0", "--plan", NAME)
    assert (done.code, "80 labels" in done.err) == (0, True)


@pytest.mark.slow
def test_thresholds_of_a_shared_model_are_not_changed(pvlr, tmp_path):
    before = PLAN.with_suffix(".json").read_bytes()
    done = pvlr(
        "thresholds", NAME, "--images", ROOT / "docs/images", "--labels", tmp_path / "labels.csv"
    )
    assert done.code == 2
    assert f"cp -r {PLAN.parent} my-{NAME}" in done.err
    (tmp_path / "labels.csv").write_text("file,cat\nchelsea.jpg,1\ncoffee.jpg,-1\n")
    arguments = (
        "--images",
        ROOT / "docs/images",
        "--labels",
        tmp_path / "labels.csv",
        "--dry-run",
        "--json",
    )
    assert json.loads(pvlr("thresholds", NAME, *arguments).out)["written"] is False
    assert PLAN.with_suffix(".json").read_bytes() == before


@pytest.mark.slow
def test_a_build_from_a_name_writes_to_the_working_directory(pvlr, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = pvlr("build", NAME, "--precision", "fp32", "--json")
    assert done.code == 0
    assert json.loads(done.out)["plan"] == "engine.plan"
    assert (tmp_path / "engine.plan").read_bytes() == PLAN.read_bytes()
    assert "ModelError" in pvlr("build", "nope.onnx").err
