"""Multi-label image tagging on edge devices.

from pvlr_sdk import Tagger

for tag in Tagger().predict("photo.jpg"):
    print(tag.label, tag.score)
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ._util.version import __version__ as __version__

if TYPE_CHECKING:
    from .bundle.label_bank import LabelBank as LabelBank
    from .cameras.sources import open_source as open_source
    from .cameras.stream import Camera as Camera
    from .cameras.stream import Stream as Stream
    from .errors import PvlrError as PvlrError
    from .result import Tag as Tag
    from .result import TagResult as TagResult
    from .tagger import Tagger as Tagger

__all__ = [
    "Camera",
    "LabelBank",
    "PvlrError",
    "Stream",
    "Tag",
    "TagResult",
    "Tagger",
    "__version__",
    "open_source",
]

# Resolved on first use (PEP 562): a script that only needs the version should not pay for NumPy, OpenCV and OpenVINO.
_LAZY = {
    "Camera": "cameras.stream",
    "LabelBank": "bundle.label_bank",
    "PvlrError": "errors",
    "Stream": "cameras.stream",
    "Tag": "result",
    "TagResult": "result",
    "Tagger": "tagger",
    "open_source": "cameras.sources",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'pvlr_sdk' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_LAZY[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    # the submodules that are imported, and the names of every module, such as __file__
    names = globals()
    return sorted(
        {
            *__all__,
            *(name for name in names if name[:2] == "__" or f"{__name__}.{name}" in sys.modules),
        }
    )
