"""The tag head for arrays: validation, outputs, launch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from .tensors import Arguments

if TYPE_CHECKING:
    from .._core import Tensor

_OUTPUT_TYPES = {
    "logits": "float32",
    "scores": "float32",
    "tags": "bool",
    "nonfinite": "bool",
    "maps": "float32",
}
_NAMES = {
    f"{norm}.{part}": f"{norm}[{i}]"
    for norm in ("x_norm", "t_norm")
    for i, part in enumerate(("weight", "bias"))
}
_NAMES["maps_strides"] = "out.maps"


class TagHead(NamedTuple):
    """The outputs of :func:`tag_head`, or the arrays to write them to; None: not computed.

    Attributes:
        logits: float32 (B, C).
        scores: float32 (B, C), the sigmoid of the logits.
        tags: bool (B, C): scores at or above their thresholds.
        nonfinite: bool (B, C): logits that are NaN or infinite. NaN or infinity in a token sets it for all labels of
            the image, in a label for that label.
        maps: float32 (B, K, N), the attention maps of K labels.
    """

    logits: Any
    scores: Any = None
    tags: Any = None
    nonfinite: Any = None
    maps: Any = None


def tag_head(
    x: Any,
    t: Any,
    *,
    scale: float,
    alpha: float,
    x_norm: tuple[Any, Any] | None = None,
    t_norm: tuple[Any, Any] | None = None,
    epsilon: float = 1e-5,
    bias: Any = None,
    thresholds: Any = None,
    maps: Literal["weights", "similarity"] | None = None,
    chosen: Any = None,
    out: TagHead | None = None,
    threads: int = 1,
    stream: Any = None,
) -> TagHead:
    """Compute logit_c = sum_n softmax_n(alpha s_nc) s_nc + bias_c with s_nc = scale cos(LN(x_n), LN(t_c)), and tags.

    B images, N tokens, C labels, d channels (a multiple of 8 up to 1024). x and t have the same dtype: float32, float16
    or bfloat16 (in NumPy that of ml_dtypes), all other arrays float32. All arrays are on one device.
    Nothing is copied: the last axis of x and t must be contiguous, with rows aligned to 16 bytes on a GPU; other arrays
    must be contiguous. alpha = 0 is mean pooling, a large alpha (1e4) max pooling. A zero row has similarity 0.

    Args:
        x: image tokens (B, N, d).
        t: label tokens (B, C, d), or (C, d) if all images share the labels.
        scale, alpha: finite numbers.
        x_norm, t_norm: weight and bias of a layer norm, each float32 (d,); None: LN(v) = v.
        epsilon: of both layer norms.
        bias: float32 (C,); None: zeros.
        thresholds: float32 (C,); None: no tags.
        maps: the attention maps to compute: softmax_n(alpha s_nc), s_nc itself, or none.
        chosen: int32 (K,), the labels to compute maps for; on the CPU also a list of integers. None: all labels. On a
            GPU an entry that is not a label leaves its map unchanged.
        out: arrays to write to, which must not overlap each other or the inputs; None fields are not computed, the
            logits are required. Tags may be uint8, maps may have any strides. By default new arrays of x's library.
        threads: CPU threads that share the images; results don't depend on it. The CPU version is a reference, not
            fast.
        stream: for arrays on a GPU, as in :func:`dual_softmax_attention`.

    Raises:
        OptionError: a number, shape, dtype, device or layout is invalid; the error names the argument.
        MissingPartError: the arrays are on a GPU and the core was built without CUDA, or the core is not installed.
        DeviceError: the device is too old or refused the launch.
    """
    arguments = Arguments("tag_head", stream, names=_NAMES)
    tokens = _tokens(arguments, x)
    batch, count, width = tokens.shape
    bank = arguments.bank("t", arguments.view("t", t), tokens)
    labels = bank.shape[1]
    if bank.type != tokens.type:
        raise arguments.wrong("t", f"the dtype of x, {tokens.type}", bank.type)
    inputs = {"x": tokens, "t": bank}
    for name, tensor in inputs.items():
        arguments.check_rows(name, tensor)
    norms = [
        _norm(arguments, name, pair, width, inputs)
        for name, pair in (("x_norm", x_norm), ("t_norm", t_norm))
    ]
    vectors = [
        _vector(arguments, *pair, labels, inputs)
        for pair in (("bias", bias), ("thresholds", thresholds))
    ]
    numbers = [
        _number(arguments, *pair)
        for pair in (("scale", scale), ("alpha", alpha), ("epsilon", epsilon))
    ]
    arguments.check_threads(threads)
    which = _chosen(arguments, maps, chosen, labels, tokens.on_cuda, inputs)

    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(_OUTPUT_TYPES, (batch, labels))
    shapes["maps"] = (batch, which.shape[0] if which else labels, count)
    if out is None:
        out = _new_outputs(arguments, x, shapes, maps, thresholds)
    outputs = _outputs(arguments, out, shapes, maps, thresholds)
    arguments.apart({f"out.{name}": tensor for name, tensor in outputs.items() if tensor}, inputs)
    similarity = maps == "similarity"
    arguments.run(
        tokens, bank, *norms, *vectors, which, *numbers, similarity, threads, *outputs.values()
    )
    return out


def _tokens(arguments: Arguments, value: Any) -> Tensor:
    tokens = arguments.view("x", value)
    if len(tokens.shape) != 3 or 0 in tokens.shape or tokens.shape[2] % 8 or tokens.shape[2] > 1024:
        expected = "a shape (batch, tokens, width) with a width that is a multiple of 8 up to 1024"
        raise arguments.wrong("x", expected, str(tokens.shape))
    arguments.check_float("x", tokens)
    return tokens


def _norm(
    arguments: Arguments, name: str, pair: Any, width: int, inputs: dict[str, Tensor]
) -> tuple[Tensor | None, Tensor | None]:
    if pair is None:
        return None, None
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise arguments.wrong(name, "two arrays (weight, bias)", type(pair).__name__)
    first, second = (_vector(arguments, f"{name}[{i}]", pair[i], width, inputs) for i in (0, 1))
    if first is None or second is None:
        raise arguments.wrong(name, "two arrays (weight, bias)", "None in it")
    return first, second


def _vector(
    arguments: Arguments, name: str, value: Any, size: int, inputs: dict[str, Tensor]
) -> Tensor | None:
    if value is None:
        return None
    tensor = arguments.view(name, value)
    if tensor.shape != (size,) or tensor.type != "float32":
        raise arguments.wrong(name, f"float32 ({size},)", f"{tensor.type} {tensor.shape}")
    arguments.check_packed(name, tensor)
    inputs[name] = tensor
    return tensor


def _number(arguments: Arguments, name: str, value: Any) -> float:
    number = isinstance(value, (int, float, np.floating, np.integer)) and not isinstance(
        value, bool
    )
    if (
        not number
        or not abs(value) <= float(np.finfo(np.float32).max)
        or (name == "epsilon" and value < 0)
    ):
        raise arguments.wrong(
            name, f"a finite float32{' of at least 0' * (name == 'epsilon')}", repr(value)
        )
    return float(value)


def _chosen(
    arguments: Arguments,
    maps: Any,
    chosen: Any,
    labels: int,
    on_cuda: bool,
    inputs: dict[str, Tensor],
) -> Tensor | None:
    if maps not in (None, "weights", "similarity"):
        raise arguments.wrong("maps", "'weights', 'similarity' or None", repr(maps))
    if chosen is None:
        return None
    if maps is None:
        raise arguments.wrong("chosen", "None without maps", "labels")
    if isinstance(chosen, (list, tuple)):
        chosen = np.array(chosen)
        narrow = chosen.astype(np.int32) if chosen.dtype.kind == "i" else chosen
        # not a number that wrapped around
        chosen = narrow if np.array_equal(narrow, chosen) else chosen
    tensor = arguments.view("chosen", chosen)
    if len(tensor.shape) != 1 or tensor.shape[0] == 0 or tensor.type != "int32":
        raise arguments.wrong(
            "chosen", "int32 (labels with a map,)", f"{tensor.type} {tensor.shape}"
        )
    arguments.check_packed("chosen", tensor)
    if not on_cuda:
        numbers = np.asarray(chosen)
        if numbers.min() < 0 or numbers.max() >= labels:
            raise arguments.wrong(
                "chosen", f"labels from 0 to {labels - 1}", f"{numbers.min()} to {numbers.max()}"
            )
    inputs["chosen"] = tensor
    return tensor


def _new_outputs(
    arguments: Arguments, x: Any, shapes: dict[str, tuple[int, ...]], maps: Any, thresholds: Any
) -> TagHead:
    """Arrays of the library of x; no tags without thresholds."""
    left_out = {"tags"} if thresholds is None else set()
    left_out |= {"maps"} if maps is None else set()
    return TagHead(
        *(
            None if name in left_out else arguments.empty_like(x, shapes[name], type_=type_)
            for name, type_ in _OUTPUT_TYPES.items()
        )
    )


def _outputs(
    arguments: Arguments, out: Any, shapes: dict[str, tuple[int, ...]], maps: Any, thresholds: Any
) -> dict[str, Tensor | None]:
    if not isinstance(out, TagHead) or out.logits is None:
        raise arguments.wrong("out", "a TagHead with logits", type(out).__name__)
    if (out.maps is None) != (maps is None):
        raise arguments.wrong(
            "out.maps", "an array if, and only if, maps are wanted", type(out.maps).__name__
        )
    if out.tags is not None and thresholds is None:
        raise arguments.wrong("thresholds", "an array for the tags", "None")
    outputs: dict[str, Tensor | None] = dict.fromkeys(_OUTPUT_TYPES)
    for name, type_ in _OUTPUT_TYPES.items():
        value = getattr(out, name)
        if value is None:
            continue
        if type_ == "bool" and arguments.view(f"out.{name}", value).type == "uint8":
            type_ = "uint8"
        tensor = outputs[name] = arguments.output(f"out.{name}", value, shapes[name], type_)
        if name != "maps":
            arguments.check_packed(f"out.{name}", tensor)
    return outputs
