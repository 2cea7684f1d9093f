"""Every parser of data from outside, fuzzed for some seconds; each target's file says how to run it for longer."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).parent


class Target(NamedTuple):
    """A file, options of libFuzzer, the kind of input, and words of the error that a bug planted in it causes."""

    file: str
    options: tuple[str, ...]
    planted: str
    kind: str = ""


TARGETS = {
    "manifest": Target(
        "bundle/fuzz_bundle.py", ("-max_len=64", "-len_control=0"), "Error: ", "manifest"
    ),
    "label bank": Target("bundle/fuzz_bundle.py", ("-max_len=64",), "AssertionError", "labels"),
    "network": Target(
        "bundle/fuzz_bundle.py", ("-max_len=64",), "DecodeError|AssertionError", "network"
    ),
    "signature": Target("trust/fuzz_signature.py", ("-max_len=4000",), "AttributeError"),
    # Without the limit of pixels an image may also take all the memory that libFuzzer permits.
    "images": Target(
        "frames/fuzz_images.py",
        ("-max_len=400", "-len_control=0", "-timeout=30"),
        "above the limit|out-of-memory",
    ),
    "uploads": Target(
        "cameras/serve/api/fuzz_upload.py", ("-max_len=4000", "-timeout=30"), "came through"
    ),
    "requests": Target(
        "cameras/serve/server/fuzz_http.py", ("-max_len=400", "-timeout=60"), "a 500 to"
    ),
    "label files": Target(
        "workshop/evaluation/fuzz_labels.py", ("-max_len=100", "-len_control=0"), "IndexError"
    ),
    "site files": Target(
        "cameras/site/fuzz_site.py", ("-max_len=100", "-len_control=0"), "TypeError"
    ),
    "archives": Target(
        "batch/fuzz_archive.py", ("-max_len=400", "-len_control=0"), "bytes at once"
    ),
    "rows": Target("batch/fuzz_rows.py", ("-max_len=100", "-len_control=0"), "is requested"),
    "URIs": Target("cameras/sources/fuzz_uri.py", ("-max_len=200",), "is shown as"),
}


def fuzz(
    name: str, run_fuzzer: Callable[..., str], plan: Path, *options: str, **environment: str
) -> str:
    target = TARGETS[name]
    given = {
        "PVLR_FUZZ_PLAN": str(plan),
        "PVLR_FUZZ_KIND": target.kind,
        "OPENCV_LOG_LEVEL": "SILENT",
    }
    return run_fuzzer(HERE / target.file, *target.options, *options, **given, **environment)


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_fuzzing_finds_no_crash(name: str, run_fuzzer: Callable[..., str], plan: Path) -> None:
    assert "DONE" in fuzz(name, run_fuzzer, plan, "-runs=100000", "-max_total_time=3")


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_fuzzing_finds_a_planted_bug_within_a_minute(
    name: str, run_fuzzer: Callable[..., str], plan: Path
) -> None:
    # A minute of a machine that has nothing else to do.
    seconds = min(280, int(60 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))))
    with pytest.raises(AssertionError, match=TARGETS[name].planted):
        fuzz(name, run_fuzzer, plan, f"-max_total_time={seconds}", PVLR_PLANTED_BUG="1")
