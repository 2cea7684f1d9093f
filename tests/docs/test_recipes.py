"""The recipes in docs/extend, followed literally in a copy of the repository."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGES = [path.read_text() for path in sorted((ROOT / "docs/extend").glob("*.md"))]
RECIPES = {title.split()[-1]: text for title, _, text in (page.partition("\n") for page in PAGES)}
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_PATH = re.compile(r"`([\w./]+\.\w+)`")


class Copy:
    """A copy of the repository that recipes are applied to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "copy"
        for name in ("pvlr_sdk", "csrc", "training", "benchmarks", "tests", "docs/images"):
            shutil.copytree(
                ROOT / name,
                self.folder / name,
                ignore=shutil.ignore_patterns("__pycache__", "models"),
            )
        for name in ("CMakeLists.txt", "pyproject.toml", ".clang-format"):
            shutil.copy(ROOT / name, self.folder)
        (self.folder / "pvlr_sdk/models").symlink_to(ROOT / "pvlr_sdk/models")
        (folder / "path").mkdir()
        (folder / "path/pvlr_training").symlink_to(self.folder / "training")
        self._path = os.pathsep.join([str(self.folder), str(folder / "path")])

    def follow(self, recipe: str) -> list[str]:
        """Create and change the files as the recipe says; returns the changed files."""
        text, position, path, changed = RECIPES[recipe], 0, "", []
        for block in _BLOCK.finditer(text):
            # blocks without text between them are of one file
            named = _PATH.search(text, position, block.start())
            path = named[1] if named else path
            position = block.end()
            file, content = self.folder / path, block[2]
            if block[1] == "diff":
                file.write_text(_changed(file.read_text(), content, path))
                changed.append(path)
            elif block[1] in ("python", "cpp"):
                assert not file.exists(), path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(content)
        return sorted(set(changed))

    def run(self, *command: str) -> str:
        """What a command prints with the copy in place of the installed package."""
        environment = {**os.environ, "PYTHONPATH": self._path}
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def pvlr(self, *arguments: str) -> str:
        return self.run(sys.executable, "-c", "from pvlr_sdk.cli import main; main()", *arguments)


def _changed(text: str, diff: str, path: str) -> str:
    """The text after a diff without line numbers: the old lines of each hunk must be there exactly once."""
    for hunk in diff.split("@@\n"):
        lines = hunk.splitlines()
        old, new = (
            "".join(f"{line[1:]}\n" for line in lines if line[0] in kinds) for kinds in (" -", " +")
        )
        assert text.count(old) == 1, f"{path}: {text.count(old)} times\n{old}"
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return Copy(tmp_path_factory.mktemp("recipes"))


