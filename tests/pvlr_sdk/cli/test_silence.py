"""Not one query leaves the machine: each command runs on a network that records every attempt (silent_network.py)."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[3]
RUNTIMES = ROOT / "pvlr_sdk" / "backends" / "runtimes.py"
SILENCED = ("openvino", "nncf", "onnxruntime")
NAMESPACES = ["unshare", "-rnm"]
PVLR = [sys.executable, "-c", "from pvlr_sdk.cli import main; main()"]
SERVE = """
import signal, subprocess, sys, time, urllib.request
server = subprocess.Popen([*sys.argv[1:], "serve", "--port", "18765"])
for _ in range(300):
    try:
        print(urllib.request.urlopen("http://127.0.0.1:18765/v1/labels", timeout=5).status)
        break
    except OSError:
        time.sleep(0.1)
server.send_signal(signal.SIGINT)
sys.exit(server.wait(30) not in (0, 130))
"""
TAGGER = "import pvlr_sdk; from pvlr_sdk import Tagger; print(Tagger())"


def in_silence(command: list[str], home: Path) -> dict[str, Any]:
    """Run a command with an empty home folder; skips where namespaces are not permitted."""
    probe = shutil.which("unshare") and shutil.which("ip")
    if (
        not probe
        or subprocess.run([*NAMESPACES, "ip", "link"], capture_output=True, check=False).returncode
    ):
        pytest.skip("namespaces for the network and mounts are not permitted here")
    home.mkdir(parents=True)
    own = ("XDG_", "PVLR_", "HF_", "TORCH_", "ORT_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    environment |= {"HOME": str(home), "PYTHONPATH": os.environ.get("PYTHONPATH", "") or str(ROOT)}
    # Two packages send nothing in continuous integration or under pytest, which a user's process is not.
    for name in [
        name
        for name in environment
        if name == "CI" or name.startswith(("GITHUB_", "PYTEST_", "NNCF_"))
    ]:
        del environment[name]
    helper = str(Path(__file__).with_name("silent_network.py"))
    done = subprocess.run(
        [*NAMESPACES, sys.executable, helper, *command],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def images(folder: Path) -> Path:
    """96 images with red, green or blue squares, in one folder per colour."""
    random = np.random.default_rng(0)
    for number in range(96):
        name, colour = [("red", (40, 40, 220)), ("green", (40, 200, 40)), ("blue", (220, 40, 40))][
            number % 3
        ]
        pixels = random.integers(90, 150, (64, 80, 3)).astype(np.uint8)
        top, left = random.integers(0, 30, 2)
        pixels[top : top + 30, left : left + 30] = colour
        (folder / name).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name / f"{number}.jpg"), pixels)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "what", ["tagger", "tag", "doctor", "build", "build-int8", "serve", "train"]
)
def test_no_command_uses_the_network(what: str, exported: Any, tmp_path: Path) -> None:
    folder = str(images(tmp_path / "photos"))
    build = [*PVLR, "build", str(exported.onnx), "-o", str(tmp_path / "made" / "engine.plan")]
    command = {
        "tagger": [sys.executable, "-c", TAGGER],
        "tag": [*PVLR, "tag", folder],
        "doctor": [*PVLR, "doctor"],
        "build": build,
        "build-int8": [
            *build,
            "--precision",
            "int8",
            "--calibration-images",
            folder,
            "--min-agreement",
            "0",
        ],
        "serve": [sys.executable, "-c", SERVE, *PVLR],
        "train": [
            *PVLR,
            "train",
            folder,
            "--quick",
            "-o",
            str(tmp_path / "run"),
            "--budget",
            "30s",
        ],
    }[what]
    if what == "build-int8":
        pytest.importorskip("nncf")
    if what == "train":
        pytest.importorskip("torch")
    # Not below pytest's own folder: its name would show in what the packages look for.
    with tempfile.TemporaryDirectory() as place:
        seen = in_silence(command, Path(place) / "home")
        kept = [
            str(path.relative_to(Path(place) / "home"))
            for path in Path(place).rglob("*")
            if path.is_file()
        ]
    assert seen["status"] == 0, seen["output"]
    assert seen["queries"] == []
    assert seen["addresses"] in (None, [])
    assert [path for path in kept if not path.startswith(".cache/pvlr_sdk/")] == []


@pytest.mark.slow
def test_the_recorder_sees_queries_and_addresses(tmp_path: Path) -> None:
    code = (
        "import socket, contextlib\n"
        "with contextlib.suppress(OSError): socket.create_connection(('telemetry.example', 443), 1)\n"
        "with contextlib.suppress(OSError): socket.create_connection(('192.0.2.7', 443), 1)\n"
    )
    seen = in_silence([sys.executable, "-c", code], tmp_path / "home")
    assert set(seen["queries"]) == {"telemetry.example"}
    assert seen["addresses"] in (None, ["192.0.2.7"])


def test_one_place_imports_what_has_telemetry() -> None:
    """Any other import would send their telemetry: also by a name in a string."""
    found = []
    for folder in ("pvlr_sdk", "training", "benchmarks", "models"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text()
            if path != RUNTIMES and any(name in text for name in SILENCED):
                found += [f"{path.relative_to(ROOT)}:{line}" for line in _imports(ast.parse(text))]
    assert found == []


def _imports(tree: ast.Module) -> list[int]:
    """The lines that import one of the packages, except for types only."""
    unread = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    lines = []
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        elif (
            isinstance(node, ast.Call)
            and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module"
        ):
            names = [
                arg.value
                for arg in node.args
                if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
            ]
        if node not in unread and any(name.split(".")[0] in SILENCED for name in names):
            lines.append(node.lineno)
    return lines
