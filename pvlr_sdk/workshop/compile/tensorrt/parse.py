"""Parses ONNX into a TensorRT network, and reports what the parser rejects as one error with a remedy.

Works with any module that has TensorRT's interface, such as ``tensorrt`` and ``tensorrt_rtx``.
"""

from __future__ import annotations

from typing import Any

from .... import errors

_REMEDIES = (
    (
        "plugin not found",
        "Fused attention needs libpvlr_plugins.so (pvlr doctor shows whether it is installed); without it use the same "
        "network with --attention native. Remove other operators that TensorRT lacks from the model.",
    ),
    (
        "has type int32 but must have type",
        "TensorRT does not support quantised biases: create the network with pvlr export --precision int8.",
    ),
    (
        "uint8",
        "TensorRT has no unsigned tensors inside a network: create it with pvlr export --precision int8.",
    ),
    (
        "failed to parse the onnx model",
        "The file is damaged or not ONNX: export it again with pvlr export.",
    ),
)
_OTHERWISE = "Export it again with pvlr export --attention native; if that fails too, build the plan with --device cpu."


def parse(
    trt: Any, network: Any, logger: Any, payload: bytes, source: str, *, dla: bool = False
) -> None:
    """Fill a TensorRT network from an ONNX file.

    Args:
        trt: the module with ``OnnxParser``.
        network: an empty ``INetworkDefinition``, strongly typed.
        logger: an ``ILogger``.
        payload: the ONNX file, its weights inside.
        source: names the file in errors.
        dla: make of it what a deep learning accelerator can run, in versions of TensorRT that know how.

    Raises:
        UnsupportedNodeError: the parser rejects a node; the error names the node, the reason and a remedy.
    """
    parser = trt.OnnxParser(network, logger)
    adjust = getattr(trt.OnnxParserFlag, "ADJUST_FOR_DLA", None) if dla else None
    if adjust is not None:
        parser.set_flag(adjust)
    if parser.parse(payload):
        return
    rejections = [_rejection(parser.get_error(index)) for index in range(parser.num_errors)]
    node, operator, reason = rejections[0] if rejections else ("", "", "the parser gave no reason")
    more = f" (and {len(rejections) - 1} more)" if len(rejections) > 1 else ""
    raise errors.UnsupportedNodeError(
        f"{source}: {operator} {node!r}" if operator else source,
        f"operators that TensorRT {trt.__version__} supports",
        reason + more,
        next((remedy for sign, remedy in _REMEDIES if sign in reason.lower()), _OTHERWISE),
    )


def _rejection(error: Any) -> tuple[str, str, str]:
    """The node, its operator and the reason; the first two are empty if the reason is about the whole file."""
    reason = _text(error, "desc").strip().splitlines()
    code = _text(error, "code").rsplit(".", 1)[-1]
    # The parser's assertions have the form: condition && "message"
    words = " ".join(
        line.split('&& "', 1)[-1].strip(' "') for line in reason if line.strip()
    ).rstrip(".?")
    return (
        _text(error, "node_name"),
        _text(error, "node_operator"),
        words or code or "no reason given",
    )


def _text(error: Any, name: str) -> str:
    method = getattr(error, name, None)  # TensorRT before 10 has no names of nodes
    return str(method() or "") if method is not None else ""
