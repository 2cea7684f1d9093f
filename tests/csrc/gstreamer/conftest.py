"""Runs pipelines with the plugin as it is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ..library import gstreamer_missing

SYSTEM_PYTHON = "/usr/bin/python3"


class Plugin(NamedTuple):
    """Where the plugin is installed, and the environment in which GStreamer finds it."""

    prefix: Path
    environment: dict[str, str]

    def run(self, *pipelines: str, **variables: str) -> list[dict[str, Any]]:
        """What happens in pipelines whose sink is named ``sink``; see run_pipelines.py."""
        command = [
            SYSTEM_PYTHON,
            "-W",
            "ignore",
            Path(__file__).parent / "run_pipelines.py",
            *pipelines,
        ]
        done = self._run(command, **variables)
        assert done.returncode == 0, done.stderr[-4000:]
        results = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(results) == len(pipelines), done.stdout[-4000:] + done.stderr[-4000:]
        return results

    def launch(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """What gst-launch-1.0 prints."""
        return self._run(["gst-launch-1.0", *arguments], **variables)

    def _run(self, command: list[Any], **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**self.environment, **variables}
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=300, check=False
        )


def _missing() -> str | None:
    """What the build or the tests lack."""
    if not shutil.which("gst-launch-1.0"):
        return "gst-launch-1.0"
    bindings = "import gi; gi.require_version('Gst', '1.0')"
    if subprocess.run([SYSTEM_PYTHON, "-c", bindings], capture_output=True, check=False).returncode:
        return "Python bindings of GStreamer"
    return gstreamer_missing()


def need_gstreamer() -> None:
    """Skip the test without what the build or the tests need."""
    if missing := _missing():
        pytest.skip(f"no {missing} on this machine; .ci/run lists the Debian packages")


def installed(prefix: Path, folder: Path) -> Plugin:
    """The plugin in ``prefix``; GStreamer keeps what it knows of it in ``folder``."""
    environment = {
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("GST_", "PYTHON"))
        },
        "GST_PLUGIN_PATH": str(prefix / "lib/gstreamer-1.0"),
        "GST_REGISTRY": str(folder / "registry.bin"),
        "LC_ALL": "C.UTF-8",
    }
    return Plugin(prefix, environment)


@pytest.fixture(scope="session")
def plugin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Plugin:
    """The plugin as it is installed."""
    need_gstreamer()
    return installed(request.getfixturevalue("libpvlr"), tmp_path_factory.mktemp("gstreamer"))
