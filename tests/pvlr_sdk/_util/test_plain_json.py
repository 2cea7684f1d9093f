"""The reader of JSON from outside: its limits, what it costs, and that no module parses JSON past it."""

from __future__ import annotations

import ast
import json
import resource
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from pvlr_sdk._util.plain_json import Limits, read_json

PACKAGE = Path(__file__).parents[3] / "pvlr_sdk"
SMALL = Limits(size=100, values=10, depth=3)
OWN = {
    "_util/plain_json.py": "the reader",
    "backends/openvino/isolated.py": "messages between two processes of the SDK",
    "backends/tensorrt/plugins.py": "what the SDK's own library says of itself",
    "batch/dataset.py": "the footer of a file that pvlr batch wrote",
    "bundle/manifest.py": "the manifest, after the reader has checked it",
    "cameras/events/event.py": "events in a queue, which the SDK packed",
    "cameras/memory/recording.py": "rows of the memory, which the SDK wrote",
    "errors/install.py": "pip's record of the package",
    "models/catalogue.py": "a file of the package",
    "workshop/evaluation/evaluate.py": "a report on its way to rounded numbers",
    "workshop/export/triton/tagger_model.py": "Triton's arguments of its own process",
}
"""Modules that parse JSON without the reader, and whose JSON it is."""
PARSERS = {"model_validate_json", "validate_json"}


@pytest.mark.parametrize("text", ["[1,2,3]", '{"a": {"b": {"c": 1.5}}}', "null", '"[{"'])
def test_json_within_the_limits(text):
    assert read_json(text, SMALL) == read_json(text.encode(), SMALL) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" + " " * 99 + "]", "more than 100 bytes"),
        ("[0,1,2,3,4,5,6,7,8,9,10]", "more than 10 values"),
        ("[" * 11, "more than 10 values"),
        ("{" * 11, "more than 10 values"),
        (":" * 11, "more than 10 values"),
        ("[[[[]]]]", "nested in more than 3 levels"),
        ('{"a": {"a": {"a": {}}}}', "nested in more than 3 levels"),
        ('{"a": 1, "a": 1}', "a key twice"),
        ("[NaN]", "NaN, which is not a number in JSON"),
        ("[1e999]", "a number that is too large"),
        ("[9223372036854775808]", "an integer of more than 64 bits"),
        (f"[{'1' * 90}]", "an integer of more than 64 bits"),
        (r'["\ud800"]', "a control character or a lone surrogate"),
        (r'{"\u001b": 1}', "a control character or a lone surrogate"),
        ("[1", "delimiter"),
        (b"\xff\xff", "decode"),
    ],
)
def test_json_beyond_them(text, problem):
    for form in (text, text.encode()) if isinstance(text, str) else (text,):
        with pytest.raises(ValueError, match=problem.replace("[", r"\[")):
            read_json(form, SMALL)


def test_depth_beyond_the_interpreter_s():
    with pytest.raises(ValueError, match="nested in more than 8 levels"):
        read_json("[" * 50_000 + "]" * 50_000, Limits(10**6, 10**6, 8))


def test_a_number_of_many_digits_is_refused_before_it_is_computed():
    """Python before 3.10.7 takes a time that grows with their square, later versions another message."""
    with pytest.raises(ValueError, match="an integer of more than 64 bits"):
        read_json("1" * 5_000, Limits(10**6, 10, 1))


EXPENSIVE = {
    "objects": b'{"messages":[' + b"{}," * 6_900_000 + b"{}]}",
    "lists": b"[" + b"[]," * 6_900_000 + b"[]]",
    "keys": b"{" + b'"":0,' * 4_000_000 + b'"":0}',
    "depth": b"[" * 20_000_000,
    "digits": b"[" + b"1" * 20_000_000 + b"]",
    "numbers": b"[" + b",".join([b"1" * 4_000] * 5_000) + b"]",
    "fraction": b"[0." + b"1" * 20_000_000 + b"]",
    "escapes": rb'["' + rb"\u0041" * 3_300_000 + b'"]',
    "text": b'["' + b"A" * 20_000_000 + b'"]',
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", EXPENSIVE)
def test_no_text_of_20_mb_costs_a_second_or_more_than_its_own_memory(kind, tmp_path):
    """In a process of its own: the largest memory of a process never falls."""
    path = tmp_path / "body.json"
    path.write_bytes(EXPENSIVE[kind])
    before, after, seconds = map(
        float,
        subprocess.run(
            [sys.executable, __file__, path], capture_output=True, check=True
        ).stdout.split(),
    )
    # the text as a string, and its longest string again
    assert after - before < 2.2 * len(EXPENSIVE[kind])
    assert seconds < 1


def test_no_module_parses_json_past_the_reader():
    assert {
        str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if parses_json(path)
    } == {*OWN}


def parses_json(path: Path) -> bool:
    """Whether a module names a parser: ``json.load`` and ``json.loads``, imported or not, or one of pydantic's."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            is_json = isinstance(node.value, ast.Name) and node.value.id == "json"
            if node.attr in PARSERS or (is_json and node.attr.startswith(("load", "JSONDecoder"))):
                return True
        if isinstance(node, ast.Import) and any(
            alias.name == "json" and alias.asname for alias in node.names
        ):
            return True
        if isinstance(node, ast.ImportFrom) and node.module in ("json", "pydantic_core"):
            names = {alias.name for alias in node.names}
            if names & {"load", "loads", "JSONDecoder", "from_json"}:
                return True
    return False


def peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    body = Path(sys.argv[1]).read_bytes()
    start = time.perf_counter()
    at_first = peak()
    with suppress(ValueError):
        read_json(body, Limits(size=2**25, values=10_000, depth=32), printable=False)
    print(at_first, peak(), time.perf_counter() - start)
