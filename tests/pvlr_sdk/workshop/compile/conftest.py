"""The closed network of the bundled model, which fused attention needs; the tiny one has no dual-modal attention."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvlr_sdk.models.find import default_plan
from tests.shared import shared_folder


@pytest.fixture(scope="session")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network, with its label bank beside it; one for all workers."""
    pytest.importorskip("onnx", reason="writes a network")
    from benchmarks.closed import write_closed

    with shared_folder(tmp_path_factory, "closed") as folder:
        path = folder / "model.onnx"
        return path if path.exists() else write_closed(default_plan(), folder)
