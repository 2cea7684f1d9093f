"""The compiled kernels, for arrays: dual-softmax attention."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import errors

try:
    from . import _core
except ImportError:  # a checkout that was never installed
    _core = None  # type: ignore[assignment]

DIMS = (32, 64, 96, 128)
"""The sizes of a head that the kernels are compiled for."""

_TYPES = ("float32", "float16", "bfloat16")  # bfloat16 as ml_dtypes defines it for NumPy
_CPU = 1  # DLPack's kDLCPU

Pair = tuple[NDArray[Any], NDArray[Any]]


def dual_softmax_attention(
    q_x: Any,
    k_t: Any,
    v_x: Any,
    v_t: Any,
    *,
    mask: Any = None,
    out: tuple[Any, Any] | None = None,
    stream: Any = None,
) -> Pair:
    """Compute softmax_C(S) V_t and softmax_N(S)^T V_x from one affinity S = Q_x K_t^T / sqrt(dh).

    B images, H heads, N tokens, C labels, dh dimensions a head (32, 64, 96 or 128); all arrays have the same dtype:
    float32, float16 or bfloat16 (of ml_dtypes). Sums are float32. Nothing is copied: the last axis of each array must
    be contiguous, other strides are free. On the CPU it runs on the calling thread, without the GIL.

    Args:
        q_x, v_x: queries and values of the tokens, (B, H, N, dh).
        k_t, v_t: keys and values of the labels, (B, H, C, dh), or (H, C, dh) for the same labels in each image.
        mask: bool or uint8, (C,) or (B, C): labels that take part; by default all do. The others get zeros in o_t and
            no weight in o_x; where no label takes part, o_x is zero.
        out: two arrays (o_x, o_t) to write into, apart from each other and from the inputs; new ones by default.
        stream: for arrays on a GPU only.

    Returns:
        o_x (B, H, N, dh) and o_t (B, H, C, dh), of the inputs' dtype.

    Raises:
        OptionError: a shape, dtype or layout does not fit; the error names the argument.
        MissingPartError: the arrays are on a GPU and the core was built without CUDA, or there is no compiled core.
    """
    if _core is None:
        raise errors.MissingPartError(
            "pvlr_sdk._core",
            expected="the compiled core",
            got="no such module",
            hint="Install the package with pip (pip install . in a checkout; it needs a C++17 compiler).",
        )
    queries = _array("q_x", q_x)
    if queries.ndim != 4 or queries.shape[3] not in DIMS or 0 in queries.shape:
        raise _wrong("q_x", f"a shape (batch, heads, tokens, dim) with dim one of {DIMS}", str(queries.shape))
    if queries.dtype.name not in _TYPES:
        raise _wrong("q_x", f"one of {', '.join(_TYPES)}", str(queries.dtype))
    batch, heads, _, dim = queries.shape
    keys = _bank("k_t", k_t)
    labels = keys.shape[2] if keys.ndim == 4 else 0
    if keys.shape not in {(batch, heads, labels, dim), (1, heads, labels, dim)} or labels == 0:
        raise _wrong("k_t", f"a shape ([{batch},] {heads}, labels, {dim})", str(np.shape(k_t)))
    token_values, label_values = _array("v_x", v_x), _bank("v_t", v_t)
    if token_values.shape != queries.shape:
        raise _wrong("v_x", f"the shape of q_x, {queries.shape}", str(token_values.shape))
    if label_values.shape not in {(batch, heads, labels, dim), (1, heads, labels, dim)}:
        raise _wrong("v_t", f"a shape ([{batch},] {heads}, {labels}, {dim})", str(np.shape(v_t)))
    inputs = {"q_x": queries, "k_t": keys, "v_x": token_values, "v_t": label_values}
    for name, array in inputs.items():
        _check_layout(name, array, queries.dtype)
    if stream is not None:
        raise errors.OptionError("stream", expected="None", got=repr(stream), hint="Arrays on the CPU have no stream.")

    shapes = queries.shape, (batch, heads, labels, dim)
    o_x, o_t = _outputs(out, shapes, queries.dtype, inputs)
    takes_part = _mask(mask, batch, labels)
    _core.dual_softmax_attention(queries, keys, token_values, label_values, takes_part, o_x, o_t, queries.dtype.name)
    return o_x, o_t


def _array(name: str, value: Any) -> NDArray[Any]:
    """The value as an array, without a copy."""
    if isinstance(value, np.ndarray):
        return value
    on_gpu = hasattr(value, "__cuda_array_interface__")
    if not on_gpu and hasattr(value, "__dlpack_device__"):
        on_gpu = value.__dlpack_device__()[0] != _CPU
        if not on_gpu:
            try:
                return np.from_dlpack(value)
            except (BufferError, RuntimeError, TypeError) as error:
                raise _wrong(name, "an array that NumPy can share through DLPack", str(error)) from error
    if on_gpu:
        raise errors.MissingPartError(
            "pvlr_sdk._core",
            expected="a core with CUDA kernels",
            got=f"one without, and {name} on a GPU",
            hint="Copy the arrays to the CPU.",
        )
    raise _wrong(name, "a NumPy array, or anything with DLPack", type(value).__name__)


def _bank(name: str, value: Any) -> NDArray[Any]:
    array = _array(name, value)
    return array[np.newaxis] if array.ndim == 3 else array


def _check_layout(name: str, array: NDArray[Any], dtype: np.dtype[Any]) -> None:
    if array.dtype != dtype:
        raise _wrong(name, f"the dtype of q_x, {dtype}", str(array.dtype))
    size = dtype.itemsize
    if array.strides[3] != size or any(stride % size for stride in array.strides) or not array.flags.aligned:
        raise _wrong(name, "a contiguous last axis and aligned elements", f"strides {array.strides} in bytes")


def _mask(mask: Any, batch: int, labels: int) -> NDArray[np.uint8] | None:
    if mask is None:
        return None
    array = _array("mask", mask)
    if array.dtype not in (np.dtype(bool), np.dtype(np.uint8)):
        raise _wrong("mask", "bool or uint8", str(array.dtype))
    if array.shape not in {(labels,), (batch, labels), (1, labels)}:
        raise _wrong("mask", f"a shape ({labels},) or ({batch}, {labels})", str(array.shape))
    if array.strides[-1] != 1 and labels > 1:
        raise _wrong("mask", "a contiguous last axis", f"strides {array.strides}")
    return array.view(np.uint8).reshape(-1, labels)


def _outputs(
    out: tuple[Any, Any] | None,
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
    dtype: np.dtype[Any],
    inputs: dict[str, NDArray[Any]],
) -> Pair:
    if out is None:
        return np.empty(shapes[0], dtype), np.empty(shapes[1], dtype)
    if not isinstance(out, (tuple, list)) or len(out) != 2:
        raise _wrong("out", "two arrays (o_x, o_t)", type(out).__name__)
    o_x, o_t = _array("out[0]", out[0]), _array("out[1]", out[1])
    for name, array, shape in (("out[0]", o_x, shapes[0]), ("out[1]", o_t, shapes[1])):
        if array.shape != shape:
            raise _wrong(name, f"shape {shape}", str(array.shape))
        _check_layout(name, array, dtype)
        if not array.flags.writeable:
            raise _wrong(name, "a writeable array", "one that is not")
        if any(np.may_share_memory(array, other) for other in inputs.values()):
            raise _wrong(name, "memory apart from the inputs", "an overlap")
    if np.may_share_memory(o_x, o_t):
        raise _wrong("out", "two arrays apart from each other", "an overlap")
    return o_x, o_t


def _wrong(argument: str, expected: str, got: str) -> errors.OptionError:
    return errors.OptionError(
        argument, expected=expected, got=got, hint="See the docstring of pvlr_sdk.kernels.dual_softmax_attention."
    )
