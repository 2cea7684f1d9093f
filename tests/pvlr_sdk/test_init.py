"""``import pvlr_sdk``: public names, and no heavy imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import pvlr_sdk


class TestImport:
    def run(self, code: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout

    def test_is_light(self) -> None:
        heavy = [
            "torch",
            "numpy",
            "cv2",
            "av",
            "openvino",
            "pydantic",
            "rich",
            "typer",
            "PIL",
            "safetensors",
        ]
        code = f"import pvlr_sdk, sys; print([name for name in {heavy} if name in sys.modules])"
        assert self.run(code) == "[]\n"

    @pytest.mark.slow
    def test_tagging_never_imports_torch(self, plan: Path) -> None:
        code = (
            "import sys, numpy; from pvlr_sdk import Tagger; "
            f"Tagger({str(plan)!r}).predict(numpy.zeros((9, 9, 3), 'u1')); "
            "print([name for name in ('torch', 'onnx', 'PIL') if name in sys.modules])"
        )
        assert self.run(code) == "[]\n"

    def test_public_names(self) -> None:
        for name in pvlr_sdk.__all__:
            assert getattr(pvlr_sdk, name) is not None
            assert name in dir(pvlr_sdk)
        loaded = {name for name in dir(pvlr_sdk) if f"pvlr_sdk.{name}" in sys.modules}
        assert {name for name in dir(pvlr_sdk) if name[:2] != "__"} == {*pvlr_sdk.__all__} - {
            "__version__"
        } | loaded
        with pytest.raises(AttributeError):
            pvlr_sdk.nothing  # noqa: B018
