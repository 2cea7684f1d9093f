"""The table of operators has those of everything that the exporter writes, and none that a network must not have."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from pvlr_sdk.bundle.network import check_network

ROOT = Path(__file__).parents[2]


def test_no_operator_contains_graphs_or_runs_without_end() -> None:
    table = (ROOT / "csrc/host/network/operators.inc").read_text()
    assert '"Conv"' in table
    for operator in ("If", "Loop", "Scan", "SequenceMap", "RandomNormal", "Optional"):
        assert f'"{operator}"' not in table


@pytest.mark.slow
def test_heads_precisions_and_small_backbones_pass() -> None:
    pytest.importorskip("nncf")
    spec = importlib.util.spec_from_file_location("operators", ROOT / "models" / "operators.py")
    assert spec
    assert spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    for name, payload in script.written(script.SMALL):
        check_network(payload, name)
