"""ONNX -> a TensorRT network, and what the parser refuses as one error that says where, why and what to do.

Works with any module that has TensorRT's interface: ``tensorrt``, ``tensorrt_rtx``, a fake.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .. import errors

_REMEDIES = (
    (
        "plugin not found",
        "For a fused attention load libpvlr_plugins.so (pvlr doctor says whether it is here); without it take the same "
        "network with --attention native. Other operators that TensorRT lacks must leave the model.",
    ),
    (
        "has type int32 but must have type",
        "Its biases are quantised, which TensorRT does not take: make the network with pvlr export --precision int8.",
    ),
    (
        "uint8",
        "TensorRT has no unsigned tensors inside a network: make it with pvlr export --precision int8.",
    ),
    (
        "failed to parse the onnx model",
        "The file is damaged or no ONNX: export it again with pvlr export.",
    ),
)
_OTHERWISE = "Export it again with pvlr export --attention native; if that fails too, build the plan with --device cpu."


@dataclass(frozen=True)
class Refusal:
    """One node that the parser refused. ``node`` and ``operator`` may be empty: then it is about the whole file."""

    node: str
    operator: str
    reason: str

    @property
    def remedy(self) -> str:
        """What the reader can do about it."""
        reason = self.reason.lower()
        return next((remedy for sign, remedy in _REMEDIES if sign in reason), _OTHERWISE)


def parse(trt: Any, network: Any, logger: Any, payload: bytes, source: str) -> None:
    """Fill a TensorRT network from an ONNX file.

    Args:
        trt: the module with ``OnnxParser``.
        network: an empty ``INetworkDefinition``, strongly typed.
        logger: an ``ILogger``.
        payload: the ONNX file, its weights inside.
        source: names it in errors.

    Raises:
        UnsupportedNodeError: the parser refuses a node; the error names it, the reason and the way out.
    """
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(payload):
        raise refused(refusals(parser), source, f"TensorRT {trt.__version__}")


def refusals(parser: Any) -> list[Refusal]:
    """What a parser has refused, in its order."""
    return [_refusal(parser.get_error(index)) for index in range(parser.num_errors)]


def refused(found: list[Refusal], source: str, version: str) -> errors.UnsupportedNodeError:
    """One error for all that was refused: the first in full, the number of the others.

    Args:
        found: from :func:`refusals`; may be empty, for a parser that says nothing.
        source: names the network.
        version: names the parser.
    """
    first = found[0] if found else Refusal("", "", "the parser gave no reason")
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    where = f"{source}: {first.operator} {first.node!r}" if first.operator else source
    return errors.UnsupportedNodeError(
        where, expected=f"what {version} can parse", got=f"{first.reason}{more}", hint=first.remedy
    )


def _refusal(error: Any) -> Refusal:
    node, operator = (_text(error, name) for name in ("node_name", "node_operator"))
    reason = _text(error, "desc").strip().splitlines()
    code = str(_call(error, "code") or "").rsplit(".", 1)[-1]
    # The parser's own assertions read: condition && "words for people"
    words = [line.split('&& "', 1)[-1].strip(' "') for line in reason if line.strip()]
    return Refusal(node, operator, " ".join(words).rstrip(".?") or code or "no reason given")


def _text(error: Any, name: str) -> str:
    return str(_call(error, name) or "")


def _call(error: Any, name: str) -> Any:
    method = getattr(error, name, None)
    return method() if method is not None else None
