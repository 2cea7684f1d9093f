"""OpenVINO's entry point: one for the process, however many threads ask for it first."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from pvlr_sdk.backends.openvino import compilation


def test_threads_that_ask_at_once_get_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def import_slowly() -> SimpleNamespace:
        time.sleep(0.1)
        return SimpleNamespace(Core=object)

    monkeypatch.setattr(compilation.runtimes, "openvino", import_slowly)
    monkeypatch.setattr(compilation, "os", SimpleNamespace(getpid=lambda: -1))  # a process without one,
    monkeypatch.setattr(compilation, "_locks", {})  # whose parent has none either
    with ThreadPoolExecutor(4) as threads:
        cores = set(threads.map(lambda _: compilation.open_core(), range(4)))
    assert len(cores) == 1
