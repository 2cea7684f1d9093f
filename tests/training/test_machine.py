"""Precision, available memory (from a fake cgroup tree), and what a single process imports."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from pvlr_training.machine import Machine, available_memory, has_bf16


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)]
)
def test_precision(precision: str, dtype: torch.dtype) -> None:
    machine = Machine(precision)
    matrix = torch.ones(2, 2, device=machine.device)
    with machine.autocast():
        assert (matrix @ matrix).dtype == dtype


def test_auto_is_bf16_where_the_hardware_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Machine("auto").bf16 == has_bf16(Machine().device)
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False}, raising=False
    )
    assert not has_bf16(torch.device("cpu"))
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: {"avx2": True, "amx_bf16": True}, raising=False
    )
    assert has_bf16(torch.device("cpu"))


@pytest.mark.slow
def test_one_process_starts_nothing_for_several() -> None:
    code = (
        "import sys; from pvlr_training.machine import Machine; machine = Machine();"
        "assert machine.leads and machine.processes == 1; assert 'accelerate' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


GIGABYTE = 10**9


@pytest.mark.parametrize(
    ("group", "limits", "expected"),
    [
        (None, {}, 8 * GIGABYTE),
        ("/", {}, 8 * GIGABYTE),
        ("/a/b", {"a/b": ("max", 1, 0)}, 8 * GIGABYTE),
        ("/a/b", {"a/b": (4 * GIGABYTE, GIGABYTE, 0)}, 3 * GIGABYTE),
        (
            "/a/b",
            {"a/b": (4 * GIGABYTE, 2 * GIGABYTE, GIGABYTE)},
            3 * GIGABYTE,
        ),  # file pages can be dropped
        (
            "/a/b",
            {"a": (3 * GIGABYTE, GIGABYTE, 0), "a/b": (8 * GIGABYTE, GIGABYTE, 0)},
            2 * GIGABYTE,
        ),
        ("/a", {"a": (GIGABYTE, 2 * GIGABYTE, 0)}, 0),
        ("/a", {"a": ("nonsense", 0, 0)}, 8 * GIGABYTE),
        ("/a", {"a": (64 * GIGABYTE, 0, 0)}, 8 * GIGABYTE),
    ],
)
def test_limits(
    tmp_path: Path, group: str | None, limits: dict[str, tuple[Any, int, int]], expected: int
) -> None:
    meminfo, membership = tmp_path / "meminfo", tmp_path / "membership"
    meminfo.write_text("MemTotal: 16000000 kB\nMemFree: 1 kB\nMemAvailable: 7812500 kB\n")
    if group is not None:
        membership.write_text(f"1:name=old:/x\n0::{group}\n")
    root = tmp_path / "cgroup"
    for name, (limit, used, inactive) in limits.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / "memory.max").write_text(f"{limit}\n")
        (root / name / "memory.current").write_text(f"{used}\n")
        (root / name / "memory.stat").write_text(f"anon 5\ninactive_file {inactive}\n")
    assert available_memory(root, membership, meminfo) == expected


def test_this_machine_and_one_that_does_not_tell(tmp_path: Path) -> None:
    assert available_memory() > 10**6
    assert available_memory(meminfo=tmp_path / "nothing") == 0


_FAULTS = """
import resource, torch
from pvlr_training.machine import keep_freed_memory
{}
for step in range(11):
    if step == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(2):
        torch.empty(40 << 20, dtype=torch.uint8).fill_(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library than glibc"
)
def test_freed_tensors_are_not_given_back_to_the_kernel() -> None:
    """Page faults of ten steps that allocate and free 40 MB twice, in a separate process."""
    faults = {}
    for call in ("keep_freed_memory()", ""):
        done = subprocess.run(
            [sys.executable, "-c", _FAULTS.format(call)], capture_output=True, text=True, check=True
        )
        faults[call] = int(done.stdout)
    assert faults[""] > 10_000
    assert faults["keep_freed_memory()"] < 0.02 * faults[""]
