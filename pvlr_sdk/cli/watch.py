"""``pvlr watch``: cameras in, events out, until told to stop."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from .options import DeviceOption, PlanOption, PrecisionOption, ThreadsOption
from .watch_options import (
    ConfigOption,
    DenyOption,
    LabelsOption,
    MqttOption,
    RegionOption,
    SnapshotsOption,
    SqliteOption,
    UrisArgument,
    VideoOption,
    WebhookOption,
    build_sinks,
    events_option,
    log_to_stderr,
    systemd_unit,
)

if TYPE_CHECKING:
    from ..site import Site


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="watch", no_args_is_help=True)(watch)


def watch(
    uris: UrisArgument = None,
    config: ConfigOption = None,
    check: Annotated[bool, typer.Option("--check", help="Check everything, then end without watching.")] = False,
    plan: PlanOption = None,
    every_frame: Annotated[
        bool, typer.Option("--every-frame", help="Of a file each frame, as fast as possible, not at its own pace.")
    ] = False,
    labels: LabelsOption = None,
    deny: DenyOption = None,
    region: RegionOption = None,
    events: Annotated[list[str] | None, events_option("JSON lines; by default -, stdout.")] = None,
    sqlite: SqliteOption = None,
    mqtt: MqttOption = None,
    webhook: WebhookOption = None,
    video: VideoOption = None,
    snapshots: SnapshotsOption = None,
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
        typer.echo(systemd_unit("watch"), nl=False)
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
        sinks=build_sinks(events or [], sqlite, mqtt, webhook, video),
    )
    if check:
        cameras, tagger = parts.make_cameras(site_config), parts.make_tagger(site_config)
        parts.make_detectors(site_config, tagger)
        check_sinks(site_config)
        counts = {"camera": len(cameras), "sink": len(site_config.sinks), "label": len(tagger.labels)}
        shown = (f"{count} {name}" + ("" if count == 1 else "s") for name, count in counts.items())
        note(f"valid: {', '.join(shown)}.")
        return
    log_to_stderr()
    _run(Site(site_config), stats)


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
