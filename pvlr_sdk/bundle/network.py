"""Checks that an ONNX network is plain data, before a runtime sees it.

The compiled core walks its bytes, and so does libpvlr: ``csrc/include/pvlr/network.h`` says what is refused.
"""

from __future__ import annotations

from .. import errors
from .._util.core import _core, missing_core

MAX_ELEMENTS: int = getattr(_core, "MAX_NETWORK_ELEMENTS", 0)
"""Of a constant, and of each tensor that a network computes."""


def check_network(payload: bytes, source: str) -> None:
    """Walk the bytes of an ONNX network; takes 0.1 ms for 12 MB.

    Args:
        payload: the network.
        source: names it in errors.

    Raises:
        ModelError: it is not an ONNX network.
        UnsafeNetworkError: it has something that no exported network has.
        MissingPartError: the compiled core is not installed: nothing is accepted unchecked.
    """
    if _core is None:
        raise missing_core()
    if refusal := _core.check_network(payload):
        is_onnx, expected, got = refusal
        kind = errors.UnsafeNetworkError if is_onnx else errors.ModelError
        raise kind(source, expected, got, "Export it again with pvlr export.")
