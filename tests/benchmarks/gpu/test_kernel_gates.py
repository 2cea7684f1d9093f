"""The kernel report fails for a number that is worse than the committed one, and for nothing else."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from benchmarks.common import RESULTS
from benchmarks.gpu import kernel_report
from benchmarks.gpu.kernel_gates import regressions

COMMITTED = json.loads((RESULTS / "kernels.json").read_text())
LARGE = next(
    number
    for number, row in enumerate(COMMITTED["kernels"])
    if row["family"] == "dual_softmax_attention" and row["capability"] == 87 and row["main_loop"]
)


def test_a_report_is_no_worse_than_itself() -> None:
    assert COMMITTED["banks"]
    assert regressions(COMMITTED, COMMITTED) == []


def _row(data: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = data["kernels"][LARGE]
    return row


WORSE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "registers": lambda data: _row(data).update(registers=_row(data)["registers"] + 1),
    "resident warps": lambda data: _row(data).update(resident_warps=_row(data)["resident_warps"] - 1),
    "instructions in a pass": lambda data: _row(data)["main_loop"].update(issued=_row(data)["main_loop"]["issued"] + 1),
    "bank conflicts": lambda data: data["banks"][0].update(conflicts=data["banks"][0]["conflicts"] + 1),
}


@pytest.mark.parametrize("name", WORSE)
def test_each_gate_closes(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = copy.deepcopy(COMMITTED)
    WORSE[name](found)
    (line,) = regressions(COMMITTED, found)
    assert name in line
    assert regressions(found, COMMITTED) == []  # better is fine
    assert regressions({**COMMITTED, "tools": {"nvcc": "1.0"}}, found) == []  # another compiler

    # The command itself: the same report with the planted number.
    monkeypatch.setattr(kernel_report, "KERNELS", kernel_report.KERNELS[:1])
    monkeypatch.setattr(kernel_report, "inspect", lambda *_: found["kernels"])
    monkeypatch.setattr(kernel_report, "banks", lambda _: found["banks"])
    monkeypatch.setattr(kernel_report, "tool_versions", lambda: found["tools"])
    paths = ["--json", str(tmp_path / "k.json"), "--page", str(tmp_path / "k.md")]
    app = typer.Typer()
    app.command()(kernel_report.main)
    refused = CliRunner().invoke(app, paths)
    assert refused.exit_code == 1
    assert not any(tmp_path.iterdir())
    assert CliRunner().invoke(app, [*paths, "--accept"]).exit_code == 0
    assert json.loads((tmp_path / "k.json").read_text())["kernels"] == found["kernels"]
