"""Options that several commands share, so that they read alike everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PlanArgument = Annotated[
    Path | None,
    typer.Argument(metavar="[PLAN]", help="The plan; without it, the model that comes with the package."),
]
PlanOption = Annotated[
    Path | None,
    typer.Option("--plan", "-p", metavar="PLAN", help="The plan; by default the model that comes with the package."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DeviceOption = Annotated[
    str, typer.Option(help="Where to run: auto (what the plan is for), cpu or tensorrt.", rich_help_panel="Machine")
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(help="Threads for one picture; by default all cores.", rich_help_panel="Machine"),
]
PrecisionOption = Annotated[
    str | None,
    typer.Option(
        help="auto, fp32, bf16 or (a quantised plan) int8; by default what the plan says.", rich_help_panel="Machine"
    ),
]
MapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="JSON|A=B",
        help='From the CSV\'s names to the plan\'s: a file {"sofa": "couch", ...}, or sofa=couch; repeatable.',
    ),
]
