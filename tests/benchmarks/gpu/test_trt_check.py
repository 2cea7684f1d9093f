"""The check of TensorRT on a GPU: the whole command on the fakes in a clean environment, and its budget."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.common import ROOT
from benchmarks.gpu import trt_check
from tests.benchmarks.photos import make_images
from tests.pvlr_sdk.conftest import NAMES, _network

FAKES = "import tests.pvlr_sdk.fakes.installed\n"
ANSWERS = (
    "fp16", "graph", "places", "pixels", "pending", "memory", "threads", "illegal", "int8", "batch", "contexts",
    "stages",
)  # fmt: skip


@pytest.fixture
def check(tmp_path: Path) -> Callable[..., tuple[int, dict[str, Any], str]]:
    """Runs the script with nothing of this process's environment; returns its status, its JSON and its output."""

    network = _network(tmp_path / "tiny", names=NAMES, seed=0, spec=None).onnx

    def run(*options: str, tensorrt: str = FAKES) -> tuple[int, dict[str, Any], str]:
        installed = tmp_path / "installed"
        installed.mkdir(exist_ok=True)
        (installed / "tensorrt.py").write_text(tensorrt)
        clean = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "PYTHONPATH": str(installed),
            "PYTHON": sys.executable,
        }
        script = ROOT / "benchmarks/gpu/trt_check.sh"
        command = ["bash", script, tmp_path / "out", "--", "--model", network, "--seconds", "0.1", *options]
        done = subprocess.run([*map(str, command)], env=clean, capture_output=True, text=True, check=False)
        path = tmp_path / "out/trt_check.json"
        return done.returncode, json.loads(path.read_text()) if path.exists() else {}, done.stdout + done.stderr

    return run


@pytest.mark.slow
def test_the_questions_are_answered_on_the_fakes(check, tmp_path):
    pytest.importorskip("nncf")
    photos = make_images(tmp_path / "photos", 40)[0].parent
    asked = [word for name in ANSWERS for word in ("--only", name)]
    status, report, output = check(*asked, "--photos", str(photos))
    assert {name: one["state"] for name, one in report["answers"].items()} == dict.fromkeys(ANSWERS, "pass"), output
    assert status == 0
    assert report["about"]["name"] == "Fake Orin"
    assert report["answers"]["int8"]["data"]["conv_add"] == 1
    assert report["answers"]["stages"]["data"]["stages_ms"]["network alone"] == 1.5
    page = (tmp_path / "out/trt_check.md").read_text()
    assert "| Does the fp16 plan keep the tags of fp32? | pass | 100.0 % of 20 images keep their tags" in page
    status, again, _ = check("--budget", "0", "--photos", str(photos))
    assert all(again["answers"][name] == report["answers"][name] for name in ANSWERS)
    assert again["answers"]["models"]["words"].endswith("minutes; 0 are left")


@pytest.mark.slow
def test_a_process_that_ends_badly_and_a_fault_are_answers(check):
    ends = "import atexit, os, sys\nif sys.argv[-1] == 'fp16': atexit.register(os._exit, 7)"
    status, report, output = check("--only", "fp16", tensorrt=FAKES + ends)
    words = report["answers"]["fp16"]["words"]
    assert (status, report["answers"]["fp16"]["state"]) == (1, "fail"), output
    assert "keep their tags" in words
    assert "status 7" in words
    wrong = "import fake_tensorrt; fake_tensorrt.world.capture_error = 900"
    status, report, output = check("--only", "fp16", "--only", "graph", tensorrt=FAKES + wrong)
    assert status == 1, output
    assert "900" in report["answers"]["graph"]["words"]
    assert report["answers"]["fp16"]["state"] == "pass"


@pytest.mark.slow
def test_tensorrt_rtx_builds_ahead_of_time(check):
    pytest.importorskip("tensorrt_rtx")
    status, report, output = check("--only", "ahead", "--only", "fp16", tensorrt="raise ImportError('none')")
    assert (status, report["answers"]["ahead"]["state"]) == (0, "pass"), output
    assert set(report["answers"]["ahead"]["data"]) >= {"fp16 1", "fp16 8", "fp16 1:1:8", "fp16 1:1:8 without maps"}
    assert report["answers"]["fp16"]["words"].startswith("gpu: tensorrt: expected TensorRT 10.3 or newer")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The questions that were asked; all pass in two minutes of the clock, and there is a GPU without PyTorch."""
    names: list[str] = []
    now = [0.0]
    monkeypatch.setattr(trt_check.time, "monotonic", lambda: now[0])

    def ask(question: trt_check.Question, *_: object) -> dict[str, Any]:
        now[0] += 120.0
        names.append(question.name)
        data = {"missing": {"torch": "no PyTorch"}, "about": {"name": "a GPU"}}
        return {"state": "fail" if question.name == "places" else "pass", "words": "seen", "minutes": 2.0, "data": data}

    monkeypatch.setattr(trt_check, "_ask", ask)
    return names


def test_a_second_start_asks_what_is_open_and_the_budget_counts_builds(asked, tmp_path):
    assert trt_check.main(out=tmp_path, budget=10.5) == 1  # places failed
    # fp16 took two minutes, so that is a build; int8 has one, and 4 minutes of its own.
    assert asked == ["find_parts", "fp16", "graph", "places", "pixels"]
    report = json.loads((tmp_path / "trt_check.json").read_text())["answers"]
    assert report["tests"] == {"state": "not answered", "words": "torch: no PyTorch"}
    assert report["int8"]["words"] == "needs about 6 minutes; 0 are left"
    del asked[:]
    trt_check.main(out=tmp_path, quick=True)
    assert asked[:3] == ["find_parts", "pending", "memory"]
    assert not {"fp16", "graph", "places"} & set(asked)
    del asked[:]
    trt_check.main(out=tmp_path, only=["places"])
    assert asked == ["find_parts", "places"]
    del asked[:]
    trt_check.main(out=tmp_path, model="pvlr-lite0-coco80", only=["graph"])
    assert asked == ["find_parts"]  # answers of another model do not count: fp16 is open
    report = json.loads((tmp_path / "trt_check.json").read_text())["answers"]
    assert report == {"graph": {"state": "not answered", "words": "relies on the answer to fp16"}}


def test_the_steps_have_estimates_from_their_builds(capsys):
    assert trt_check.main(steps=True) == 0
    rows = [line.strip("|").split("|") for line in capsys.readouterr().out.splitlines() if "?" in line]
    assert [int(row[1]) for row in rows] == [question.builds for question in trt_check.QUESTIONS]
    assert [int(cell) for cell in rows[2][1:]] == [1, 6, 11]  # a build of five minutes, after two steps without
    assert int(rows[-1][3]) == sum(int(row[2]) for row in rows)


def test_without_anything_to_check_it_says_so(monkeypatch, tmp_path, capsys):
    missing = {"gpu": "install TensorRT", "rtx": "none", "torch": "none"}
    parts = {"state": "pass", "words": "", "data": {"missing": missing, "about": {}}}
    monkeypatch.setattr(trt_check, "_ask", lambda *_: parts)
    assert trt_check.main(out=tmp_path) == 3
    assert "trt_check: install TensorRT" in capsys.readouterr().err


def test_names_and_questions_are_complete():
    names = [question.name for question in trt_check.QUESTIONS]
    assert len(set(names)) == len(names)
    assert all(question.text.endswith("?") for question in trt_check.QUESTIONS)
    assert {need for question in trt_check.QUESTIONS for need in question.needs if need in names} == {"fp16"}
