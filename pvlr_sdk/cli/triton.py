"""``pvlr export triton``: a plan as a model repository for NVIDIA Triton Inference Server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options


def export_triton(
    plan: options.Plan,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The model repository.")],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the model.", show_default="the plan's own")
    ] = None,
    instances: Annotated[int, typer.Option(metavar="N", min=1, help="Processes.")] = 1,
    threads: Annotated[
        int, typer.Option(metavar="N", min=0, help="Threads per process; 0: all cores.", rich_help_panel="Machine")
    ] = 0,
) -> None:
    """Write a plan as a model repository for NVIDIA Triton Inference Server.

    The model is one of the Python backend and needs this package in the server.
    Comments in config.pbtxt explain its values. Prints the model's folder.

    \b
    [bold]Examples[/bold]
    pvlr export triton engine.plan --out repo/
    pvlr export triton pvlr-lite0-coco80 --out repo/ --instances 4 --threads 1
    """
    from ..compile.triton import export_triton as export

    print(export(plan, out, name=name, instances=instances, threads=threads))
