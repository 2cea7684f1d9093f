"""Results as Arrow tables: one row per image, whether it could be tagged or not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import pyarrow as pa

from .. import errors
from .._util.escape import escaped
from .._util.version import __version__
from ..result import TagResult

Outcome: TypeAlias = "TagResult | errors.PvlrError"

_TAGS = pa.list_(pa.struct({"label": pa.string(), "score": pa.float32(), "threshold": pa.float32()}))
_ERROR = pa.struct({"type": pa.string(), "message": pa.string(), "hint": pa.string()})


def schema(scores: bool) -> pa.Schema:
    """The columns of a result; ``scores`` adds that of every label's score."""
    fields: dict[str, Any] = {"id": pa.string(), "tags": _TAGS}
    if scores:
        fields["scores"] = pa.list_(pa.float32())
    return pa.schema({**fields, "error": _ERROR, "plan_sha256": pa.string(), "sdk_version": pa.string()})


def table(outcomes: Iterable[tuple[str | None, Outcome]], plan_sha256: str, scores: bool) -> pa.Table:
    """A table of (id, result or error). ``tags`` and ``scores`` are null where ``error`` is not, and vice versa."""
    rows = []
    for name, outcome in outcomes:
        result, error = (None, outcome) if isinstance(outcome, errors.PvlrError) else (outcome, None)
        row = {
            "id": name,
            "tags": result and [tag[:3] for tag in result.tags],
            "scores": result and result.scores,
            "error": error and _described(error),
            "plan_sha256": plan_sha256,
            "sdk_version": __version__,
        }
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=schema(scores))


def _described(error: errors.PvlrError) -> dict[str, str]:
    message = escaped(f"expected {error.expected}, got {error.got}")
    return {"type": type(error).__name__, "message": message, "hint": error.hint}