def test_backend(copy: Copy, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    assert len(copy.follow("backend")) == 2
    network = next((ROOT / "pvlr_sdk/models").glob("*/engine.plan"))
    copy.pvlr(
        "build", str(network), "--out", str(tmp_path / "engine.plan"), "--device", "onnxruntime"
    )
    assert copy.pvlr(
        "tag", "docs/images/chelsea.jpg", "--plan", str(tmp_path / "engine.plan")
    ).endswith("cat 1.00\n")


def test_source(copy: Copy, tmp_path: Path) -> None:
    assert len(copy.follow("source")) == 1
    path = tmp_path / "frames.npy"
    code = f"""
import numpy as np
from pvlr_sdk import open_source
np.save({str(path)!r}, np.full((2, 8, 8, 3), 7, np.uint8))
source = open_source("npy://{path}", loop=True)
print([(frame.sequence, int(frame.pixels[0, 0, 0])) for frame in (source.read() for _ in range(3))])
"""
    assert copy.run(sys.executable, "-c", code) == "[(0, 7), (1, 7), (2, 7)]\n"


def test_sink(copy: Copy, tmp_path: Path) -> None:
    pytest.importorskip("av")
    import cv2

    assert len(copy.follow("sink")) == 1
    image = cv2.resize(cv2.imread(str(ROOT / "docs/images/chelsea.jpg")), (320, 240))
    writer = cv2.VideoWriter(
        str(tmp_path / "clip.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (320, 240)
    )
    for _ in range(30):
        writer.write(image)
    writer.release()
    site = re.findall(r"```yaml\n(.*?)```", RECIPES["sink"], re.DOTALL)[0]
    site = site.replace("[logger, -t, pvlr]", f"[tee, -a, {tmp_path / 'events'}]")
    (tmp_path / "site.yaml").write_text(site.replace("clip.mp4", str(tmp_path / "clip.mp4")))
    copy.pvlr("watch", "--config", str(tmp_path / "site.yaml"))
    events = (tmp_path / "events").read_text()
    assert [events.count(f'"event": "{state}"') for state in ("on", "off")] == [1, 1]


def test_head(copy: Copy) -> None:
    pytest.importorskip("torch")
    assert len(copy.follow("head")) == 1
    code = """
import torch
from pvlr_training.model.config import ModelConfig
from pvlr_training.model.heads import open_head
head = open_head(20, (3, 5), 7, ModelConfig(head="max_pool"))
logits, similarity = head(torch.randn(2, 15, 20), torch.zeros(0))
print(tuple(logits.shape), tuple(similarity.shape), head.alpha)
"""
    assert copy.run(sys.executable, "-c", code) == "(2, 7) (2, 15, 7) 4.0\n"


KERNEL_MAIN = r"""
#include <cmath>
#include <cstdio>
#include <vector>

#include "pvlr/sigmoid.h"

int main() {
  for (const std::size_t count : {1, 255, 256, 257, 1000}) {  // without spare bytes
    std::vector<float> x(count), y(count);
    for (std::size_t i = 0; i < count; ++i) x[i] = 9.0F * std::sin(static_cast<float>(i));
    const pvlr::SigmoidParams p{x.data(), y.data(), static_cast<std::int64_t>(count), pvlr::DataType::kFloat32, 1};
    const pvlr::Status status = pvlr::sigmoid_cuda(p, nullptr);
    if (!status.ok()) return std::printf("%s\n", status.message), 1;
    for (std::size_t i = 0; i < count; ++i) {
      const double expected = 1.0 / (1.0 + std::exp(-static_cast<double>(x[i])));
      if (!(std::fabs(y[i] - expected) < 1e-6)) return std::printf("element %zu\n", i), 1;
    }
  }
  return 0;
}
"""
KERNEL_TEST = """
from pathlib import Path

import pytest


@pytest.mark.parametrize("kind", ["plain", "address", "race"])
def test_matches_float64_in_the_emulator(emulator, kind):
    sources = [*emulator.kernel("sigmoid"), Path(__file__).with_name("main.cpp")]
    done = emulator.run(emulator.build(sources, kind=kind))
    assert done.returncode == 0, done.stdout + done.stderr
"""


def test_kernel(copy: Copy, tmp_path: Path) -> None:
    if shutil.which("cmake") is None or importlib.util.find_spec("pybind11") is None:
        pytest.skip("needs CMake and pybind11")
    assert len(copy.follow("kernel")) == 2
    import pybind11

    for old in (copy.folder / "pvlr_sdk").glob("_core*.so"):
        old.unlink()
    options = [
        f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
        "-DPYBIND11_FINDPYTHON=ON",
        "-DPVLR_WERROR=ON",
    ]
    options += [
        f"-DPython_EXECUTABLE={sys.executable}",
        f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={copy.folder / 'pvlr_sdk'}",
    ]
    copy.run("cmake", "-S", ".", "-B", str(tmp_path), *options)
    copy.run("cmake", "--build", str(tmp_path), "--target", "_core")
    code = "import numpy as np; from pvlr_sdk.kernels import sigmoid; print(sigmoid(np.zeros(4, np.float32)))"
    assert copy.run(sys.executable, "-c", code) == "[0.5 0.5 0.5 0.5]\n"
    tests = copy.folder / "tests/csrc/kernels/sigmoid"
    tests.mkdir()
    (tests / "main.cpp").write_text(KERNEL_MAIN)
    (tests / "test_sigmoid.py").write_text(KERNEL_TEST)
    copy.run(sys.executable, "-m", "pytest", "-q", "--all", str(tests))


def test_at_most_two_files_change_and_the_linters_pass(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    for recipe in RECIPES:
        assert len(copy.follow(recipe)) <= 2, recipe
    missing = [
        tool for tool in ("clang-format", "lint-imports", "ruff") if shutil.which(tool) is None
    ]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    copy.run("lint-imports")
    copy.run("ruff", "check", "pvlr_sdk", "training")
    copy.run("ruff", "format", "--check", "pvlr_sdk", "training")
    sources = [
        str(path)
        for path in copy.folder.glob("csrc/**/*")
        if path.is_file() and "sigmoid" in str(path)
    ]
    copy.run("clang-format", "--dry-run", "-Werror", *sources)
