"""libpvlr's TensorRT runner on fakes of TensorRT and CUDA, compiled against each version's headers, with sanitizers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pvlr_sdk.bundle.bundle import manifest_path
from pvlr_sdk.frames.tiles import rectangles
from tests.csrc.runtime import tensorrt_build, tensorrt_bundle
from tests.csrc.runtime.tensorrt_build import TensorRtLibrary, link
from tests.csrc.runtime.tensorrt_bundle import NAMES, PLAN, TOKENS, write_plan
from tests.manifests import read_raw
from tests.tensorrt_cases import CASES
from tests.tensorrt_headers import (
    NO_HEADERS,
    cuda_runtime,
    lean_runtime,
    tensorrt_includes,
    tensorrt_version,
)

from .conftest import Runtime

pytestmark = pytest.mark.slow

OK, INVALID, UNSUPPORTED, RUNTIME, NOT_SIGNED = 0, 3, 4, 8, 10
ALLOW, COLORS = {"PVLR_ALLOW_UNSIGNED": "1"}, ("bgr", "rgb", "bgr", "gray")


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What all versions share."""
    if not tensorrt_includes():
        pytest.skip(NO_HEADERS)
    return tensorrt_build.build_common(tmp_path_factory.mktemp("common"))


@pytest.fixture(scope="session", params=tensorrt_includes() or [None], ids=str)
def library(
    request: pytest.FixtureRequest,
    sanitized: Runtime,
    common: list[Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> TensorRtLibrary:
    """The library for each version, built once."""
    build = tmp_path_factory.mktemp("tensorrt") / "build"
    return tensorrt_build.build_library(sanitized.library, common, request.param, build)


@pytest.fixture
def plan(library: TensorRtLibrary, tmp_path: Path) -> Path:
    """A plan for the fake GPU."""
    return write_plan(tmp_path / "engine.plan", library.version)


def open_plan(
    library: TensorRtLibrary, sanitized: Runtime, plan: Path, **environment: str
) -> tuple[int, str]:
    """Status and message of opening a plan in a new process."""
    out = library.run(sanitized.programs / "open_each", stdin=f"{plan}\n", **environment)
    status, _, message = out.partition(" ")
    return int(status), message.strip()


@pytest.mark.parametrize("case", sorted({case.cpp for case in CASES if case.cpp}))
def test_use_and_loss_of_the_gpu(case: str, library: TensorRtLibrary, plan: Path) -> None:
    """Contexts, graphs, batches, memory, current device; running out of memory; a lost context."""
    if case == "without_maps":
        write_plan(plan, library.version, PLAN[: PLAN.index("similarity")], maps=False)
    assert library.run(library.folder / "program", case, plan) == "ok\n"


def test_threads_share_a_tagger(library: TensorRtLibrary, sanitized: Runtime, plan: Path) -> None:
    assert library.run(sanitized.programs / "many_threads", plan, **ALLOW) == "0 wrong\n"


def test_results_are_those_of_the_network(
    library: TensorRtLibrary, sanitized: Runtime, plan: Path, tmp_path: Path
) -> None:
    """Logits, scores and maps of frames in both colour orders, and of a grey one; the input has three planes."""
    random = np.random.default_rng(0)
    frames = [
        random.integers(0, 256, size, np.uint8)
        for size in ((50, 70, 3), (24, 32, 3), (9, 7, 3), (30, 20))
    ]
    lines = []
    for index, (frame, color) in enumerate(zip(frames, COLORS, strict=True)):
        path = tmp_path / str(index)
        path.write_bytes(frame.tobytes())
        code = {"bgr": 1, "rgb": 2, "gray": 5}[color]
        height, width = frame.shape[:2]
        lines.append(f"{code} 0 0 {width} {height} 0 {frame.strides[0]} 0 0 0 0 {path}\n")
    (tmp_path / "list").write_text("".join(lines))
    library.run(
        sanitized.programs / "tag_frames", plan, tmp_path / "list", tmp_path / "out", **ALLOW
    )
    got = (tmp_path / "out").read_bytes()

    def take(count: int, dtype: Any) -> Any:
        nonlocal got
        size = count * np.dtype(dtype).itemsize
        taken, got = got[:size], got[size:]
        return np.frombuffer(taken, dtype)

    for frame, color in zip(frames, COLORS, strict=True):
        logits, similarity = tensorrt_bundle.network(frame, color)
        np.testing.assert_allclose(take(len(NAMES), np.float32), logits, atol=1e-5)
        np.testing.assert_allclose(
            take(len(NAMES), np.float32), 1 / (1 + np.exp(-logits)), atol=1e-6
        )
        count = int(take(1, np.uint64)[0])
        assert count == (logits >= 0).sum()  # the threshold is 0.5
        for _ in range(count):
            take(1, np.uint64)
            take(2, np.float32)
        take(4, np.int32)
        weights = np.exp(tensorrt_bundle.ATTENTION.alpha * similarity)
        maps = take(TOKENS * len(NAMES), np.float32).reshape(len(NAMES), TOKENS)
        np.testing.assert_allclose(maps, (weights / weights.sum(axis=0)).T, atol=1e-6)
    assert got == b""


def test_the_best_tile_is_half_of_the_logits(
    library: TensorRtLibrary, sanitized: Runtime, plan: Path, tmp_path: Path
) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (50, 70, 3), np.uint8)
    (tmp_path / "frame").write_bytes(frame.tobytes())
    (tmp_path / "list").write_text(f"1 0 0 70 50 0 210 0 0 0 0 {tmp_path / 'frame'}\n" * 2)
    files = plan, tmp_path / "list", tmp_path / "out"
    library.run(sanitized.programs / "tag_frames", *files, "", "3x2", **ALLOW)
    parts = [
        frame[y : y + height, x : x + width] for x, y, width, height in rectangles((3, 2), 50, 70)
    ]
    whole, *tiles = [tensorrt_bundle.network(part, "bgr")[0] for part in parts]
    got = np.frombuffer((tmp_path / "out").read_bytes()[: 4 * len(NAMES)], np.float32)
    np.testing.assert_allclose(got, (whole + np.max(tiles, axis=0)) / 2, atol=1e-5)


def other(version: str) -> str:
    major, minor, patch = map(int, version.split("."))
    return f"{major}.{minor}.{patch + 1}"


def test_plans_that_do_not_fit_are_refused(
    library: TensorRtLibrary, sanitized: Runtime, tmp_path: Path
) -> None:
    """With a message that has every reason, before TensorRT reads the plan."""
    version = library.version
    here = "Fake Orin, compute capability 8.7"
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"version": other(version)}, f"TensorRT: {other(version)}", version),
        ({"version": f"{version}.99999"}, f"TensorRT: {version}.99999", f"{version}."),
        (
            {"version": other(version), "version_compatible": True},
            f"TensorRT: {other(version)} or newer",
            version,
        ),
        ({"gpu": "Orin"}, "GPU: Orin", "Fake Orin"),
        (
            {"multiprocessors": 8},
            "GPU: Fake Orin with 8 multiprocessors",
            "Fake Orin with 16 multiprocessors",
        ),
        ({"plugins": "1", "attention": "fused"}, "plugin library: version 1", "none"),
        (
            {"machine": "riscv64", "capability": "9.0", "gpu": "H100"},
            "processor: riscv64; GPU: H100, compute capability 9.0",
            f"{os.uname().machine}; {here}",
        ),
    ]
    for number, (changes, expected, got) in enumerate(cases):
        plan = write_plan(tmp_path / str(number) / "engine.plan", version, **changes)
        status, message = open_plan(library, sanitized, plan, **ALLOW)
        assert (status, message.startswith(f"{plan}: expected {expected}, got {got}")) == (
            UNSUPPORTED,
            True,
        ), message
        assert message.endswith(". Build it on this machine with pvlr build")
    for number, changes in enumerate(
        [
            {"hardware": "ampere+", "gpu": "L4", "capability": "8.9"},
            {"hardware": "capability", "gpu": "Orin", "multiprocessors": 8},
            {"multiprocessors": None},
            {"version": version.rpartition(".")[0]},
        ]
    ):
        plan = write_plan(tmp_path / f"fits-{number}/engine.plan", version, **changes)
        assert open_plan(library, sanitized, plan, **ALLOW) == (OK, "")
    plan = write_plan(tmp_path / "fits/engine.plan", version)
    no_gpu = "CUDA: expected an NVIDIA GPU with its driver, got cudaGetDeviceCount: no CUDA-capable device"
    status, message = open_plan(library, sanitized, plan, FAKE_NO_GPU="1", **ALLOW)
    assert (status, message.startswith(no_gpu)) == (UNSUPPORTED, True), message
    major = version.partition(".")[0]
    for name in ("libcudart.so", "libpvlr.so.1"):
        (tmp_path / name).symlink_to(library.folder / "lib" / name)
    status, message = open_plan(library, sanitized, plan, LD_LIBRARY_PATH=str(tmp_path), **ALLOW)
    assert (status, message.endswith(f"got no libnvinfer.so.{major} that loads")) == (
        UNSUPPORTED,
        True,
    ), message


