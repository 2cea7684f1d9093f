"""A report of ``pvlr bench`` for others: what is needed to believe it, and nothing that names a person or a place."""

from __future__ import annotations

import json
import re
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ....models.catalogue import catalogue
from ..probes.programs import text_of

_BOARD = Path("/proc/device-tree/model")
_STAGES = ("decode", "preprocess", "inference", "head", "total")
_FIGURES = ("p50", "p95", "p99", "samples")


def shared(report: dict[str, Any]) -> dict[str, Any]:
    """The part of a report that may leave the machine: a list of what is taken, so that nothing else is.

    No host name, user, path, serial number or label; the name of a plan only if the catalogue has that very plan.
    """
    machine, plan = report["machine"], report["plan"]
    released = {
        file.sha256: model.name for model in catalogue().models for file in model.files.values()
    }
    runtime = next((name for name in ("openvino", "tensorrt") if name in machine), None)
    return {
        "format": report["format"],
        "day": datetime.now(timezone.utc).date().isoformat(),
        "machine": {
            "board": text_of(_BOARD),
            **{name: machine[name] for name in ("cpu", "cores", "power_mode")},
            "system": _system(machine["system"]),
        },
        "versions": {
            name: machine[name]
            for name in ("pvlr_sdk", runtime, "numpy", "python")
            if name in machine
        },
        "plan": {
            "model": released.get(plan["sha256"], "another plan"),
            "sha256": plan["sha256"],
            "labels": plan["labels"],
            "precision": plan["precision"],
            "threads": plan["threads"],
        },
        "picture": report["picture"],
        "latency_ms": {
            stage: {name: round(report["latency_ms"][stage][name], 3) for name in _FIGURES}
            for stage in _STAGES
        },
        "throughput": report["throughput"],
        "precisions_ms": {
            name: values["inference_ms"] for name, values in report["precisions"].items()
        },
        "start_ms": report["start_ms"],
        "peak_memory_mb": report["peak_memory_mb"],
        "warnings": report["warnings"],
    }


def _system(platform: str) -> str:
    """``Linux-6.12.25+rpt-rpi-2712-aarch64-with-glibc2.41`` -> ``Linux 6.12, aarch64, glibc 2.41``.

    Who compiled a kernel may have put a name into its version.
    """
    kernel = re.match(r"([A-Za-z]+)-(\d+\.\d+)", platform)
    machine = re.search(r"\b(x86_64|aarch64|armv\w+|riscv64)\b", platform)
    library = re.search(r"(glibc|musl)([\d.]+)$", platform)
    parts = (
        f"{kernel[1]} {kernel[2]}" if kernel else sys.platform,
        machine and machine[1],
        library and f"{library[1]} {library[2]}",
    )
    return ", ".join(part for part in parts if part)


def to_markdown(report: dict[str, Any]) -> str:
    """A table of a shared report, and the report itself, to paste into an issue."""
    machine, plan, picture = report["machine"], report["plan"], report["picture"]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    name = " / ".join(filter(None, (machine["board"], machine["cpu"])))
    rows = [
        f"| {stage} | " + " | ".join(f"{values[key]:.2f}" for key in _FIGURES[:-1]) + " |"
        for stage, values in report["latency_ms"].items()
    ]
    lines = [
        f"**{name}**, {machine['cores']} cores, power mode {machine['power_mode'] or 'unknown'},"
        f" {machine['system']}; {versions}; {report['day']}.",
        f"`{plan['model']}` ({plan['sha256'][:12]}), {plan['labels']} labels, {plan['precision']},"
        f" {plan['threads']} threads; a JPEG of {picture['width']} x {picture['height']},"
        f" {report['latency_ms']['total']['samples']} times.",
        "",
        "| Latency, ms | p50 | p95 | p99 |",
        "| --- | --- | --- | --- |",
        *rows,
        "",
        "Unreliable: " + "; ".join(report["warnings"]) + "."
        if report["warnings"]
        else "No warnings.",
        "",
        "```json",
        json.dumps(report, separators=(",", ":"), ensure_ascii=False),
        "```",
    ]
    return "\n".join(lines)
