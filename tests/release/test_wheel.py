"""A release: the source distribution builds a wheel, and the wheel tags an image where there is no compiler."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from pvlr_sdk import __version__

ROOT = Path(__file__).parents[2]
IN_WHEEL = re.compile(
    r"""pvlr_sdk/(?:[a-z_]+/)*[a-z_0-9]+\.py
    | pvlr_sdk/(?:py\.typed|_core\.pyi|_core\.cpython-\S+\.so)
    | pvlr_sdk/models/[a-z0-9-]+/(?:engine\.(?:json|plan|sig|labels\.safetensors)|[A-Z]+\.md)
    | pvlr_sdk/models/(?:catalogue\.json|keys/[a-z]+\.pem)
    | pvlr_sdk/serve/page/[a-z]+\.(?:js|css|html|svg)
    | pvlr_sdk/site/[a-z-]+\.(?:yaml|service)
    | pvlr_training/(?:[a-z_]+/)*[a-z_0-9]+\.py
    | pvlr_training/configs/[a-z0-9_-]+\.(?:yaml|json)
    | pvlr_training/report/page/[a-z]+\.(?:js|css|html)
    | pvlr_sdk-\S+\.dist-info/(?:METADATA|RECORD|WHEEL|entry_points\.txt|top_level\.txt|licenses/LICENSE)""",
    re.VERBOSE,
)
REQUIRED = [
    "pvlr_sdk/py.typed",
    "pvlr_sdk/_core.pyi",
    "pvlr_sdk/models/catalogue.json",
    "pvlr_sdk/models/keys/dev.pem",
    "pvlr_sdk/models/pvlr-lite2-coco80/engine.plan",
    "pvlr_sdk/models/pvlr-lite2-coco80/engine.sig",
    "pvlr_sdk/serve/page/index.html",
    "pvlr_sdk/site/site.yaml",
    "pvlr_training/configs/pvlr-lite2-voc20.yaml",
    "pvlr_training/report/page/template.html",
]
SOURCES = {"csrc", "pvlr_sdk", "training", "pvlr_sdk.egg-info"}
TOP_LEVEL = {"CHANGELOG.md", "CMakeLists.txt", "LICENSE", "MANIFEST.in", "PKG-INFO", "README.md"}
TOP_LEVEL |= {"pyproject.toml", "setup.cfg", "setup.py"}

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.mark.slow
def test_the_source_distribution_has_the_sources_and_nothing_else(dist):
    assert dist.sdist.name == f"pvlr_sdk-{__version__}.tar.gz"
    with tarfile.open(dist.sdist) as archive:
        names = [member.name.partition("/")[2] for member in archive if member.isfile()]
    assert {name.partition("/")[0] for name in names if "/" in name} == SOURCES
    assert {name for name in names if "/" not in name} == TOP_LEVEL
    assert not [name for name in names if name.endswith((".so", ".pyc"))]


@pytest.mark.slow
def test_the_wheel_has_what_runs_and_nothing_else(dist):
    with zipfile.ZipFile(dist.wheel) as archive:
        names = archive.namelist()
        typed = archive.read(f"pvlr_sdk-{__version__}.dist-info/METADATA").decode()
    assert not [name for name in names if not IN_WHEEL.fullmatch(name)]
    assert not set(REQUIRED) - set(names)
    assert len([name for name in names if name.endswith(".so")]) == 1
    assert f"Version: {__version__}\n" in typed
    assert "License-Expression: Apache-2.0\n" in typed
    assert dist.wheel.stat().st_size < 20e6


@pytest.mark.slow
def test_the_wheel_tags_an_image_without_a_compiler(dist, tmp_path):
    """In a new environment that has the wheel; the dependencies are those of this Python."""
    target = tmp_path / "venv"
    venv.create(target, symlinks=True)
    python = target / "bin/python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-index", "--no-deps", dist.wheel]
    subprocess.run(install, env=ENVIRONMENT, check=True)
    site = target / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    path = str(target / "bin")
    assert not any(shutil.which(tool, path=path) for tool in ("cc", "c++", "gcc", "g++", "cmake", "ninja"))

    def run(*command: str | Path) -> str:
        environment = {"PATH": path, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    assert Path(run(python, "-c", "import pvlr_sdk._core as core; print(core.__file__)").strip()).parents[1] == site
    assert run(target / "bin/pvlr", "--version") == f"pvlr {__version__}\n"
    assert "person" in run(target / "bin/pvlr", "tag", ROOT / "docs/images/astronaut.jpg")
    # The hint for an extra names the wheel that was installed.
    code = "from pvlr_sdk import errors; print(errors.install_hint('serve'))"
    assert run(python, "-c", code) == f'Run pip install "{dist.wheel}[serve]".\n'