def test_plans_that_tensorrt_or_the_sdk_refuses(
    library: TensorRtLibrary, sanitized: Runtime, tmp_path: Path
) -> None:
    """A plan of something else, and networks that are not those of a PVLR plan."""
    cases = [
        (
            "PLAN\n",
            RUNTIME,
            "a plan that this TensorRT can load, got Serialization assertion plan->header.magicTag",
        ),
        (PLAN.replace("logits", "scores"), INVALID, "a tensor named logits, got none"),
        (
            PLAN + "extra out float 1 -1\n",
            INVALID,
            "the tensors image, logits and similarity, got 4 tensors",
        ),
        (
            PLAN.replace("logits out float", "logits out half"),
            INVALID,
            "logits in float32, got another type",
        ),
        (PLAN.replace("logits out", "logits in"), INVALID, "logits as an output, got an input"),
        (
            PLAN.replace("-1 6 5", "-1 8 5"),
            INVALID,
            "similarity of shape (batch, 6, 5), got (batch, 8, 5)",
        ),
    ]
    for number, (text, code, message) in enumerate(cases):
        plan = write_plan(tmp_path / str(number) / "engine.plan", library.version, text)
        got = open_plan(library, sanitized, plan, **ALLOW)
        assert (got[0], got[1].startswith(f"{plan}: expected {message}")) == (code, True), got
    plan = write_plan(tmp_path / "large/engine.plan", library.version, batch=(5, 5, 5))
    assert open_plan(library, sanitized, plan, **ALLOW) == (
        RUNTIME,
        f"{plan}: expected batch 5, got no reason given",
    )


