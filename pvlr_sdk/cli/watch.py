"""``pvlr watch``: cameras in, events out, until told to stop."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import DeviceOption, PlanOption, PrecisionOption, ThreadsOption

if TYPE_CHECKING:
    from ..site import Site

_SECRET = "PVLR_WEBHOOK_SECRET"
_WHERE, _WHAT = "Where events go", "What counts"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="watch", no_args_is_help=True)(watch)


def watch(
    uris: Annotated[list[str] | None, typer.Argument(metavar="[NAME=]URI", help="Cameras, streams and videos.")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="SITE.yaml", help="A whole site; other options add to it.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Check everything, then end without watching.")] = False,
    plan: PlanOption = None,
    every_frame: Annotated[
        bool, typer.Option("--every-frame", help="Of a file each frame, as fast as possible, not at its own pace.")
    ] = False,
    labels: Annotated[
        list[str] | None, typer.Option("--label", "-l", help="Only this label; repeatable.", rich_help_panel=_WHAT)
    ] = None,
    deny: Annotated[
        list[str] | None, typer.Option("--deny", help="Not this label; repeatable.", rich_help_panel=_WHAT)
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(metavar="X,Y,W,H", help="A part of the picture, as fractions of it.", rich_help_panel=_WHAT),
    ] = None,
    events: Annotated[
        list[str] | None,
        typer.Option(
            "--events", "-e", metavar="-|FILE", help="JSON lines; by default -, stdout.", rich_help_panel=_WHERE
        ),
    ] = None,
    sqlite: Annotated[Path | None, typer.Option(metavar="FILE", help="SQLite.", rich_help_panel=_WHERE)] = None,
    mqtt: Annotated[
        str | None, typer.Option(metavar="URL", help="MQTT broker, mqtt:// or mqtts://.", rich_help_panel=_WHERE)
    ] = None,
    webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="A POST for each notice.", rich_help_panel=_WHERE)
    ] = None,
    video: Annotated[Path | None, typer.Option(metavar="DIR", help="Annotated video.", rich_help_panel=_WHERE)] = None,
    snapshots: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A JPEG of the frame that turned an event on.", rich_help_panel=_WHERE),
    ] = None,
    stats: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Print figures to stderr this often.", min=0.1)
    ] = None,
    systemd: Annotated[bool, typer.Option("--systemd", help="Print a systemd unit for this command and end.")] = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    precision: PrecisionOption = None,
) -> None:
    """Watch cameras and report when a label appears and when it goes away.

    Runs until every file has ended, or until Ctrl-C or SIGTERM. A camera that is lost is tried again for ever.
    [bold]$NAME[/bold] in an address is an environment variable: keep passwords there.

    \b
    [bold]Examples[/bold]
    pvlr watch rtsp://192.168.1.20/stream
    pvlr watch door=rtsp://cam1/live yard=rtsp://cam2/live --label person --label car
    pvlr watch clip.mp4 --every-frame > events.jsonl
    pvlr watch 0 --mqtt 'mqtts://$MQTT_USER:$MQTT_PASSWORD@broker' --sqlite events.db --stats 10
    pvlr watch --config site.yaml --check
    """
    if systemd:
        typer.echo((Path(__file__).parents[1] / "site" / "pvlr-watch.service").read_text(), nl=False)
        return
    from ..site import Site, parts
    from ..site.opening import check_sinks
    from .screen import note
    from .site_options import build_config

    site_config = build_config(
        config,
        uris or [],
        region=region,
        settings={"plan": plan and plan.absolute(), "device": device, "threads": threads, "precision": precision},
        events={"labels": labels, "deny": deny, "snapshots": snapshots and snapshots.absolute()},
        stream={"every_frame": every_frame or None},
        sinks=_sinks(events or [], sqlite, mqtt, webhook, video),
    )
    if check:
        cameras, tagger = parts.make_cameras(site_config), parts.make_tagger(site_config)
        parts.make_detectors(site_config, tagger)
        check_sinks(site_config)
        counts = {"camera": len(cameras), "sink": len(site_config.sinks), "label": len(tagger.labels)}
        shown = (f"{count} {name}" + ("" if count == 1 else "s") for name, count in counts.items())
        note(f"valid: {', '.join(shown)}.")
        return
    _log_to_stderr()
    _run(Site(site_config), stats)


def _sinks(
    events: list[str], sqlite: Path | None, mqtt: str | None, webhook: str | None, video: Path | None
) -> list[dict[str, Any]]:
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


def _run(site: Site, every: float | None) -> None:
    """Run a site until its files have ended or a signal ends it, and with it the process."""
    from ..site.watchdog import Watchdog

    signals: list[int] = []
    ended = threading.Event()

    def stop(number: int, frame: object) -> None:
        signals.append(number)
        signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
        site.stop()

    def report() -> None:
        while not ended.wait(every):
            _print_stats(site)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    if every:
        threading.Thread(target=report, name="pvlr-stats", daemon=True).start()
    with Watchdog(site.healthy):
        site.run()
    ended.set()
    if every:
        _print_stats(site)
    if signals:
        # Everything is closed. A library's thread that still hangs in a connection must not delay or crash the exit.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(130 if signals[0] == signal.SIGINT else 0)
    if any(camera["state"] == "ended" and not camera["captured"] for camera in site.stats()["cameras"].values()):
        raise typer.Exit(2)


def _print_stats(site: Site) -> None:
    """One line for each camera and each sink."""
    from .screen import note

    stats = site.stats()
    for name, camera in stats["cameras"].items():
        ages = (
            ""
            if camera["age_p50"] is None
            else f", age {1e3 * camera['age_p50']:.0f} ms (p99 {1e3 * camera['age_p99']:.0f})"
        )
        counts = ", ".join(f"{camera[key]} {key}" for key in ("tagged", "dropped", "late", "failed", "reconnects"))
        note(f"{name}: {camera['state']}, {camera['fps']:.1f} frames/s{ages}, {counts}")
    for sink in stats["sinks"]:
        error = f", {sink['error']}" if sink["error"] else ""
        note(f"{sink['name']}: {sink['delivered']} delivered, {sink['waiting']} waiting, {sink['lost']} lost{error}")


def _log_to_stderr() -> None:
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
