"""The threat model in SECURITY.md: every test that it names exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = sorted(set(re.findall(r"`(\w+\.py)::(\w+)`", (ROOT / "SECURITY.md").read_text())))


@cache
def _tests(file: str) -> frozenset[str]:
    """Names of the tests in all files of this name."""
    trees = [ast.parse(path.read_text()) for path in (ROOT / "tests").rglob(file)]
    return frozenset(
        node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)
    )


def test_it_names_tests():
    assert len(NAMED) > 40


@pytest.mark.slow
@pytest.mark.parametrize(("file", "name"), NAMED)
def test_every_test_that_it_names_exists(file, name):
    assert name in _tests(file)
