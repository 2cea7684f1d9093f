"""Dual-softmax attention for arrays: validation, outputs, launch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .tensors import Arguments

if TYPE_CHECKING:
    from .._core import Tensor

DIMS = (32, 64, 96, 128)
"""The head sizes that the kernels are compiled for."""

_NAMES = {"o_x": "out[0]", "o_x_strides": "out[0]", "o_t": "out[1]", "o_t_strides": "out[1]"}


def dual_softmax_attention(
    q_x: Any,
    k_t: Any,
    v_x: Any,
    v_t: Any,
    *,
    mask: Any = None,
    out: tuple[Any, Any] | None = None,
    threads: int = 1,
    stream: Any = None,
) -> tuple[Any, Any]:
    """Compute softmax_C(S) V_t and softmax_N(S)^T V_x from one affinity S = Q_x K_t^T / sqrt(dh).

    B images, H heads, N tokens, C labels, dh dimensions per head (32, 64, 96 or 128). All arrays are on one device and
    have the same dtype: float32, float16 or bfloat16 (in NumPy that of ml_dtypes). Sums are float32, on the CPU double.
    Nothing is copied: the last axis of each array must be contiguous, other strides are arbitrary; on a GPU rows must
    be aligned to 16 bytes. The GIL is released.

    Args:
        q_x, v_x: queries and values of the tokens, (B, H, N, dh).
        k_t, v_t: keys and values of the labels, (B, H, C, dh), or (H, C, dh) if all images share the labels.
        mask: bool or uint8, (C,) or (B, C): the active labels; by default all. Inactive labels get zeros in o_t and no
            weight in o_x; without an active label, o_x is zero.
        out: two arrays (o_x, o_t) to write to, which must not overlap each other or the inputs; by default new ones of
            q_x's library.
        threads: CPU threads that share the heads of the images; results don't depend on it. The CPU version is a
            reference, not fast.
        stream: for arrays on a GPU, the stream to queue the work in: a stream of PyTorch, CuPy or PyCUDA, or a
            ``cudaStream_t`` as an integer; None: CUDA's default stream.

    Returns:
        o_x (B, H, N, dh) and o_t (B, H, C, dh), of the inputs' dtype; on a GPU they are ready in ``stream``.

    Raises:
        OptionError: a shape, dtype, device or layout is invalid; the error names the argument.
        MissingPartError: the arrays are on a GPU and the core was built without CUDA, or the core is not installed.
        DeviceError: the device is too old, out of memory, or refused the launch.
    """
    arguments = Arguments("dual_softmax_attention", stream, names=_NAMES)
    arguments.check_threads(threads)
    queries = _queries(arguments, q_x)
    keys = arguments.bank("k_t", arguments.view("k_t", k_t), queries)
    token_values = arguments.view("v_x", v_x)
    label_values = arguments.view("v_t", v_t)
    if token_values.shape != queries.shape:
        raise arguments.wrong("v_x", f"the shape of q_x, {queries.shape}", str(token_values.shape))
    batch, heads, _, dim = queries.shape
    labels = keys.shape[2]
    label_values = arguments.bank("v_t", label_values, queries, labels)
    inputs = {"q_x": queries, "k_t": keys, "v_x": token_values, "v_t": label_values}
    for name, tensor in inputs.items():
        if tensor.type != queries.type:
            raise arguments.wrong(name, f"the dtype of q_x, {queries.type}", tensor.type)
        arguments.check_rows(name, tensor)
    takes_part = _mask(arguments, mask, batch, labels)
    if takes_part is not None:
        inputs["mask"] = takes_part

    shapes = queries.shape, (batch, heads, labels, dim)
    if out is None:
        out = arguments.empty_like(q_x, shapes[0]), arguments.empty_like(q_x, shapes[1])
    elif not isinstance(out, (tuple, list)) or len(out) != 2:
        raise arguments.wrong("out", "two arrays (o_x, o_t)", type(out).__name__)
    outputs = {
        f"out[{i}]": arguments.output(f"out[{i}]", out[i], shapes[i], queries.type) for i in (0, 1)
    }
    for name, tensor in outputs.items():
        arguments.check_rows(name, tensor)
    arguments.apart(outputs, inputs)
    arguments.run(queries, keys, token_values, label_values, takes_part, threads, *outputs.values())
    return out[0], out[1]


def _queries(arguments: Arguments, value: Any) -> Tensor:
    queries = arguments.view("q_x", value)
    if len(queries.shape) != 4 or queries.shape[3] not in DIMS or 0 in queries.shape:
        expected = f"a shape (batch, heads, tokens, dim) with dim one of {DIMS}"
        raise arguments.wrong("q_x", expected, str(queries.shape))
    arguments.check_float("q_x", queries)
    return queries


def _mask(arguments: Arguments, mask: Any, batch: int, labels: int) -> Tensor | None:
    if mask is None:
        return None
    tensor = arguments.view("mask", mask)
    if tensor.type not in ("bool", "uint8"):
        raise arguments.wrong("mask", "bool or uint8", tensor.type)
    if tensor.shape not in {(labels,), (batch, labels), (1, labels)}:
        raise arguments.wrong(
            "mask", f"a shape ({labels},) or ({batch}, {labels})", str(tensor.shape)
        )
    if tensor.strides[-1] != 1 and labels > 1:
        raise arguments.wrong("mask", "a contiguous last axis", f"strides {tensor.strides}")
    return tensor
