"""Functions that isolated processes import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of that name, importable in isolated processes too."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    import functions

    return functions
