"""OpenVINO's entry point: one for the process, however many threads ask for it first."""

from __future__ import annotations

import subprocess
import sys
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
    # a process without one,
    monkeypatch.setattr(compilation, "os", SimpleNamespace(getpid=lambda: -1))
    monkeypatch.setattr(compilation, "_locks", {})  # whose parent has none either
    with ThreadPoolExecutor(4) as threads:
        cores = set(threads.map(lambda _: compilation.open_core(), range(4)))
    assert len(cores) == 1


def test_ctrl_c_while_openvino_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise ImportError("initialization failed") from KeyboardInterrupt()  # as pybind11 does

    monkeypatch.setattr(compilation.runtimes, "openvino", interrupted)
    # a process without one
    monkeypatch.setattr(compilation, "os", SimpleNamespace(getpid=lambda: -2))
    monkeypatch.setattr(compilation, "_locks", {})
    with pytest.raises(KeyboardInterrupt):
        compilation.open_core()


@pytest.mark.slow
def test_the_converter_of_models_is_imported_when_it_is_asked_for() -> None:
    """A tagger does without it; other code of the same process still finds it."""
    script = (
        "import sys\nfrom pvlr_sdk import Tagger\nTagger()\n"
        "assert 'openvino.tools.ovc' not in sys.modules\n"
        "from openvino import convert_model\nimport openvino.tools.ovc\n"
        "assert convert_model is openvino.tools.ovc.convert_model and not hasattr(openvino, 'converter')\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
