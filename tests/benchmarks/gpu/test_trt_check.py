"""The check of TensorRT on a GPU: the whole command on the fakes in a clean environment, and a second start."""

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
        command = [
            "bash",
            script,
            tmp_path / "out",
            "--",
            "--model",
            network,
            "--seconds",
            "0.1",
            *options,
        ]
        done = subprocess.run(
            [*map(str, command)], env=clean, capture_output=True, text=True, check=False
        )
        path = tmp_path / "out/trt_check.json"
        return (
            done.returncode,
            json.loads(path.read_text()) if path.exists() else {},
            done.stdout + done.stderr,
        )

    return run


@pytest.mark.slow
def test_the_questions_are_answered_on_the_fakes(check, tmp_path):
    pytest.importorskip("nncf")
    photos = make_images(tmp_path / "photos", 40)[0].parent
    asked = [word for name in ANSWERS for word in ("--only", name)]
    status, report, output = check(*asked, "--photos", str(photos))
    assert {name: one["state"] for name, one in report["answers"].items()} == dict.fromkeys(
        ANSWERS, "pass"
    ), output
    assert status == 0
    assert report["about"]["name"] == "Fake Orin"
    assert report["answers"]["int8"]["data"]["conv_add"] == 1
    assert report["answers"]["stages"]["data"]["stages_ms"]["network alone"] == 1.5
    page = (tmp_path / "out/trt_check.md").read_text()
    assert (
        "| Does the fp16 plan keep the tags of fp32? | pass | 100.0 % of 20 images keep their tags"
        in page
    )
    status, again, _ = check("--only", "threads", "--photos", str(photos))
    assert {name for name in ANSWERS if again["answers"][name] != report["answers"][name]} <= {
        "threads"
    }


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
    status, report, output = check(
        "--only", "ahead", "--only", "fp16", tensorrt="raise ImportError('none')"
    )
    assert (status, report["answers"]["ahead"]["state"]) == (0, "pass"), output
    assert set(report["answers"]["ahead"]["data"]) >= {
        "fp16 1",
        "fp16 8",
        "fp16 1:1:8",
        "fp16 1:1:8 without maps",
    }
    assert report["answers"]["fp16"]["words"].startswith(
        "gpu: tensorrt: expected TensorRT 10.3 or newer"
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The questions that were asked; all but one pass, and there is a GPU without PyTorch."""
    names: list[str] = []

    def ask(question: trt_check.Question, *_: object) -> dict[str, Any]:
        names.append(question.name)
        if question.name == "pending":
            raise KeyboardInterrupt
        data = {"missing": {"torch": "no PyTorch"}, "about": {"name": "a GPU"}}
        return {
            "state": "fail" if question.name == "places" else "pass",
            "words": "seen",
            "data": data,
        }

    monkeypatch.setattr(trt_check, "_ask", ask)
    return names


def test_a_second_start_asks_what_is_open(asked, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        trt_check.main(out=tmp_path)
    assert asked == ["find_parts", "fp16", "graph", "places", "pixels", "pending"]
    report = json.loads((tmp_path / "trt_check.json").read_text())["answers"]
    assert report["tests"] == {"state": "not answered", "words": "torch: no PyTorch"}
    assert "pending" not in report
    del asked[:]
    with pytest.raises(KeyboardInterrupt):
        trt_check.main(out=tmp_path)
    assert asked == ["find_parts", "pending"]
    del asked[:]
    assert trt_check.main(out=tmp_path, only=["places"]) == 1
    assert asked == ["find_parts", "places"]
    del asked[:]
    trt_check.main(out=tmp_path, model="pvlr-lite0-open", only=["graph"])
    assert asked == ["find_parts"]  # answers of another model do not count: fp16 is open
    report = json.loads((tmp_path / "trt_check.json").read_text())["answers"]
    assert report == {"graph": {"state": "not answered", "words": "relies on the answer to fp16"}}


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
    assert {
        need for question in trt_check.QUESTIONS for need in question.needs if need in names
    } == {"fp16"}
