"""The command that trains the rows of the accuracy page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.slow
def test_an_error_of_the_sdk_is_one_message(
    run: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("torch", reason="training needs the extra [train]")
    monkeypatch.delenv("PVLR_DATA", raising=False)
    run("benchmarks.accuracy", "train", "pvlr", "--again", "--out", tmp_path, status=2)
