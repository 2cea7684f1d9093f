"""A tiny open network, its plan, label banks for it, and photos."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from pvlr_sdk import Tagger
from pvlr_sdk.labels import Photos, teach
from pvlr_sdk.workshop.compile.build import build
from tests.pvlr_sdk.labels import tiny_open
from tests.pvlr_sdk.trust.conftest import keys as keys
from tests.pvlr_sdk.trust.conftest import sign as sign

pytest.importorskip("onnx", reason="writes a network")


_WITHOUT_PYTORCH = """
import sys
sys.modules.update(dict.fromkeys(["torch", "transformers", "onnx", "timm", "pvlr_training"]))
from pvlr_sdk.cli import main
main()
"""


@pytest.fixture
def without_pytorch(tmp_path):
    """Runs a command in a process without PyTorch, in the temporary folder; returns what it prints."""

    def run(*arguments):
        command = [sys.executable, "-c", _WITHOUT_PYTORCH, *map(str, arguments)]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout

    return run


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return tiny_open.write_network(tmp_path_factory.mktemp("open"), tiny_open.make_bank())


@pytest.fixture(scope="module")
def open_plan(network):
    build(network, network.with_name("engine.plan"))
    return network.with_name("engine.plan")


@pytest.fixture
def tagger(open_plan):
    with Tagger(open_plan, precision="fp32") as made:
        yield made


@pytest.fixture(scope="module")
def frame():
    return np.random.default_rng(5).integers(0, 256, (*tiny_open.SIZE, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """``is/`` with 6 red photos, and ``not/`` with 18 others."""
    folder = tmp_path_factory.mktemp("photos")
    for index in range(6):
        tiny_open.draw(folder / "is" / f"{index}.png", "red", *(["blue"] if index % 2 else []))
    for index in range(18):
        tiny_open.draw(folder / "not" / f"{index}.png", *[["green"], ["blue"], []][index % 3])
    return folder


@pytest.fixture(scope="module")
def photos(folders):
    return Photos.from_folders("mug", folders / "is", folders / "not")


@pytest.fixture(scope="module")
def taught(open_plan, photos):
    return teach(open_plan, photos, precision="fp32")
