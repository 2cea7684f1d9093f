"""``pvlr state``: what was changed while a site ran."""

from __future__ import annotations

import json
from pathlib import Path

import typer
from typer import Argument, Option

from . import options


def state(
    site: Path = Argument(..., metavar="SITE", help="The site file."),
    folder: options.State = None,
    forget: bool = Option(
        False, "--forget", help="Remove all changes: the next start uses the site file alone."
    ),
    as_json: options.Json = False,
) -> None:
    """Show what was changed while a site ran, or forget it.

    Thresholds, labels, regions, switches and plans that the page, the API, MQTT or
    [bold]pvlr deploy[/bold] changed are kept in a state folder and read after the site
    file, which is never written. Copies of deployed plans stay.

    \b
    [bold]Examples[/bold]
    pvlr state site.yaml
    pvlr state /etc/pvlr/site.yaml --state /var/lib/pvlr --json
    pvlr state site.yaml --forget
    """
    from ..cameras.control.state import State
    from ..cameras.site.config import load_config
    from .screen import note, print_json

    kept = State.of_site(site, folder)
    if forget:
        kept.forget()
        note(f"{kept.path}: forgotten. A running process keeps its changes until its next start.")
        return
    changes, dropped = kept.read().fitting(load_config(site))
    values = changes.model_dump(mode="json", exclude_defaults=True)
    if as_json:
        print_json({"file": str(kept.path), "changes": values, "ignored": dropped})
        return
    note(f"{kept.path}: {'nothing was changed' if not values else 'changes'}")
    if values:
        typer.echo(json.dumps(values, indent=2, ensure_ascii=False))
    for name in dropped:
        note(f"ignored, since it no longer applies: {name}")
