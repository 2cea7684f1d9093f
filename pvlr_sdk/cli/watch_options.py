"""What ``watch`` and ``serve`` have in common: the options that name cameras and receivers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

_SECRET = "PVLR_WEBHOOK_SECRET"
_WHERE, _WHAT = "Where events go", "What counts"

UrisArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME=]URI", help="Cameras, streams and videos.", show_default=False)
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="SITE.yaml", help="A whole site; other options add to it.")
]
LabelsOption = Annotated[
    list[str] | None, typer.Option("--label", "-l", help="Only this label; repeatable.", rich_help_panel=_WHAT)
]
DenyOption = Annotated[
    list[str] | None, typer.Option("--deny", help="Not this label; repeatable.", rich_help_panel=_WHAT)
]
RegionOption = Annotated[
    str | None,
    typer.Option(metavar="X,Y,W,H", help="A part of the picture, as fractions of it.", rich_help_panel=_WHAT),
]
SqliteOption = Annotated[Path | None, typer.Option(metavar="FILE", help="SQLite.", rich_help_panel=_WHERE)]
MqttOption = Annotated[
    str | None, typer.Option(metavar="URL", help="MQTT broker, mqtt:// or mqtts://.", rich_help_panel=_WHERE)
]
WebhookOption = Annotated[
    str | None, typer.Option(metavar="URL", help="A POST for each notice.", rich_help_panel=_WHERE)
]
VideoOption = Annotated[Path | None, typer.Option(metavar="DIR", help="Annotated video.", rich_help_panel=_WHERE)]
SnapshotsOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="A JPEG of the frame that turned an event on.", rich_help_panel=_WHERE),
]


def events_option(help_text: str) -> Any:
    """``--events``, whose default differs."""
    return typer.Option("--events", "-e", metavar="-|FILE", help=help_text, rich_help_panel=_WHERE)


def build_sinks(
    events: Sequence[str], sqlite: Path | None, mqtt: str | None, webhook: str | None, video: Path | None
) -> list[dict[str, Any]]:
    """The sinks that the options ask for, as a configuration has them."""
    sinks: list[dict[str, Any]] = [
        {"kind": "jsonl", "path": path if path == "-" else os.path.abspath(path)} for path in events
    ]
    if sqlite:
        sinks.append({"kind": "sqlite", "path": sqlite.absolute()})
    if mqtt:
        sinks.append({"kind": "mqtt", "url": mqtt})
    if webhook:
        secret = {"secret": f"${_SECRET}"} if os.environ.get(_SECRET) else {}
        sinks.append({"kind": "webhook", "url": webhook, **secret})
    if video:
        sinks.append({"kind": "video", "folder": video.absolute()})
    return sinks


def systemd_unit(command: str) -> str:
    """The unit that runs ``pvlr watch`` or ``pvlr serve``."""
    text = (Path(__file__).parents[1] / "site" / "pvlr-watch.service").read_text()
    return text.replace("pvlr watch", f"pvlr {command}").replace("pvlr-watch", f"pvlr-{command}")


def log_to_stderr() -> None:
    """Show what cameras and sinks report, as the messages of this command."""
    import logging

    from .screen import note

    class Notes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            note(record.getMessage().strip())

    logger = logging.getLogger("pvlr_sdk")
    logger.addHandler(Notes())
    logger.setLevel(logging.INFO)
    logger.propagate = False