def test_the_section_of_the_manifest(
    library: TensorRtLibrary, sanitized: Runtime, plan: Path
) -> None:
    original = read_raw(plan)
    for name, value, message in [
        ("version", "10", ".version: expected 2 to 4 numbers with dots between them, got 10"),
        (
            "version",
            "10.9999999",
            ".version: expected 2 to 4 numbers with dots between them, got 10.9999999",
        ),
        ("capability", "8.", ".capability: expected 2 numbers with dots between them, got 8."),
        ("batch", [1, 2], ".batch: expected 3 rising numbers to 65536, got others"),
        ("batch", [2, 1, 4], ".batch: expected 3 rising numbers to 65536, got others"),
        ("batch", [1, 1.0, 4], ".batch: expected an integer, got 1"),
        ("batch", [0, 1, 4], ".batch: expected 3 rising numbers to 65536, got others"),
        ("maps", None, ': expected known members, got "maps"'),
        ("hardware", "all", ".hardware: expected one of this, capability, ampere+, got all"),
        ("version_compatible", 1, ".version_compatible: expected true or false, got number"),
        ("dla", -1, ".dla: expected from 0 to 2147483647, got -1"),
        ("surprise", 1, ': expected known members, got "surprise"'),
    ]:
        changed = original | {"tensorrt": original["tensorrt"] | {name: value}}
        manifest_path(plan).write_text(json.dumps(changed))
        assert open_plan(library, sanitized, plan, **ALLOW) == (
            INVALID,
            f"{manifest_path(plan)}.tensorrt{message}",
        )
    manifest_path(plan).write_text(
        json.dumps({name: original[name] for name in original if name != "tensorrt"})
    )
    missing = f"{manifest_path(plan)}.tensorrt: expected a value, got none"
    assert open_plan(library, sanitized, plan, **ALLOW) == (INVALID, missing)


