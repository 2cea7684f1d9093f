"""Comparison of two reports of ``pvlr bench``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from ... import errors
from ..._util.files import read_file
from ..._util.plain_json import read_json
from ..._util.validation import first_problem
from .measure import FORMAT

_MAX_BYTES = 1 << 26


@dataclass(frozen=True)
class Change:
    """One measure in the old and the new report. ``worse`` is the relative degradation: 0.1 is ten percent."""

    figure: str
    old: float
    new: float
    worse: float


class _Latency(BaseModel):
    p50: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Report(BaseModel):
    """The parts of a report that are compared."""

    format: Annotated[int, Field(ge=FORMAT, le=FORMAT)]
    machine: dict[str, Any]
    plan: dict[str, Any]
    picture: dict[str, Any]
    latency_ms: dict[str, _Latency]
    throughput: dict[str, dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]]


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a report that ``pvlr bench --json`` wrote.

    Raises:
        OptionError: the file does not exist or is not such a report.
    """
    try:
        report: dict[str, Any] = read_json(read_file(path, _MAX_BYTES), printable=False)
        _Report.model_validate(report)
        return report
    except ValidationError as error:
        got = first_problem(error)
    except (OSError, ValueError) as error:
        got = str(error)
    hint = "Run pvlr bench --json > old.json."
    raise errors.OptionError("--compare", expected="a report of pvlr bench", got=f"{path}: {got}", hint=hint)


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """The measures that both reports have: median time per stage, and images per second."""
    found = []
    for stage, summary in new["latency_ms"].items():
        if stage in old["latency_ms"]:
            then, now = old["latency_ms"][stage]["p50"], summary["p50"]
            found.append(Change(f"{stage} p50, ms", then, now, now / then - 1 if then else 0.0))
    for name, rates in new["throughput"].items():
        for count, now in rates.items():
            rate = old["throughput"].get(name, {}).get(count)
            if rate:
                found.append(Change(f"{name} {count}, images/s", rate, now, rate / now - 1))
    return found


def regressions(found: list[Change], allowed: float) -> list[Change]:
    """The changes of frame time, inference time and best throughput that are worse than ``allowed``.

    Other stages take a few hundredths of a millisecond and vary by a tenth, as does the throughput of many callers.
    """
    rates = [change for change in found if change.figure.endswith("images/s")]
    best = max(rates, key=lambda change: change.new, default=None)
    counted = [change for change in found if change.figure.startswith(("total", "frame", "inference"))]
    return [change for change in [*counted, *([best] if best else [])] if change.worse > allowed]


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Other differences between the reports, which may explain a change better than the code does."""
    pairs = [("machine", name) for name in ("cpu", "cores", "power_mode", "openvino", "tensorrt")]
    pairs += [("plan", name) for name in ("sha256", "precision", "threads")] + [("picture", "bytes")]
    return [
        f"{part} {name} was {old[part].get(name)}, is {new[part].get(name)}"
        for part, name in pairs
        if old[part].get(name) != new[part].get(name)
    ]


def share(text: str) -> float:
    """Parse ``5%`` or ``0.05`` as 0.05.

    Raises:
        OptionError: the text is neither.
    """
    try:
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 10:
        hint = "Five percent is written 5% or 0.05."
        raise errors.OptionError("--fail-if-regression", expected="a share such as 5%", got=repr(text), hint=hint)
    return value
