"""Two reports of ``pvlr bench`` against each other."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import errors
from .measure import FORMAT


@dataclass(frozen=True)
class Change:
    """One figure then and now. ``worse`` is how much worse it got, as a share: 0.1 is ten percent."""

    figure: str
    old: float
    new: float
    worse: float


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A report that ``pvlr bench --json`` wrote.

    Raises:
        OptionError: there is none at this path.
    """
    try:
        report = json.loads(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        report, got = None, str(error)
    else:
        got = "another JSON file"
    if not isinstance(report, dict) or report.get("format") != FORMAT or "latency_ms" not in report:
        hint = "Make one with pvlr bench --json > old.json."
        raise errors.OptionError("compare", expected="a report of pvlr bench", got=f"{path}: {got}", hint=hint)
    return report


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """The figures that both reports have: medians of each stage, and images a second."""
    found = []
    for stage, figures in new["latency_ms"].items():
        if stage in old["latency_ms"]:
            then, now = old["latency_ms"][stage]["p50"], figures["p50"]
            found.append(Change(f"{stage} p50, ms", then, now, now / then - 1 if then else 0.0))
    for name, rates in new["throughput"].items():
        for count, now in rates.items():
            rate = old["throughput"].get(name, {}).get(count)
            if rate:
                found.append(Change(f"{name} {count}, images/s", rate, now, rate / now - 1))
    return found


def regressions(found: list[Change], allowed: float) -> list[Change]:
    """What got worse by more than ``allowed`` where it counts: a frame's time, its inference, the best rate.

    Stages of a few hundredths of a millisecond jump by a tenth for no reason, and so do rates of too many callers.
    """
    rates = [change for change in found if change.figure.endswith("images/s")]
    best = max(rates, key=lambda change: change.new, default=None)
    counted = [change for change in found if change.figure.startswith(("total", "frame", "inference"))]
    return [change for change in [*counted, *([best] if best else [])] if change.worse > allowed]


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What else changed between the two, so that the comparison may say nothing about the code."""
    pairs = [("machine", name) for name in ("cpu", "cores", "power_mode", "openvino", "tensorrt")]
    pairs += [("plan", name) for name in ("sha256", "precision", "threads")] + [("picture", "bytes")]
    return [
        f"{part} {name}: {old[part].get(name)} then, {new[part].get(name)} now"
        for part, name in pairs
        if old[part].get(name) != new[part].get(name)
    ]


def share(text: str) -> float:
    """``5%`` or ``0.05`` as 0.05.

    Raises:
        OptionError: it is neither.
    """
    try:
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 10:
        hint = "Five percent is 5% or 0.05."
        raise errors.OptionError("fail_if_regression", expected="a share such as 5%", got=repr(text), hint=hint)
    return value
