"""OpenVINO, NNCF and ONNX Runtime without their telemetry. They are imported here and nowhere else (a test checks).

Each of them reports to an analytics host, without asking: the first two when they are imported (through the package
``openvino_telemetry``, which also writes a client ID into the home folder), the third when a session is created.
"""

from __future__ import annotations

import importlib
import os
import sys
from functools import partial
from types import ModuleType
from typing import Any


def silence() -> None:
    """Switch the telemetry off in this process and its children; call it before other packages import one of these."""
    if not {"openvino", "nncf"} & sys.modules.keys():
        # None is Python's mark for a package that cannot be imported. It stays for the life of the process: parts of
        # OpenVINO are imported later, and a part with telemetry does not work with one without.
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    # ONNX Runtime reads it once, when it is loaded
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def _imported(name: str) -> ModuleType:
    silence()
    return importlib.import_module(name)


def openvino() -> ModuleType:
    """Import ``openvino``, and its converter of models only when ``convert_model`` is asked for.

    OpenVINO imports the converter itself, which brings packages of its own and takes a tenth of a tagger's load time.

    Raises:
        ImportError: it is not installed, or its libraries cannot be loaded.
    """
    if "openvino" in sys.modules or _CONVERTER in sys.modules:
        return _imported("openvino")
    sys.modules[_CONVERTER] = None  # type: ignore[assignment]  # OpenVINO does without
    try:
        module = _imported("openvino")
    finally:
        sys.modules.pop(_CONVERTER, None)  # another thread may have
    vars(module).setdefault("__getattr__", _convert_model)
    return module


def _convert_model(name: str) -> Any:
    if name == "convert_model":
        return importlib.import_module(_CONVERTER).convert_model
    raise AttributeError(f"module 'openvino' has no attribute {name!r}")


_CONVERTER = "openvino.tools.ovc"
openvino_passes = partial(_imported, "openvino.passes")
"""Import OpenVINO's changes of graphs, as ``openvino``."""
nncf = partial(_imported, "nncf")
"""Import ``nncf``, which quantises networks; raises ImportError if it, or a package that it needs, is not installed."""
onnxruntime = partial(_imported, "onnxruntime")
"""Import ``onnxruntime``; raises ImportError if it is not installed, or its libraries cannot be loaded."""
