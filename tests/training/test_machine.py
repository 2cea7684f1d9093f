"""One process on this machine: precision, and nothing that only several need."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from pvlr_training.machine import Machine, has_bf16


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_precision(precision: str, dtype: torch.dtype) -> None:
    machine = Machine(precision)
    matrix = torch.ones(2, 2, device=machine.device)
    with machine.autocast():
        assert (matrix @ matrix).dtype == dtype


def test_auto_is_bf16_where_the_hardware_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Machine("auto").bf16 == has_bf16(Machine().device)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False}, raising=False)
    assert not has_bf16(torch.device("cpu"))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "amx_bf16": True}, raising=False)
    assert has_bf16(torch.device("cpu"))


def test_one_process_starts_nothing_for_several() -> None:
    code = (
        "import sys; from pvlr_training.machine import Machine; machine = Machine();"
        "assert machine.leads and machine.processes == 1; assert 'accelerate' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
