"""``pvlr watch``: events of cameras, until stopped."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import typer
from typer import Option

from .. import errors
from . import option_groups, options
from .site import (
    check_site,
    log_to_stderr,
    reload_on_hangup,
    return_freed_memory,
    start_metrics,
    systemd_unit,
)
from .site_settings import build_config

if TYPE_CHECKING:
    from ..cameras.events import Event
    from ..cameras.site import Site
    from ..tagger import Tagger
    from .site_settings import SiteSettings


def watch(
    uris: options.Uris = None,
    *,
    site: option_groups.Site,
    model: option_groups.Model,
    events: option_groups.Events,
    every_frame: bool = Option(
        False, "--every-frame", help="Tag every frame of a file, as fast as possible."
    ),
    as_json: bool = Option(False, "--json", help="JSON lines also on a terminal, like --events -."),
    stats: float | None = Option(
        None, metavar="SECONDS", help="Print statistics on stderr at this interval.", min=0.1
    ),
) -> None:
    """Watch cameras and report when a label appears and disappears.

    Runs until all files have ended, or until Ctrl-C or SIGTERM. A lost camera is
    reconnected without limit. [bold]$NAME[/bold] in an address is replaced by the
    environment variable; keep passwords there. Events use the thresholds for 90 %
    precision; [bold]pvlr tag[/bold] uses the thresholds with the best F1.

    Everything else is set in a site file, such as sinks (MQTT, webhooks, SQLite,
    video), snapshots, regions and certificates: start one with --print-config.

    \b
    [bold]Examples[/bold]
    pvlr watch rtsp://192.168.1.20/stream
    pvlr watch door=rtsp://cam1/live yard=rtsp://cam2/live --label person
    pvlr watch clip.mp4 --every-frame > events.jsonl
    pvlr watch rtsp://192.168.1.20/stream --memory memory/
    pvlr watch clip.mp4 --threshold 0.6 --threshold car=0.5 --min-duration 0.2
    pvlr watch door=rtsp://cam1/live --label person --print-config > site.yaml
    pvlr watch --config site.yaml --check
    """
    if site.systemd:
        typer.echo(systemd_unit("watch"), nl=False)
        return
    return_freed_memory()
    from ..cameras.site.factory import make_tagger

    terminal = sys.stdout.isatty()
    if as_json and "-" not in (events.files or ()):
        events = replace(events, files=[*(events.files or ()), "-"])
    settings = build_config(
        uris or (),
        site,
        model,
        events,
        sections={"stream": {"every_frame": every_frame or None}},
        stdout=not terminal,
    )
    if not settings.config.cameras:
        raise errors.OptionError(
            "URI", "a camera", "none", "Pass a URI, or a --config with cameras."
        )
    if site.check:
        check_site(settings.config)
        return
    log_to_stderr()
    with make_tagger(settings.changes.applied(settings.config)) as tagger:
        _watch(tagger, settings, from_options=site.config is None, terminal=terminal, stats=stats)


def _watch(
    tagger: Tagger,
    settings: SiteSettings,
    *,
    from_options: bool,
    terminal: bool,
    stats: float | None,
) -> None:
    from ..cameras.control.control import Control
    from ..cameras.site import Site
    from ..cameras.site.factory import make_detectors

    config = settings.config
    if from_options:  # an option that names an unknown label is a mistake
        make_detectors(config, tagger)
    site = Site(config, tagger=tagger, changes=settings.changes)
    if terminal and not any(str(getattr(sink, "path", "")) == "-" for sink in config.sinks):
        site.subscribe(_printer(site))
    start_metrics(site)
    control = Control(tagger, site, settings.state, plans=settings.plans, bank=config.bank)
    reload_on_hangup(control.deployment)
    _run(site, stats)


def _printer(site: Site) -> Callable[[Event], None]:
    """A function that prints an event on one line of the terminal: time, camera, label, state, peak, duration."""
    from shutil import get_terminal_size

    from rich.cells import cell_len, set_cell_size

    from .._util.escape import terminal
    from ..cameras.events import place_of
    from ..cameras.site.factory import tagged_regions
    from ..cameras.site.health import HEALTH

    cameras = site.config.cameras
    names = [
        place_of(name, region)
        for name, camera in cameras.items()
        for region in tagged_regions(camera)
    ]
    labels = {label for name in cameras for label in site.levels(name)} | (
        {HEALTH} if site.config.health else set()
    )
    camera, label = (
        min(max(map(cell_len, texts), default=0), most)
        for texts, most in ((names, 16), (labels, 22))
    )

    def show(event: Event) -> None:
        clock = datetime.fromtimestamp(event.time).strftime("%H:%M:%S")
        columns = [
            clock,
            set_cell_size(terminal(place_of(event.camera, event.region)), camera),
            set_cell_size(terminal(event.label), label),
        ]
        columns += [f"{event.state:<3}", f"{event.peak:.2f}"]
        if event.end is not None:
            columns.append(f"{event.end - event.start:7.1f} s")
        if event.health or event.reason not in (None, "score"):
            columns.append(terminal(event.reason or event.health or ""))
        line = "  ".join(columns)
        width = get_terminal_size().columns
        print(line if cell_len(line) <= width else f"{set_cell_size(line, width - 1).rstrip()}…")

    return show


def _run(site: Site, every: float | None) -> None:
    """Run a site until its files have ended; a signal ends the site and the process."""
    from ..cameras.site.watchdog import watchdog

    signals: list[int] = []
    ended = threading.Event()

    def stop(number: int, frame: object) -> None:
        signals.append(number)
        signal.signal(number, signal.SIG_DFL)  # a second signal ends the process at once
        site.stop()

    def report() -> None:
        while not ended.wait(every):
            _print_stats(site)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    if every:
        threading.Thread(target=report, name="pvlr-stats", daemon=True).start()
    with watchdog(site.healthy):
        site.run()
    ended.set()
    if every:
        _print_stats(site)
    if signals:
        # Everything is closed. A library thread that still waits for a connection must not delay or crash the exit.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(130 if signals[0] == signal.SIGINT else 0)
    if any(
        camera["state"] == "ended" and not camera["captured"]
        for camera in site.stats()["cameras"].values()
    ):
        raise typer.Exit(2)


def _print_stats(site: Site) -> None:
    """Print one line per camera and sink."""
    from .screen import note

    stats = site.stats()
    for name, camera in stats["cameras"].items():
        ages = (
            ""
            if camera["age_p50"] is None
            else f", age {1e3 * camera['age_p50']:.0f} ms (p99 {1e3 * camera['age_p99']:.0f})"
        )
        counts = ", ".join(
            f"{camera[key]} {key}" for key in ("tagged", "dropped", "late", "failed", "reconnects")
        )
        if camera["computed"] < camera["tiles"]:
            counts += f", {100 * camera['computed'] / camera['tiles']:.0f} % computed"
        note(f"{name}: {camera['state']}, {camera['fps']:.1f} frames/s{ages}, {counts}")
    for sink in stats["sinks"]:
        error = f", {sink['error']}" if sink["error"] else ""
        note(
            f"{sink['name']}: {sink['delivered']} delivered, {sink['waiting']} waiting, {sink['lost']} lost{error}"
        )
    for statement in stats["precision"]:
        note(statement)
