"""Names of YUV formats: a layout (``nv12`` or ``i420``), then the colour matrix and the range.

Without a suffix the matrix is BT.601 with limited range, as in OpenCV. ``-bt709`` is the matrix of most HD cameras;
``-full`` means luma 0..255 rather than 16..235: ``nv12-bt709``, ``i420-full``, ``nv12-bt709-full``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

from .. import errors

Order: TypeAlias = Literal[
    "nv12",
    "nv12-full",
    "nv12-bt709",
    "nv12-bt709-full",
    "i420",
    "i420-full",
    "i420-bt709",
    "i420-bt709-full",
]
"""Luma, then pairs of U and V (nv12), or U, then V (i420): one array (H * 3 / 2, W), H and W even, or a tuple of
planes, luma (H, W) and those of :func:`chroma_shapes`."""
ORDERS: tuple[Order, ...] = get_args(Order)


def is_yuv(order: str) -> bool:
    """Whether an order is one of :data:`ORDERS`."""
    return order in ORDERS


def chroma_shapes(order: str, height: int, width: int) -> list[tuple[int, int]]:
    """The shapes of the planes after the luma: half the size, rounded up, with U and V in pairs for nv12."""
    half = (height + 1) // 2
    across = (width + 1) // 2
    return [(half, 2 * across)] if order.startswith("nv12") else [(half, across)] * 2


def check_planes(name: str, shapes: Sequence[tuple[int, ...]], order: str) -> None:
    """Raises FrameShapeError, which names the frame, unless planes of these shapes are an image in a YUV order."""
    luma = shapes[0] if shapes and len(shapes[0]) == 2 else (2, 2)
    wanted = [luma, *chroma_shapes(order, *luma)]
    if list(shapes) != wanted:
        raise errors.FrameShapeError(
            name,
            f"planes of the shapes {wanted} for {order}",
            str(list(shapes)),
            "Pass (luma, pairs of U and V) for nv12, (luma, U, V) for i420, each as rows of bytes.",
        )


def check_shape(name: str, shape: tuple[int, ...], order: str) -> None:
    """Raises FrameShapeError, which names the array, unless its shape holds an image in a YUV order."""
    if len(shape) != 2 or shape[0] % 3 or shape[1] % 2:
        raise errors.FrameShapeError(
            name,
            f"(height * 3 / 2, width) with even height and width for {order}",
            str(shape),
            "Pass the luma rows followed by the chroma rows, or a tuple of planes.",
        )
