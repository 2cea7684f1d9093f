"""libpvlr, the library for C and C++, where a wheel contains it.

``cmake -DCMAKE_PREFIX_PATH="$(python -m pvlr_sdk.libpvlr)"`` finds it. It runs without Python, with the OpenVINO
library of the package ``openvino`` that is installed next to this one.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

from .. import errors

_FOLDER = Path(__file__).resolve().parent


def prefix(folder: Path = _FOLDER) -> Path:
    """The folder with ``include`` and ``lib``.

    Raises:
        MissingPartError: this installation has no libpvlr, or another version of OpenVINO than it was built with.
    """
    library = folder / "lib/libpvlr.so"
    if not library.is_file():
        raise errors.MissingPartError(
            "libpvlr",
            "an installation that contains it",
            "none",
            "Install a wheel of a release, or build it (docs/cpp.md).",
        )
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        raise errors.MissingPartError(
            "libpvlr",
            "the version of OpenVINO that it was built with",
            str(error),
            errors.install_hint("cpp"),
        ) from None
    return folder
