"""The first loading of an unsigned plan: what its network does to the runtime, it does to another process."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.backends import cache
from pvlr_sdk.backends.openvino import isolated
from pvlr_sdk.cameras.control.deployment import Deployment
from pvlr_sdk.cameras.site.config import DeployConfig
from pvlr_sdk.frames.isolated import available
from pvlr_sdk.frames.isolated.process import ProcessFailedError
from pvlr_sdk.models.find import default_plan
from pvlr_sdk.trust import Trust
from tests.manifests import edit_manifest, read_raw
from tests.pvlr_sdk.labels import tiny_open
from tests.pvlr_sdk.trust.conftest import keys as keys
from tests.pvlr_sdk.trust.conftest import sign as sign

if not available():
    pytest.skip("isolated processes need Linux", allow_module_level=True)

ROOT = Path(__file__).parents[4]
FRAME = np.zeros((32, 32, 3), np.uint8)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; no plan is trusted."""
    for name in ("PVLR_ALLOW_UNSIGNED", "PVLR_TRUST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PVLR_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The plans that were loaded in a process of their own, which they still are."""
    seen: list[str] = []
    real = isolated._load_isolated

    def counted(network: Any, *arguments: Any) -> None:
        seen.append(network.source)
        real(network, *arguments)

    monkeypatch.setattr(isolated, "_load_isolated", counted)
    return seen


def more_nodes(kind: str) -> tuple[list[Any], dict[str, np.ndarray]]:
    """Nodes and constants of a network that is plain data and has no large tensor, but harms the runtime."""
    from onnx import helper

    if kind in ("crash", "divide by zero"):
        # The quotient of these has no int64: x86 raises SIGFPE, when OpenVINO computes what is constant.
        nodes = [
            helper.make_node("Div", ["least", "minus"], ["quotient"]),
            helper.make_node("Cast", ["quotient"], ["cast"], to=1),
            helper.make_node("ReduceSum", ["cast"], ["more"], keepdims=0),
        ]
        return nodes, {
            "least": np.int64([-(2**63)]),
            "minus": np.int64([-1 if kind == "crash" else 0]),
        }
    if kind == "hang":
        # 10**12 operations on constants, which OpenVINO computes in a simple loop.
        nodes = [
            helper.make_node("ConstantOfShape", ["sides"], ["zeros"]),
            helper.make_node("MatMul", ["zeros", "zeros"], ["product"]),
            helper.make_node("ReduceSum", ["product"], ["more"], keepdims=0),
        ]
        return nodes, {"sides": np.int64([8192, 8192])}
    names = [f"table{number}" for number in range(8)]
    rows = {f"row{number}": np.full((1, 8192), number, np.float32) for number in range(8)}
    nodes = [helper.make_node("Add", ["column", f"row{name[5:]}"], [name]) for name in names]
    nodes += [
        helper.make_node("Max", names, ["most"]),
        helper.make_node("ReduceSum", ["most"], ["more"], keepdims=0),
    ]
    return nodes, {"column": np.zeros((8192, 1), np.float32), **rows}


@pytest.fixture
def hostile(own_plan: Path) -> Callable[[str], Path]:
    """Makes the tiny plan crash, hang, or fill the memory (2 GB), with a manifest that fits it."""
    onnx = pytest.importorskip("onnx")

    def make(kind: str) -> Path:
        model = onnx.load_from_string(own_plan.read_bytes())
        nodes, constants = more_nodes(kind)
        graph = model.graph
        graph.initializer.extend(
            onnx.numpy_helper.from_array(value, name) for name, value in constants.items()
        )
        graph.node[-1].output[0] = "before"
        graph.node.extend([*nodes, onnx.helper.make_node("Add", ["before", "more"], ["logits"])])
        payload = model.SerializeToString()
        own_plan.write_bytes(payload)
        spec = {"bytes": len(payload), "sha256": hashlib.sha256(payload).hexdigest()}
        edit_manifest(own_plan, lambda raw: raw["files"].update(plan=spec))
        return own_plan

    return make


@pytest.mark.slow
@pytest.mark.skipif(
    platform.machine() != "x86_64", reason="other processors do not trap this division"
)
def test_a_network_that_crashes_the_runtime_is_one_error(
    hostile: Callable[[str], Path], plan: Path
) -> None:
    bad = hostile("crash")
    with Tagger(plan) as tagger:
        for _ in range(2):  # the first is not remembered as a success
            with pytest.raises(errors.IsolatedLoadError, match=rf"{bad}: .* crashed \(SIGFPE\)"):
                tagger.load(bad)
        assert tagger.predict(FRAME)


@pytest.mark.slow
@pytest.mark.skipif(
    platform.machine() != "x86_64", reason="other processors do not trap this division"
)
def test_a_running_site_goes_on(hostile: Callable[[str], Path], plan: Path) -> None:
    with Tagger(plan) as tagger:
        deployment = Deployment(tagger, settings=DeployConfig(probation=0))
        with pytest.raises(errors.IsolatedLoadError):
            deployment.deploy(hostile("crash"))
        assert "IsolatedLoadError" in str(deployment.status.reason)
        assert tagger.predict(FRAME)


@pytest.mark.slow
def test_a_network_that_hangs_the_runtime_is_one_error(
    hostile: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolated, "SECONDS", 1.0)
    with pytest.raises(errors.IsolatedLoadError, match="took more than 1 s"):
        Tagger(hostile("hang"))


@pytest.mark.slow
def test_a_network_that_fills_the_memory_is_one_error(
    hostile: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(isolated, "MEMORY_BYTES", 2**29)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(errors.BackendError, match=r"bad_alloc|MemoryError|crashed"):
        Tagger(hostile("memory"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


@pytest.mark.slow
def test_an_unsigned_plan_has_one_isolated_load(
    own_plan: Path, loads: list[str], folder: Path
) -> None:
    first, second = Tagger(own_plan), Tagger(own_plan)
    assert first.predict(FRAME).logits.tobytes() == second.predict(FRAME).logits.tobytes()
    Tagger(own_plan, precision="fp32", num_threads=1)
    assert loads == [str(own_plan)]
    (mark,) = folder.glob("*.loaded")
    mark.write_bytes(b"damaged")
    Tagger(own_plan)
    assert len(loads) == 2
    # what the process would decode
    frame = read_raw(own_plan)["golden"]["frame_png"][:-8] + "AAAAAAA="
    edit_manifest(own_plan, lambda raw: raw["golden"].update(frame_png=frame))
    with pytest.raises(errors.ManifestError):
        Tagger(own_plan)
    assert len(loads) == 3


@pytest.mark.slow
@pytest.mark.parametrize("is_open", [False, True])
def test_all_that_a_plan_needs_is_loaded_before_it(
    is_open: bool, own_plan: Path, folder: Path, tmp_path: Path
) -> None:
    """Afterwards the process opens no file: no library, and nothing about the machine."""
    if is_open:
        pytest.importorskip("onnx", reason="writes a network")
        own_plan = tiny_open.build_plan(tmp_path)
        for mark in folder.glob("*.loaded"):  # it was built here
            mark.unlink()
    with Tagger(own_plan, optimize="throughput", num_threads=4) as tagger:
        assert tagger.predict(FRAME)
    assert list(folder.glob("*.loaded"))


@pytest.mark.slow
def test_without_a_cache_each_load_is_isolated_first(
    own_plan: Path, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PVLR_CACHE_DIR", "")
    for _ in range(2):
        Tagger(own_plan)
    assert len(loads) == 2


@pytest.mark.slow
def test_a_trusted_plan_has_no_isolated_load(
    own_plan: Path, loads: list[str], folder: Path, keys: Any, sign: Any
) -> None:
    sign(own_plan, keys.make("me", "ed25519"))
    Tagger(own_plan, trust=Trust(keys.trusted, state=""))
    Tagger(own_plan, allow_unsigned=True)
    Tagger(default_plan())
    assert loads == []
    assert not list(folder.glob("*.loaded"))
    Tagger(own_plan)  # its signature is not verified
    assert loads == [str(own_plan)]


def test_a_plan_that_was_built_here_has_no_isolated_load(
    exported: Any, tmp_path: Path, loads: list[str]
) -> None:
    from pvlr_sdk.workshop.compile.build import build

    build(exported.onnx, tmp_path / "engine.plan")
    Tagger(tmp_path / "engine.plan")
    assert loads == []


def no_memory(*_: Any) -> int:
    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


@pytest.mark.slow
@pytest.mark.parametrize("obstacle", ["frozen", "no processes", "no memory"])
def test_where_no_process_can_be_started_the_plan_is_loaded_here(
    obstacle: str,
    own_plan: Path,
    folder: Path,
    loads: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if obstacle == "frozen":
        monkeypatch.setattr(sys, "frozen", True, raising=False)
    elif obstacle == "no processes":
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
    else:
        monkeypatch.setattr(os, "memfd_create", no_memory)
    with caplog.at_level(logging.INFO, "pvlr_sdk"):
        assert Tagger(own_plan).predict(FRAME)
    assert len(loads) == 1
    assert f"{own_plan} is loaded in this process only" in caplog.text
    assert not list(folder.glob("*.loaded"))


def test_marks_do_not_replace_compiled_networks(folder: Path) -> None:
    assert cache.cache_folder() == folder
    cache.store(folder, "network", b"data")
    for number in range(20):
        cache.store(folder, f"mark{number}", b"", "loaded")
    assert cache.load(folder, "network") == b"data"
    assert cache.load(folder, "mark0", "loaded") == b""


@pytest.mark.slow
@pytest.mark.parametrize("trusted", [False, True])
def test_what_openvino_cannot_compute_is_a_typed_error(
    hostile: Callable[[str], Path], trusted: bool
) -> None:
    """A division by zero is a ValueError of OpenVINO."""
    with pytest.raises((errors.ModelError, errors.BackendError), match="ivision by zero"):
        Tagger(hostile("divide by zero"), allow_unsigned=trusted)


@pytest.mark.parametrize(
    "message",
    [
        b"\xff",
        b"[]",
        b"{}",
        b'{"error": []}',
        b'{"error": ["install_hint", "", "", "", ""]}',
        b"[" * 60_000,
    ],
)
def test_any_answer_of_the_process_is_an_outcome_or_a_failure(message: bytes) -> None:
    with pytest.raises(ProcessFailedError):
        isolated._check_answer(message)
    isolated._check_answer(b'"loaded"')


def test_its_texts_are_short_and_printable() -> None:
    text = "\x1b[2J\r\n\u202e" + 60_000 * "\0"
    for answer in (
        {"failure": text},
        {"error": ["ModelError", *[text] * 4]},
        {"error": [text, *[""] * 4]},
    ):
        with pytest.raises((ProcessFailedError, errors.ModelError)) as caught:
            isolated._check_answer(json.dumps(answer).encode())
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 4100


def test_an_error_of_the_process_is_raised_again() -> None:
    with pytest.raises(errors.ModelError, match=r"plan: expected a, got b\. c"):
        isolated._check_answer(b'{"error": ["ModelError", "plan", "a", "b", "c"]}')
