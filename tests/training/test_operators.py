"""The table of operators is what models/operators.py writes, and has those of everything that the exporter writes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from pvlr_sdk.bundle.network import check_network
from pvlr_sdk.bundle.operators import DOMAINS, OPERATORS

pytest.importorskip("nncf")
SCRIPT = Path(__file__).parents[2] / "models" / "operators.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("operators", SCRIPT)
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_the_table_is_written_by_the_script(script: ModuleType) -> None:
    found = {(domain, operator) for domain, operators in OPERATORS.items() for operator in operators}
    sets = {(domain, version) for domain, versions in DOMAINS.items() for version in versions}
    assert script.table(found, sets) == script.TABLE.read_text()
    assert {("", operator) for operator in script.ELEMENTWISE.split()} <= found
    # What contains other graphs, runs for as long as it likes, or reads what is not in the network.
    assert not {"If", "Loop", "Scan", "SequenceMap", "RandomNormal", "Optional"} & OPERATORS[""]


@pytest.mark.slow
def test_heads_precisions_and_small_backbones_pass(script: ModuleType) -> None:
    payloads = list(script.written(script.SMALL))
    for payload in payloads:
        check_network(payload, "exported")
    found, sets = script.operators_of(payloads)
    assert all(operator in OPERATORS[domain] for domain, operator in found)
    assert {domain: max(v for d, v in sets if d == domain) for domain in DOMAINS} == {
        domain: versions[-1] for domain, versions in DOMAINS.items()
    }
