"""What restricted processes can do and what they cannot, and the numbers of the permitted system calls."""

from __future__ import annotations

import ctypes
import ctypes.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk.frames.isolated import sandbox
from pvlr_sdk.frames.isolated.process import IsolatedProcess, ProcessFailedError

Attempt = Callable[[str], Any]


@pytest.fixture(params=["decoder", "runtime"])
def attempt(
    request: pytest.FixtureRequest, functions: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Attempt]:
    """Tries an action in a restricted process, in a folder with the file ``old``: its result, or its exception."""
    monkeypatch.setenv("PVLR_TOKEN", "secret")
    (tmp_path / "old").write_text("old")
    process = IsolatedProcess(f"functions:as_{request.param}", 2**29)
    process.wait_until_ready()

    def attempt(action: str) -> Any:
        process.send(json.dumps([action, str(tmp_path)]).encode(), [])
        return json.loads(process.receive(0.5 if action == "forever" else 10))

    yield attempt
    process.close()


def test_actions_that_are_not_permitted(attempt: Attempt, tmp_path: Path) -> None:
    for action in (
        *("connect", "write", "append", "change", "remove", "rename"),
        *("folder", "link", "program", "fork", "kill"),
    ):
        assert attempt(action) == "PermissionError", action
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("old", "old")]


def test_actions_that_only_a_runtime_may_take(attempt: Attempt, request: pytest.FixtureRequest) -> None:
    results = attempt("read"), attempt("thread")
    decoder = "decoder" in request.node.name
    assert results == (("PermissionError", "RuntimeError") if decoder else ("old", None))
    assert "PVLR_TOKEN" not in attempt("environment")


@pytest.mark.slow
@pytest.mark.parametrize(("action", "reason"), [("crash", "crashed"), ("forever", "took more than 0.5 s")])
def test_processes_that_do_not_answer(attempt: Attempt, action: str, reason: str) -> None:
    assert attempt("memory") == "MemoryError"
    with pytest.raises(ProcessFailedError, match=reason):
        attempt(action)


@pytest.mark.parametrize(("machine", "column"), [("x86_64", 0), ("aarch64", 1)])
def test_the_numbers_are_those_of_the_kernel(machine: str, column: int) -> None:
    name = ctypes.util.find_library("seccomp")
    if name is None:
        pytest.skip("libseccomp is not installed")
    library = ctypes.CDLL(name)
    architecture = ctypes.c_uint32(sandbox._MACHINES[machine][1])
    for name, numbers in {**sandbox._COMPUTE, "seccomp": sandbox._SECCOMP}.items():
        number = library.seccomp_syscall_resolve_name_arch(architecture, name.encode())
        # libseccomp numbers calls that a processor does not have below zero.
        assert numbers[column] == (number if number >= 0 else None), name