def test_a_plan_is_loaded_only_if_it_is_trusted(
    library: TensorRtLibrary, sanitized: Runtime, plan: Path
) -> None:
    for environment in ({}, {"PVLR_ALLOW_UNSIGNED": "0"}, {"PVLR_ALLOW_UNSIGNED": ""}):
        status, message = open_plan(library, sanitized, plan, **environment)
        assert (
            status,
            message.startswith(f"{plan}: expected trusted keys, options.trust or "),
        ) == (NOT_SIGNED, True)
    assert open_plan(library, sanitized, plan, **ALLOW) == (OK, "")


def test_plugins_are_registered_before_a_fused_plan_is_read(
    library: TensorRtLibrary, sanitized: Runtime, tmp_path: Path
) -> None:
    """From the plugin library beside libpvlr."""
    text = PLAN.replace("FAKE", "FAKE plugins")
    fused = write_plan(
        tmp_path / "fused/engine.plan", library.version, text, plugins="1", attention="fused"
    )
    newer = write_plan(
        tmp_path / "newer/engine.plan", library.version, text, plugins="2", attention="fused"
    )
    undeclared = write_plan(tmp_path / "undeclared/engine.plan", library.version, text)
    shutil.copy(library.folder / "lib/libpvlr.so.1", tmp_path)
    shutil.copy(library.folder / "lib/plugins.so", tmp_path / "libpvlr_plugins.so")
    search = {"LD_LIBRARY_PATH": f"{tmp_path}:{library.folder / 'lib'}"} | ALLOW
    assert open_plan(library, sanitized, fused, **search) == (OK, "")
    wheel = tmp_path / "pvlr_sdk/libpvlr/lib"  # of which the library is in the package
    wheel.mkdir(parents=True)
    shutil.copy(library.folder / "lib/libpvlr.so.1", wheel)
    shutil.copy(library.folder / "lib/plugins.so", tmp_path / "pvlr_sdk/libpvlr_plugins.so")
    installed = ALLOW | {"LD_LIBRARY_PATH": f"{wheel}:{library.folder / 'lib'}"}
    assert open_plan(library, sanitized, fused, **installed) == (OK, "")
    status, message = open_plan(library, sanitized, newer, **search)
    mismatch = f"{newer}: expected plugin library: version 2, got version 1"
    assert (status, message.startswith(mismatch)) == (UNSUPPORTED, True), message
    status, message = open_plan(library, sanitized, undeclared, **search)
    assert (status, "got Plugin not found" in message) == (RUNTIME, True), message
    (tmp_path / "libpvlr_plugins.so").write_bytes(b"")
    status, message = open_plan(library, sanitized, fused, **search)
    assert (status, "expected plugin library: version 1, got none" in message) == (
        UNSUPPORTED,
        True,
    ), message


