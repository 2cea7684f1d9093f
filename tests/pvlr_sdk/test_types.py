"""Types of the public interface: an editor offers the values of an option, and a type checker refuses others."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from pydoc import locate
from typing import Any

import pytest

OPEN = {"device", "id", "source"}
"""Parameters that accept any text: OpenVINO names devices, and users name columns and banks."""
REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
USE = """
import numpy
from pvlr_sdk import Camera, Tagger, open_source
from pvlr_sdk.bundle.manifest import InputSpec
from pvlr_sdk.workshop.compile.build import build
from pvlr_sdk.workshop.compile.tensorrt_options import BuildOptions
from pvlr_sdk.kernels import preprocess

spec = InputSpec(width=9, height=9, mean=(0, 0, 0), std=(1, 1, 1))
frame = numpy.zeros((9, 9, 3), numpy.uint8)
tagger = Tagger({tagger})
tagger.predict(frame, color={color}).draw(frame, {color})
tagger.predict_async(frame, color={color})
tagger.predict_batch([frame], color={color})
tagger.predict_stream([frame], color={color})
Camera("door", "test://", transport={transport})
captured = open_source("test://", transport={transport}).read()
tagger.predict(captured.pixels, color=captured.color)
build("a.onnx", "b.plan", device={build_device}, precision={precision})
BuildOptions(attention={attention}, hardware={hardware})
preprocess([frame], spec, order={color}, dtype={dtype})
"""
RIGHT = {
    "tagger": '"a.plan", operating_point="precise", optimize="throughput", precision="fp16", device="GPU.1"',
    "color": '"nv12-bt709-full"',
    "transport": '"udp"',
    "build_device": '"tensorrt"',
    "precision": '"int8"',
    "attention": '"fused"',
    "hardware": '"ampere+"',
    "dtype": '"bfloat16"',
}
WRONG = {
    "operating_point": ("tagger", 'operating_point="precice"', 1),
    "optimize": ("tagger", 'optimize="througput"', 1),
    "precision": ("tagger", 'precision="fp18"', 1),
    "color": ("color", '"rbg"', 6),
    "transport": ("transport", '"tpc"', 2),
    "build_device": ("build_device", '"gpu"', 1),
    "build_precision": ("precision", '"int4"', 1),
    "attention": ("attention", '"fuzed"', 1),
    "hardware": ("hardware", '"ampere"', 1),
    "dtype": ("dtype", '"float46"', 1),
}


def parameters() -> Iterator[tuple[str, inspect.Parameter]]:
    """Those of the functions, classes and methods in the API reference."""
    for name in re.findall(
        r"^::: (\S+)", "".join(page.read_text() for page in REFERENCE.glob("*.md")), re.MULTILINE
    ):
        found: Any = locate(name)
        members = (
            [value for key, value in vars(found).items() if key[0] != "_"]
            if inspect.isclass(found)
            else []
        )
        for one in filter(callable, [found, *members]):
            if not inspect.isclass(one) or not issubclass(one, Exception):
                yield from (
                    (f"{name}.{one.__name__}", each)
                    for each in inspect.signature(one).parameters.values()
                )


def test_no_choice_is_plain_text() -> None:
    found = {
        f"{where}({one.name})"
        for where, one in parameters()
        if one.annotation in ("str", str)
        and isinstance(one.default, str)
        and one.default
        and one.name not in OPEN
    }
    assert not found


@pytest.mark.slow
def test_mypy_accepts_each_value_and_refuses_a_misspelling(tmp_path: Path) -> None:
    api = pytest.importorskip("mypy.api")
    files = {name: USE.format(**{**RIGHT, key: value}) for name, (key, value, _) in WRONG.items()}
    for name, text in {"right": USE.format(**RIGHT), **files}.items():
        (tmp_path / f"{name}.py").write_text(text)
    options = [
        "--strict",
        "--cache-dir",
        str(tmp_path / "cache"),
        "--config-file",
        "",
        "--no-error-summary",
    ]
    output, _, _ = api.run([*options, *map(str, tmp_path.glob("*.py"))])
    errors = re.findall(r"(\w+)\.py:\d+: error: .*\[arg-type\]", output)
    assert {name: errors.count(name) for name in {*errors}} == {
        name: count for name, (_, _, count) in WRONG.items()
    }
    assert output.count("error:") == len(errors), output
