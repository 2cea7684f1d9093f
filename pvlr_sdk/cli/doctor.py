"""``pvlr doctor``: a check of this machine."""

from __future__ import annotations

from typing import Any

import typer

from . import options


def doctor(
    plan: options.PlanArgument = None,
    as_json: options.Json = False,
    allow_unsigned: options.AllowUnsigned = False,  # sets the environment variable
) -> None:
    """Check whether a plan runs on this machine, and report why not.

    The exit status is 2 if there is a problem.

    \b
    [bold]Examples[/bold]
    pvlr doctor
    pvlr doctor engine.plan --json
    """
    from ..workshop.diagnostics.doctor import examine
    from .screen import note, print_facts, print_json

    report = examine(plan)
    if as_json:
        print_json(report)
    else:
        print_facts("pvlr doctor", _rows(report))
    for line in (*report["advice"], *report["problems"]):
        note(line)
    if report["problems"]:
        raise typer.Exit(2)


def _rows(report: dict[str, Any]) -> list[tuple[str, Any]]:
    from .screen import precision_row

    rows = []
    for key, value in report.items():
        name = "components" if key == "parts" else key
        if isinstance(value, dict) and value:
            shown = {
                part: inner for part, inner in value.items() if part not in ("info", "precisions")
            }
            rows += [(f"{name}: {part}", _words(inner)) for part, inner in shown.items()]
            rows += [
                (f"{name}: {part}", precision_row(inner))
                for part, inner in value.get("precisions", {}).items()
            ]
        elif name not in ("advice", "problems"):
            rows.append((name, _words(value)))
    count = len(report["problems"])
    return [*rows, ("result", f"{count} problem(s), listed below" if count else "no problems")]


def _words(value: Any) -> Any:
    if value is None or value in ({}, []):
        return "not found"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return (
            "; ".join(map(str, map(_words, value)))
            if value and isinstance(value[0], dict)
            else " ".join(value)
        )
    return {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value
