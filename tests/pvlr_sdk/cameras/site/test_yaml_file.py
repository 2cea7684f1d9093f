"""YAML from outside: limits, and one typed error for whatever is wrong."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvlr_sdk import errors
from pvlr_sdk.cameras.events import EventSettings
from pvlr_sdk.cameras.site import SiteConfig, load_config, yaml_file
from tests.waiting import LONG

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {k: 1}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 20)}]}}\n"
    for before, name in zip("abcdef", "bcdefg", strict=True)
)
PARSE = """
import resource, sys
from pvlr_sdk import errors
from pvlr_sdk.cameras.site import load_config
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    load_config(sys.argv[1])
except errors.ConfigError as error:
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10, error)
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(LAUGHS, "more than 100000 values, aliases included", id="billion laughs"),
        pytest.param(MERGES, "more than 100000 values, aliases included", id="merge keys"),
        pytest.param("cameras: &a {door: *a}", "an alias that contains itself", id="recursion"),
        pytest.param("[" * 1000, "deeply nested values", id="depth"),
        pytest.param("a: " + "9" * 5000, "an integer of more than 1000 digits", id="digits"),
        pytest.param(
            "threshold: 0x" + "f" * 5000, "an integer of more than 1000 digits", id="hexadecimal"
        ),
        pytest.param("a: 2026-13-45", "month must be in 1..12", id="date"),
        pytest.param(
            "a: !!python/object/apply:os.system [true]",
            "could not determine a constructor",
            id="object",
        ),
        pytest.param("a: 1\n---\nb: 2", "expected a single document", id="two documents"),
        pytest.param("? {a: 1}\n: 2", "unhashable key in line 1", id="unhashable"),
        pytest.param("a: !!int ''", "invalid literal|index out of range", id="empty integer"),
        pytest.param("a: !!timestamp x", "failed to construct timestamp", id="timestamp"),
        pytest.param(
            "a: {b: s3cret,\n  c: 2, b: s3cret}",
            'found duplicate key "b" in line 2',
            id="a key twice",
        ),
        pytest.param("a: \x01", "special characters are not allowed", id="control"),
        pytest.param("a: 1\nb: [1", "expected ',' or ']'.* in line 2", id="syntax"),
        pytest.param("", "got NoneType", id="empty"),
        pytest.param("- 1", "expected a mapping of keys, got list", id="list"),
    ],
)
def test_invalid_documents(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "site.yaml").write_text(text)
    with pytest.raises(errors.ConfigError, match=message) as caught:
        load_config(tmp_path / "site.yaml")
    assert "s3cret" not in str(caught.value)


@pytest.mark.slow
def test_a_document_that_expands_costs_no_memory(tmp_path: Path) -> None:
    """Version 0.1 took 1.3 GB for these 400 bytes."""
    (tmp_path / "site.yaml").write_text(LAUGHS)
    # the machine survives a failure
    limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    done = subprocess.run(
        [sys.executable, "-c", PARSE, str(tmp_path / "site.yaml")],
        capture_output=True, text=True, check=True, timeout=60, preexec_fn=limit,
    )  # fmt: skip
    assert "ConfigError" not in done.stderr
    assert int(done.stdout.split()[0]) < 20  # MB


def test_an_anchor_used_as_intended_is_valid(tmp_path: Path) -> None:
    text = "cameras:\n  a: &a {uri: 'test://', labels: [dog]}\n  b: {<<: *a, timeout: 2}\n"
    (tmp_path / "site.yaml").write_text(text)
    assert load_config(tmp_path / "site.yaml").cameras["b"].labels == ("dog",)


def test_a_document_may_begin_with_its_version(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("%YAML 1.1\n---\nevents: {smoothing: 1}\n")
    assert yaml_file.read_yaml(path) == {"events": {"smoothing": 1}}


@pytest.mark.slow
@given(
    st.dictionaries(
        st.text(min_size=1), st.none() | st.text() | st.integers() | st.lists(st.text())
    )
)
def test_what_is_printed_can_be_read(raw: dict[str, Any]) -> None:
    comments = {(key,): "option" for key in raw}
    for text in (yaml_file.format_yaml(raw), yaml_file.format_yaml(raw, comments)):
        assert yaml_file.parse_yaml(text.encode(), "printed") == raw


@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "huge", "null", "missing"])
def test_what_is_not_a_regular_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "site.yaml"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "huge":
        with open(path, "wb") as file:
            file.truncate(200 << 30)
    elif kind == "null":
        path = Path("a\0b")
    began = time.monotonic()
    told = "Not a regular file|Is a directory|Larger than the limit|null|No such file"
    with pytest.raises(errors.ConfigError, match=told):
        load_config(path)
    assert time.monotonic() - began < LONG  # the huge file has 200 GB


NAMES = ["..", ".", ".hidden", "a/b", "a\0b", "", "a b", "é", "a\n", "x" * 65]


@pytest.mark.parametrize("name", NAMES)
def test_a_camera_name_that_is_no_file_name(name: str) -> None:
    with pytest.raises(errors.ConfigError):
        SiteConfig.parse({"cameras": {name: "test://"}}, source="site.yaml")


@pytest.mark.parametrize("value", [float("inf"), float("nan"), -1.0, 0, 1e300, "1e400"])
@pytest.mark.parametrize(
    "section",
    [
        lambda value: {"events": {"snapshots_mb": value}},
        lambda value: {"sinks": [{"kind": "jsonl", "path": "-", "max_mb": value}]},
        lambda value: {"sinks": [{"kind": "video", "folder": "v", "minutes": value}]},
        lambda value: {"sinks": [{"kind": "webhook", "url": "http://h/", "timeout": value}]},
        lambda value: {"cameras": {"a": {"uri": "test://", "timeout": value}}},
        lambda value: {"events": {"smoothing": value or -1}},
        lambda value: {"events": {"min_gap": value or -1}},
        lambda value: {"stream": {"staleness": value or -1}},
    ],
)
def test_sizes_and_times_are_finite(
    section: Callable[[object], dict[str, object]], value: object
) -> None:
    with pytest.raises(errors.ConfigError):
        SiteConfig.parse({"cameras": {"a": "test://"}, **section(value)}, source="site.yaml")


@pytest.mark.parametrize("name", ["smoothing", "min_duration", "min_gap"])
def test_settings_in_python_are_finite(name: str) -> None:
    with pytest.raises(errors.OptionError, match=name):
        EventSettings(**{name: float("inf")})
