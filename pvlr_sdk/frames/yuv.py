"""Names of YUV formats: a layout (``nv12`` or ``i420``), then the colour matrix and the range.

Without a suffix the matrix is BT.601 with limited range, as in OpenCV. ``-bt709`` is the matrix of most HD cameras;
``-full`` means luma 0..255 rather than 16..235: ``nv12-bt709``, ``i420-full``, ``nv12-bt709-full``.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from .. import errors

Order: TypeAlias = Literal[
    "nv12", "nv12-full", "nv12-bt709", "nv12-bt709-full", "i420", "i420-full", "i420-bt709", "i420-bt709-full"
]
"""Luma, then pairs of U and V (nv12), or U, then V (i420). Both are (H * 3 / 2, W), H and W even."""
ORDERS: tuple[Order, ...] = get_args(Order)


def is_yuv(order: str) -> bool:
    """Whether an order is one of :data:`ORDERS`."""
    return order in ORDERS


def check_shape(name: str, shape: tuple[int, ...], order: str) -> None:
    """Raises FrameShapeError, which names the array, unless its shape holds an image in a YUV order."""
    if len(shape) != 2 or shape[0] % 3 or shape[1] % 2:
        expected = f"(height * 3 / 2, width) with even height and width for {order}"
        hint = "Pass the luma rows followed by the chroma rows."
        raise errors.FrameShapeError(name, expected=expected, got=str(shape), hint=hint)
