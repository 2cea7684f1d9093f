"""Builds and installs the plugin once, and runs pipelines with it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[3]
SYSTEM_PYTHON = "/usr/bin/python3"
MODULES = ("gstreamer-1.0 >= 1.20.3", "gstreamer-video-1.0", "nlohmann_json", "libcrypto", "libpng")


class Plugin(NamedTuple):
    """Where the plugin is installed, and the environment in which GStreamer finds it."""

    prefix: Path
    environment: dict[str, str]

    def run(self, *pipelines: str) -> list[dict[str, Any]]:
        """What happens in pipelines whose sink is named ``sink``; see run_pipelines.py."""
        command = [SYSTEM_PYTHON, "-W", "ignore", Path(__file__).parent / "run_pipelines.py", *pipelines]
        done = self._run(command)
        assert done.returncode == 0, done.stderr[-4000:]
        results = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(results) == len(pipelines), done.stdout[-4000:] + done.stderr[-4000:]
        return results

    def launch(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """What gst-launch-1.0 prints."""
        return self._run(["gst-launch-1.0", *arguments], **variables)

    def _run(self, command: list[Any], **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**self.environment, **variables}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def _missing() -> str | None:
    """What the build or the tests lack."""
    for tool in ("cmake", "c++", "pkg-config", "gst-launch-1.0"):
        if not shutil.which(tool):
            return tool
    for module in MODULES:
        if subprocess.run(["pkg-config", "--exists", module], check=False).returncode:
            return f"development files of {module}"
    if importlib.util.find_spec("openvino") is None:
        return "openvino, whose package has the headers"
    bindings = "import gi; gi.require_version('Gst', '1.0')"
    if subprocess.run([SYSTEM_PYTHON, "-c", bindings], capture_output=True, check=False).returncode:
        return "Python bindings of GStreamer"
    return None


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Plugin:
    """The plugin as it is installed."""
    if missing := _missing():
        pytest.skip(f"no {missing} on this machine; .ci/run lists the Debian packages")
    folder = tmp_path_factory.mktemp("gstreamer")
    build, prefix = folder / "build", folder / "prefix"
    ninja = ["-GNinja"] if shutil.which("ninja") else []
    options = ["-DPVLR_GSTREAMER=ON", "-DPVLR_PYTHON=OFF", "-DPVLR_WERROR=ON", f"-DPython3_EXECUTABLE={sys.executable}"]
    for command in (
        ["-S", ROOT, "-B", build, *ninja, *options, f"-DCMAKE_INSTALL_PREFIX={prefix}", "-DCMAKE_INSTALL_LIBDIR=lib"],
        ["--build", build],
        ["--install", build],
    ):
        done = subprocess.run(["cmake", *map(str, command)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("GST_", "PYTHON"))},
        "GST_PLUGIN_PATH": str(prefix / "lib/gstreamer-1.0"),
        "GST_REGISTRY": str(folder / "registry.bin"),
        "LC_ALL": "C.UTF-8",
    }
    return Plugin(prefix, environment)
