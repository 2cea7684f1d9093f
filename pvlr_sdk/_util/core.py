"""The compiled core ``_core``, which is None in a checkout that was not installed."""

from __future__ import annotations

from .. import errors

try:
    from .. import _core as _core
except ImportError:
    _core = None  # type: ignore[assignment]


def missing_core() -> errors.MissingPartError:
    """The error where the compiled core is needed and not installed."""
    return errors.MissingPartError(
        "pvlr_sdk._core",
        "the compiled core",
        "no such module",
        "Install the package with pip (pip install . in a checkout; it needs a C++17 compiler).",
    )
