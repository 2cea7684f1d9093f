"""``pvlr serve``: a page for the cameras and an API for photos, until told to stop."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import errors
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
    from ..serve import ServeSettings
    from ..site import Site
    from ..site.config import ServeConfig
    from ..tagger import Tagger

_TOKEN = "PVLR_TOKEN"
_LISTEN = "Where it listens"
_LOOK = 0.25
"""Seconds after which the main thread looks whether there was a signal."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="serve")(serve)


def serve(
    uris: UrisArgument = None,
    config: ConfigOption = None,
    plan: PlanOption = None,
    host: Annotated[
        str | None,
        typer.Option(help=f"By default 127.0.0.1; another needs a token in {_TOKEN}.", rich_help_panel=_LISTEN),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="By default 8000; 0 takes a free one.", min=0, max=65535, rich_help_panel=_LISTEN)
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=f"The token, in place of the variable {_TOKEN}.", rich_help_panel=_LISTEN),
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option("--name", help="A name by which browsers may call this machine.", rich_help_panel=_LISTEN),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="PEM", help="A certificate, for https.", rich_help_panel=_LISTEN)
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="PEM", help="Its key.", rich_help_panel=_LISTEN)] = None,
    labels: LabelsOption = None,
    deny: DenyOption = None,
    region: RegionOption = None,
    events: Annotated[list[str] | None, events_option("JSON lines, to stdout or a file.")] = None,
    sqlite: SqliteOption = None,
    mqtt: MqttOption = None,
    webhook: WebhookOption = None,
    video: VideoOption = None,
    snapshots: SnapshotsOption = None,
    systemd: Annotated[bool, typer.Option("--systemd", help="Print a systemd unit for this command and end.")] = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    precision: PrecisionOption = None,
) -> None:
    """Show cameras on a page as they are tagged, and tag photos that are sent.

    With cameras it does what [bold]pvlr watch[/bold] does, and shows it; without, it serves the API alone. Runs until
    Ctrl-C or SIGTERM.

    \b
    [bold]Examples[/bold]
    pvlr serve
    curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' http://127.0.0.1:8000/v1/tag
    pvlr serve rtsp://192.168.1.20/stream
    pvlr serve --config site.yaml
    PVLR_TOKEN=$(openssl rand -hex 16) pvlr serve --host 0.0.0.0 door=rtsp://cam1/live
    """
    if systemd:
        typer.echo(systemd_unit("serve"), nl=False)
        return
    _check_parts()
    from ..site import Site
    from ..site.config import ServeConfig
    from ..site.parts import make_tagger
    from ..tagger import Tagger
    from .site_options import build_config

    settings = {"plan": plan and plan.absolute(), "device": device, "threads": threads, "precision": precision}
    listen = {
        "host": host,
        "port": port,
        "names": names,
        "tls_cert": tls_cert and str(tls_cert.absolute()),
        "tls_key": tls_key and str(tls_key.absolute()),
    }
    if not uris and not config:
        given = {key: value for key, value in listen.items() if value is not None}
        where = _where(ServeConfig.model_validate(given), token_file)
        tagger = Tagger(plan, device=device, num_threads=threads, precision=precision)
        log_to_stderr()
        _run(tagger, None, where)
        return
    site_config = build_config(
        config,
        uris or [],
        region=region,
        settings=settings,
        events={"labels": labels, "deny": deny, "snapshots": snapshots and snapshots.absolute()},
        serve=listen,
        sinks=build_sinks(events or [], sqlite, mqtt, webhook, video),
        stdout=False,
    )
    where = _where(site_config.serve, token_file)
    log_to_stderr()
    tagger = make_tagger(site_config)
    _run(tagger, Site(site_config, tagger=tagger), where)


def _check_parts() -> None:
    try:
        import fastapi  # noqa: F401
        import PIL  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
        import websockets  # noqa: F401
    except ImportError as error:
        raise errors.MissingPartError(
            "pvlr serve", expected="its packages", got=str(error), hint='pip install "pvlr-sdk[serve]".'
        ) from error


def _first(ends: queue.SimpleQueue[int | BaseException]) -> int | BaseException:
    """Wait for what ends the server. A signal may reach another thread, as one does that was sent while the process was
    stopped: its handler runs once this one, the main thread, wakes."""
    while True:
        with suppress(queue.Empty):
            return ends.get(timeout=_LOOK)


def _where(config: ServeConfig, token_file: Path | None) -> ServeSettings:
    from ..serve import ServeSettings

    token = config.token.get_secret_value() if config.token else os.environ.get(_TOKEN) or None
    if token_file:
        try:
            token = token_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            got = getattr(error, "strerror", None) or "no text"
            raise errors.OptionError(
                "--token-file", expected="a file with the token", got=got, hint="Check its path and permissions."
            ) from None
    return ServeSettings(config.host, config.port, token, config.names, config.tls_cert, config.tls_key)


def _run(tagger: Tagger, site: Site | None, settings: ServeSettings) -> None:
    """Run until a signal, or until the site or the server fails, and end the process."""
    from ..serve.server import WebServer
    from ..site.watchdog import Watchdog
    from .screen import note

    # What a signal handler may put into, whatever it interrupts: a threading.Event may not be set there.
    ends: queue.SimpleQueue[int | BaseException] = queue.SimpleQueue()
    server = WebServer(tagger, site, settings, ends.put)

    def stop(number: int, frame: Any) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
        server.stop()
        if site:
            site.stop()
        ends.put(number)

    def watch() -> None:
        assert site is not None
        try:
            site.run()  # once all cameras have ended the page still shows it
        except BaseException as error:
            ends.put(error)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    watching = threading.Thread(target=watch, name="pvlr-site", daemon=True)
    server.start()
    note(f"serving on {server.url}")
    with Watchdog(lambda: server.alive() and (site is None or site.healthy())):
        if site:
            watching.start()
        end = _first(ends)
        if site:
            site.stop()
            watching.join(2)
    server.close()
    if isinstance(end, BaseException):
        raise end
    sys.stdout.flush()
    sys.stderr.flush()
    # As in watch: a library's thread that still hangs in a connection must not delay or crash the exit.
    os._exit(130 if end == signal.SIGINT else 0)
