"""``pvlr doctor``: what runs on this machine."""

from __future__ import annotations

from typing import Any

import typer

from .options import JsonOption, PlanArgument


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="doctor")(doctor)


def doctor(plan: PlanArgument = None, as_json: JsonOption = False) -> None:
    """Look at this machine and say whether a plan runs here, and why not. Exit status 2 if something is wrong.

    \b
    [bold]Examples[/bold]
    pvlr doctor
    pvlr doctor engine.plan --json
    """
    from ..doctor import examine
    from .screen import note, print_facts, print_json

    report = examine(plan)
    if as_json:
        print_json(report)
    else:
        print_facts("pvlr doctor", _rows(report))
    for problem in report["problems"]:
        note(problem)
    if report["problems"]:
        raise typer.Exit(2)


def _rows(report: dict[str, Any]) -> list[tuple[str, Any]]:
    rows = []
    for name, value in report.items():
        if isinstance(value, dict) and value:
            rows += [(f"{name}: {key}", _words(inner)) for key, inner in value.items() if key != "info"]
        elif name != "problems":
            rows.append((name, _words(value)))
    return [
        *rows,
        ("verdict", "all well" if not report["problems"] else f"{len(report['problems'])} problem(s), below"),
    ]


def _words(value: Any) -> Any:
    if value is None or value in ({}, []):
        return "not here"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return "; ".join(map(str, map(_words, value))) if value and isinstance(value[0], dict) else " ".join(value)
    return {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value
