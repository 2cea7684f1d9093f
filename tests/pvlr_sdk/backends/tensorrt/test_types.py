"""The SDK's use of TensorRT's API, and the fake's signatures, compared with TensorRT's type stubs."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from enum import EnumMeta
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk.backends.tensorrt.libcuda import Driver

ROOT = Path(__file__).parents[4]
SDK = ROOT / "pvlr_sdk"
DUNDERS = {"__init__", "__len__", "__getitem__", "__bool__"}
UNCHECKED = {
    ("Dims", "__init__"),
    ("IHostMemory", "__init__"),
    ("INetworkDefinition", "__init__"),
    ("IPluginRegistry", "__init__"),
}
"""Made by TensorRT itself, or (Dims) with several equivalent signatures."""


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the stubs' packages, for MYPYPATH.

    The published file breaks Python's grammar in five places, and its variable ``bool`` hides the type.
    """
    try:
        distribution = importlib.metadata.distribution("tensorrt-stubs")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(
            "tensorrt-stubs is not here: pip install --no-deps tensorrt-stubs (its tensorrt has no wheel on PyPI)"
        )
    shelf = tmp_path_factory.mktemp("stubs")
    for package in ("tensorrt", "tensorrt_bindings"):
        shutil.copytree(str(distribution.locate_file(package)), shelf / package)
    path = shelf / "tensorrt_bindings" / "tensorrt.pyi"
    text = path.read_text().replace("channel_axis: int)", "channel_axis: int = 0)")
    text = re.sub(r"\bin: ", "in_: ", text)
    path.write_text(re.sub(r"^bool: .*$", "", text, flags=re.MULTILINE))
    return shelf


@pytest.fixture(scope="module")
def classes(stubs: Path) -> dict[str, ast.ClassDef]:
    tree = ast.parse((stubs / "tensorrt_bindings" / "tensorrt.pyi").read_text())
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def _attributes(
    classes: dict[str, ast.ClassDef], name: str
) -> dict[str, list[ast.FunctionDef | None]]:
    """Attributes of a class and its bases: functions with all their signatures, others as [None]."""
    node = classes[name]
    found: dict[str, list[ast.FunctionDef | None]] = {}
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id in classes:
            found |= _attributes(classes, base.id)
    for item in node.body:
        if isinstance(item, ast.FunctionDef):
            found.setdefault(item.name, []).append(item)
        elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            found[item.target.id] = [None]
    return found


def _arguments(function: ast.FunctionDef) -> list[tuple[str, bool]]:
    """Names, and whether they may be left out."""
    names = [argument.arg for argument in function.args.args]
    needed = len(names) - len(function.args.defaults)
    return [(name, place >= needed) for place, name in enumerate(names)][1:]


def _mine(function: Any) -> list[tuple[str, bool]]:
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return [(parameter.name, parameter.default is not parameter.empty) for parameter in parameters]


def test_the_fake_has_the_signatures_of_the_stubs(trt, classes):
    checked = 0
    for name, fake in vars(trt).items():
        if not inspect.isclass(fake) or not fake.__module__.startswith(trt.__name__):
            continue
        assert name in classes, f"TensorRT has no {name}"
        real = _attributes(classes, name)
        if isinstance(fake, EnumMeta):
            assert set(fake.__members__) <= set(real), name
            continue
        for attribute, value in vars(fake).items():
            if (attribute.startswith("_") and attribute not in DUNDERS) or (
                name,
                attribute,
            ) in UNCHECKED:
                continue
            if inspect.isclass(value):
                continue
            if not callable(value) and not isinstance(value, property):
                assert attribute in real, f"{name}.{attribute}"
                continue
            if attribute == "__init__" and attribute not in real:
                continue  # made by TensorRT, not by the SDK
            assert attribute in real, f"TensorRT's {name} has no {attribute}"
            overloads = [item for item in real[attribute] if item is not None]
            if isinstance(value, property):
                continue
            assert any(_arguments(item) == _mine(value) for item in overloads), (
                f"{name}.{attribute}{_mine(value)} is none of {[_arguments(item) for item in overloads]}"
            )
            checked += 1
    assert checked > 35


LISTED = """
import importlib, json, sys
module = importlib.import_module(sys.argv[1])
print(json.dumps({name: dir(getattr(module, name)) for name in dir(module)}))
"""


@pytest.mark.slow
def test_what_we_use_is_still_there_in_tensorrt_11(trt):
    """The stubs are those of TensorRT 10; its lean runtime and TensorRT-RTX come as packages of 11's time."""
    real: list[dict[str, list[str]]] = []
    for name in ("tensorrt_lean_bindings", "tensorrt_rtx"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"no {name} on this machine")
        done = subprocess.run(
            [sys.executable, "-c", LISTED, name], capture_output=True, text=True, check=True
        )
        real.append(json.loads(done.stdout.splitlines()[-1]))
    gone = {
        f"{name}.{attribute}"
        for name, fake in vars(trt).items()
        if inspect.isclass(fake) and fake.__module__.startswith(trt.__name__)
        for attribute, value in vars(fake).items()
        if not attribute.startswith("_")
        and not inspect.isclass(value)
        and not any(attribute in module.get(name, []) for module in real)
    }
    # The fake has these so that their use fails, or because TensorRT 10 has them.
    assert gone == {
        "BuilderFlag.FP16",
        "BuilderFlag.INT8",
        "NetworkDefinitionCreationFlag.EXPLICIT_BATCH",
    }


def _mypy(stubs: Path, folder: Path, *files: Path) -> str:
    """The errors of a strict mypy with the stubs in files, without those in the stubs."""
    config = folder / "mypy.ini"
    config.write_text(
        f"[mypy]\nstrict = true\nwarn_return_any = false\nfollow_imports = silent\npython_version = 3.11\n"
        f"mypy_path = {stubs}\nwarn_unused_ignores = false\n"
        "[mypy-tensorrt_libs,cv2.*,openvino.*,onnx.*,safetensors.*,pycuda.*,PIL.*]\n"
        "ignore_missing_imports = true\nfollow_imports = skip\n"
    )
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file",
        str(config),
        "--cache-dir",
        str(folder / "cache"),
    ]
    environment = os.environ | {"MYPYPATH": str(stubs)}
    done = subprocess.run(
        [*command, *map(str, files)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert said or "Success" in done.stdout, done.stdout + done.stderr
    return "\n".join(line for line in said if not line.startswith(str(stubs)))


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy")


@pytest.mark.slow
def test_our_use_of_tensorrt_type_checks(stubs, shelf):
    files = [
        path
        for package in ("backends", "compile")
        for path in sorted((SDK / package / "tensorrt").glob("*.py"))
    ]
    assert _mypy(stubs, shelf, *files) == ""


def test_the_driver_on_pycuda_and_the_fake_have_the_interface(gpu):
    # importing it needs a GPU
    tree = ast.parse((SDK / "backends" / "tensorrt" / "on_pycuda.py").read_text())
    driver = next(
        node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Driver"
    )
    assert ast.unparse(driver.bases[0]) == "libcuda.Driver"
    on_pycuda = {
        node.name: _arguments(node) for node in driver.body if isinstance(node, ast.FunctionDef)
    }
    for name, value in vars(Driver).items():
        if name.startswith("_") or not inspect.isfunction(value):
            continue
        assert _mine(value) == _mine(getattr(type(gpu), name)), name
        assert on_pycuda.get(name, _mine(value)) == _mine(value), name
