"""The library of the TensorRT plugins DualSoftmaxAttention and TagHead: finding, describing and loading it.

A build with CUDA and TensorRT's headers puts ``libpvlr_plugins.so`` next to the compiled core (docs/plugin.md). A plan
with fused attention needs it, to be built and to run.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ... import errors

if TYPE_CHECKING:
    import tensorrt as trt

NAMESPACE = "pvlr"
OPERATORS = ("DualSoftmaxAttention", "TagHead")
LIBRARY = Path(__file__).resolve().parents[2] / "libpvlr_plugins.so"
"""Path of the library in an installation."""

_HOW_TO_BUILD = "Build it with PVLR_CUDA=1 pip install . (see docs/plugin.md), or use native attention."


@dataclass(frozen=True)
class PluginLibrary:
    """A plugin library that this machine can load.

    Attributes:
        path: the file.
        sha256: its hash, in hexadecimal.
        version: version of the operators; a plan needs the version that it was built with.
        tensorrt: the version of the headers that it was compiled with; it works with others from 10.0 on.
        cuda: the CUDA compiler's version.
        capabilities: compute capabilities that it has code for, such as ``8.7``; the newest also covers later ones.
    """

    path: Path
    sha256: str
    version: str
    tensorrt: str
    cuda: str
    capabilities: tuple[str, ...]


def find(path: Path = LIBRARY, *, sha256: str | None = None) -> PluginLibrary:
    """Find and describe the plugin library; needs neither TensorRT nor a GPU.

    Args:
        path: the file.
        sha256: the expected hash, checked before any of the library's code runs.

    Raises:
        MissingPartError: there is no such library, or it does not load.
        FileHashError: the hash differs.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _missing(path, f"none ({error.strerror})") from error
    digest = hashlib.sha256(data).hexdigest()
    if sha256 is not None and sha256 != digest:
        hint = "Build the plan again with this library, or install the SDK that it was built with."
        raise errors.FileHashError(str(path), expected=f"SHA-256 {sha256}", got=digest, hint=hint)
    try:
        about = ctypes.CDLL(str(path)).pvlr_plugins_about
        about.restype = ctypes.c_char_p
        facts = json.loads(about())
        return PluginLibrary(
            path,
            digest,
            version=facts["version"],
            tensorrt=facts["tensorrt"],
            cuda=facts["cuda"],
            capabilities=tuple(f"{int(one) // 10}.{int(one) % 10}" for one in facts["architectures"].split()),
        )
    except (OSError, AttributeError, ValueError, KeyError, TypeError) as error:
        raise _missing(path, f"one that does not load: {error}") from error


def version(path: Path = LIBRARY) -> str | None:
    """The version of the installed operators; None if there is no library, or it does not load."""
    try:
        return find(path).version
    except errors.MissingPartError:
        return None


def load(registry: trt.IPluginRegistry, path: Path = LIBRARY, *, sha256: str | None = None) -> PluginLibrary:
    """Register the plugins with TensorRT: ``load(tensorrt.get_plugin_registry())``. A second call does nothing.

    Raises:
        MissingPartError, FileHashError: as :func:`find`.
        BackendError: TensorRT cannot load the library.
    """
    library = find(path, sha256=sha256)
    if not _missing_creators(registry, library):
        return library
    reason = None
    try:
        registry.load_library(str(path))
    except Exception as error:  # the bindings raise various classes
        reason = str(error)
    missing = _missing_creators(registry, library)
    if missing:
        expected = f"a plugin library that TensorRT loads, with {', '.join(missing)}"
        hint = "TensorRT's log has the reason. " + _HOW_TO_BUILD
        raise errors.BackendError(str(path), expected=expected, got=reason or "none of them, or only some", hint=hint)
    return library


def _missing_creators(registry: trt.IPluginRegistry, library: PluginLibrary) -> list[str]:
    known = {(one.plugin_namespace, one.name, one.plugin_version) for one in registry.all_creators}
    return [name for name in OPERATORS if (NAMESPACE, name, library.version) not in known]


def _missing(path: Path, got: str) -> errors.MissingPartError:
    return errors.MissingPartError(str(path), expected="the TensorRT plugins", got=got, hint=_HOW_TO_BUILD)