def test_older_plans_run_in_the_lean_runtime_of_their_version(
    library: TensorRtLibrary, sanitized: Runtime, tmp_path: Path
) -> None:
    plan = write_plan(tmp_path / "engine.plan", "10.0.1", version_compatible=True)
    expected = f"{plan}: expected the TensorRT that built it, or that version's libnvinfer_lean.so in the environment "
    for environment, got in (
        ({}, "none"),
        ({"PVLR_LEAN_RUNTIME": "/nowhere"}, "cannot open shared object file"),
    ):
        status, message = open_plan(library, sanitized, plan, **ALLOW, **environment)
        assert (status, message) == (
            UNSUPPORTED,
            f"{expected}variable PVLR_LEAN_RUNTIME, got {got}",
        )
    assert open_plan(
        library, sanitized, plan, **ALLOW, PVLR_LEAN_RUNTIME="/opt/libnvinfer_lean.so"
    ) == (OK, "")


def test_the_example_runs_a_tensorrt_plan(sanitized: Runtime, tmp_path: Path) -> None:
    """With the installed library, built by CMake with the fakes."""
    includes = tensorrt_includes()
    if not includes:
        pytest.skip(NO_HEADERS)
    plan = write_plan(tmp_path / "engine.plan", tensorrt_version(includes[-1]))
    frame = np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8)
    (tmp_path / "image.ppm").write_bytes(b"P6 60 40 255\n" + frame[..., ::-1].tobytes())
    command = [sanitized.programs / "tag", plan, tmp_path / "image.ppm"]
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    environment["LD_LIBRARY_PATH"] = str(sanitized.library.parent / "fakes/lib")
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, "options.allow_unsigned" in done.stderr) == (2, True), done.stderr
    done = subprocess.run(command, capture_output=True, text=True, env=environment | ALLOW)
    assert done.returncode == 0, done.stderr
    scores = 1 / (1 + np.exp(-tensorrt_bundle.network(frame)[0]))
    expected = {name: score for name, score in zip(NAMES, scores, strict=True) if score > 0.5}
    tags = [line.rpartition(": ")[2].split() for line in done.stdout.splitlines()]
    assert {name: float(score) for name, score in tags} == pytest.approx(expected, abs=1e-4)
    configuration = (sanitized.prefix / "lib/pkgconfig/pvlr.pc").read_text()
    assert configuration.count("backends=openvino tensorrt\n") == 1


def test_nvidias_libraries_without_a_gpu(
    library: TensorRtLibrary, sanitized: Runtime, tmp_path: Path
) -> None:
    """The lean runtime and CUDA's runtime have all functions that the runner calls, and report that there is no GPU."""
    lean, cuda = lean_runtime(), cuda_runtime()
    if lean is None or cuda is None:
        pytest.skip(
            "no TensorRT lean runtime: pip install tensorrt-lean-cu13-libs; or no libcudart"
        )
    if not lean.name.endswith(f".so.{library.version.partition('.')[0]}"):
        pytest.skip(f"{lean.name} has another major version")
    link(library.objects, tmp_path / "libpvlr.so.1", cuda)
    (tmp_path / f"libnvinfer.so.{library.version.partition('.')[0]}").symlink_to(lean)
    plan = write_plan(tmp_path / "engine.plan", library.version)
    search = ":".join(map(str, (tmp_path, lean.parent, cuda.parent)))
    status, message = open_plan(
        library, sanitized, plan, LD_LIBRARY_PATH=search, LD_BIND_NOW="1", **ALLOW
    )
    if "expected an NVIDIA GPU" not in message:  # there is one
        assert (status, "TensorRT: " in message or "GPU: " in message) == (UNSUPPORTED, True)
    else:
        expected = "CUDA: expected an NVIDIA GPU with its driver, got cudaGetDeviceCount: "
        assert (status, message.startswith(expected)) == (UNSUPPORTED, True), message
