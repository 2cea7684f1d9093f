"""The library of the TensorRT plugins DualSoftmaxAttention and TagHead: finding and loading it.

A build with CUDA and TensorRT's headers puts ``libpvlr_plugins.so`` next to the compiled core (docs/plugin.md). A plan
with fused attention needs it, to be built and to run.
"""

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ... import errors

if TYPE_CHECKING:
    import tensorrt as trt

NAMESPACE = "pvlr"
OPERATORS = ("DualSoftmaxAttention", "TagHead")
LIBRARY = Path(__file__).resolve().parents[2] / "libpvlr_plugins.so"
"""Path of the library in an installation."""

_HOW_TO_BUILD = (
    "Build it with PVLR_CUDA=1 pip install . (see docs/plugin.md), or use native attention."
)


def find(path: Path = LIBRARY) -> str:
    """Find the plugin library; needs neither TensorRT nor a GPU.

    Returns:
        The version of its operators. A plan needs the version that it was built with.

    Raises:
        MissingPartError: there is no such library, or it does not load.
    """
    if not path.is_file():
        raise _missing(path, "none")
    try:
        about = ctypes.CDLL(str(path)).pvlr_plugins_about
        about.restype = ctypes.c_char_p
        return str(json.loads(about())["version"])
    except (OSError, AttributeError, ValueError, KeyError, TypeError) as error:
        raise _missing(path, f"one that does not load: {error}") from error


def version(path: Path = LIBRARY) -> str | None:
    """As :func:`find`; None if there is no library, or it does not load."""
    try:
        return find(path)
    except errors.MissingPartError:
        return None


def load(registry: trt.IPluginRegistry, path: Path = LIBRARY) -> None:
    """Register the plugins with TensorRT: ``load(tensorrt.get_plugin_registry())``. A second call does nothing.

    Raises:
        MissingPartError: as :func:`find`.
        BackendError: TensorRT cannot load the library.
    """
    version = find(path)
    if not _missing_creators(registry, version):
        return
    reason = None
    try:
        registry.load_library(str(path))
    except Exception as error:  # the bindings raise various classes
        reason = str(error)
    missing = _missing_creators(registry, version)
    if missing:
        raise errors.BackendError(
            str(path),
            f"a plugin library that TensorRT loads, with {', '.join(missing)}",
            reason or "none of them, or only some",
            "TensorRT's log has the reason. " + _HOW_TO_BUILD,
        )


def _missing_creators(registry: trt.IPluginRegistry, version: str) -> list[str]:
    registered = {
        (creator.plugin_namespace, creator.name, creator.plugin_version)
        for creator in registry.all_creators
    }
    return [name for name in OPERATORS if (NAMESPACE, name, version) not in registered]


def _missing(path: Path, got: str) -> errors.MissingPartError:
    return errors.MissingPartError(str(path), "the TensorRT plugins", got, _HOW_TO_BUILD)
