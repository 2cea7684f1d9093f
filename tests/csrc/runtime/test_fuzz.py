"""libpvlr's parsers and its checks of frames and networks, fuzzed with libFuzzer under AddressSanitizer and UBSan.

For longer: ``--fuzz MINUTES``, or PVLR_FUZZ_RUNS=1000000 for that many inputs of each target.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from tests.manifests import read_raw
from tests.pvlr_sdk.labels.tiny_open import random_bank

from ..library import ROOT
from .sources import FAKE, LIBRARY, Sources, clang

pytestmark = pytest.mark.slow

RUNS = os.environ.get("PVLR_FUZZ_RUNS")
LENGTH = ["-runs=" + RUNS] if RUNS else ["-runs=20000", "-max_total_time=3"]
SANITIZE = "address,undefined"
SOURCES = [*LIBRARY, FAKE / "engine.cpp"]


class Target(NamedTuple):
    """Sources, options of libFuzzer, a seed, and a bug to plant: file, text, its replacement and what reports it."""

    sources: list[Path]
    options: tuple[str, ...]
    seed: Callable[[Path], bytes]
    planted: tuple[str, str, str, str]


def small_manifest(plan: Path) -> bytes:
    """With a golden image of 2 x 2 pixels, and without what the library does not read or no mutation keeps valid."""
    manifest = read_raw(plan)
    image = cv2.imencode(".png", np.full((2, 2, 3), 7, np.uint8))[1].tobytes()
    manifest["golden"]["frame_png"] = base64.b64encode(image).decode()
    manifest["golden"]["logits"], manifest["labels"] = (
        manifest["golden"]["logits"][:2],
        manifest["labels"][:2],
    )
    return json.dumps(
        {name: value for name, value in manifest.items() if name not in ("built", "measured")}
    ).encode()


def bank(plan: Path) -> bytes:
    return random_bank(3, 0, width=4, depth=5, space="s", features="f", without=1).to_bytes()


TARGETS = {
    "manifest": Target(
        SOURCES,
        ("-max_len=2000", "-len_control=0"),
        small_manifest,
        (
            "runtime/bundle/json_object.cpp",
            "if (value.size() != count)",
            "if (value.size() > count)",
            "heap-buffer-overflow|undefined-behavior|deadly signal",
        ),
    ),
    "label_bank": Target(
        SOURCES,
        ("-max_len=4000", "-len_control=0"),
        bank,
        (
            "runtime/bundle/label_bank.cpp",
            "if (data.size() < kPrefix)",
            "if (data.empty())",
            "std::out_of_range|buffer-overflow",
        ),
    ),
    "network": Target(
        [ROOT / "csrc/host/network/walk.cpp"],
        ("-max_len=60000", "-len_control=0"),
        Path.read_bytes,
        (
            "host/network/walk.cpp",
            "type < std::size(kItemBytes) ? kItemBytes[type] : 0",
            "kItemBytes[type]",
            "global-buffer-overflow|undefined-behavior",
        ),
    ),
    "frames": Target(
        SOURCES,
        ("-max_len=200", "-len_control=0"),
        lambda plan: bytes(64),
        (
            "runtime/api.cpp",
            "(pitch < 0 ? -pitch : pitch) >= least",
            "pitch != 0",
            "names an invalid member",
        ),
    ),
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    flags = "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"
    compiled, linked = (f"-fsanitize={kind},{SANITIZE}" for kind in ("fuzzer-no-link", "fuzzer"))
    changed = [ROOT / "csrc" / target.planted[0] for target in TARGETS.values()]
    sources = Sources(
        tmp_path_factory.mktemp("fuzz"), clang(), [compiled, *flags], [linked], *changed
    )
    sources.check(
        'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }\n'
    )
    return sources


Fuzz = Callable[..., str]


@pytest.fixture
def fuzz(run_fuzzer: Callable[..., str], plan: Path, tmp_path: Path) -> Fuzz:
    """Runs a target from its seed."""

    def run(name: str, program: Path, *options: str, **environment: str) -> str:
        target, corpus = TARGETS[name], tmp_path / "corpus"
        corpus.mkdir()
        (corpus / "seed").write_bytes(target.seed(plan))
        given = {"PVLR_FUZZ_PLAN": str(plan), "ASAN_OPTIONS": "detect_leaks=0", **environment}
        return run_fuzzer(program, *target.options, *options, str(corpus), **given)

    return run


@pytest.mark.parametrize("name", TARGETS)
def test_fuzzing_finds_no_crash(name: str, sources: Sources, fuzz: Fuzz) -> None:
    out = fuzz(name, sources.program(f"fuzz_{name}", TARGETS[name].sources), *LENGTH)
    assert "Done " in out
    print(out[out.rindex("Done ") :])


@pytest.mark.parametrize("name", TARGETS)
def test_fuzzing_finds_a_planted_bug_within_a_minute(
    name: str, sources: Sources, fuzz: Fuzz
) -> None:
    file, old, new, report = TARGETS[name].planted
    program = sources.program(f"fuzz_{name}", TARGETS[name].sources, {f"csrc/{file}": (old, new)})
    # A minute of a machine that has nothing else to do.
    seconds = min(280, int(60 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))))
    with pytest.raises(AssertionError, match=report):
        fuzz(name, program, f"-max_total_time={seconds}", PVLR_PLANTED_BUG="1")
