"""``pvlr serve``: a page with the cameras and an API that tags images, until stopped."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import errors
from . import options
from .memory import return_freed_memory
from .reloading import reload_on_hangup
from .site_options import build_config, build_sinks, check_site, log_to_stderr, systemd_unit

if TYPE_CHECKING:
    from ..serve import ServeSettings
    from ..tagger import Tagger
    from ..watch import Site
    from ..watch.config import ServeConfig
    from ..watch.deployment import Deployment

_TOKEN = "PVLR_TOKEN"
_server = partial(typer.Option, rich_help_panel="Server")
_POLL = 0.25
"""Seconds between two checks of the main thread for a signal."""


def serve(
    uris: options.Uris = None,
    config: options.Config = None,
    check: options.Check = False,
    plan: options.PlanOption = None,
    bank: options.Bank = None,
    host: Annotated[
        str | None, _server(metavar="HOST", help=f"127.0.0.1 by default; another address needs a token in {_TOKEN}.")
    ] = None,
    port: Annotated[
        int | None, _server(metavar="PORT", help="8000 by default; 0 for a free port.", min=0, max=65535)
    ] = None,
    token_file: Annotated[
        Path | None, _server(metavar="FILE", help=f"File with tokens, instead of {_TOKEN}; a line NAME TOKEN each.")
    ] = None,
    names: Annotated[
        list[str] | None, _server("--name", metavar="HOST", help="Accept this host name from browsers; repeatable.")
    ] = None,
    tls_cert: Annotated[Path | None, _server(metavar="PEM", help="Certificate for HTTPS.")] = None,
    tls_key: Annotated[Path | None, _server(metavar="PEM", help="Key of the certificate.")] = None,
    probe_port: Annotated[
        int | None, _server(metavar="PORT", help="Separate port for /healthz and /readyz.", min=0, max=65535)
    ] = None,
    audit_log: Annotated[
        Path | None, _server(metavar="FILE", help="File for sign-ins and changes, as JSON lines.")
    ] = None,
    loop: options.Loop = False,
    threshold: options.Threshold = None,
    operating_point: options.EventsPoint = None,
    min_duration: options.MinDuration = None,
    labels: options.Label = None,
    deny: options.Deny = None,
    region: options.Region = None,
    ca: options.Ca = None,
    insecure: options.Insecure = False,
    events: Annotated[list[str] | None, options.events("by default none")] = None,
    sqlite: options.Sqlite = None,
    mqtt: options.Mqtt = None,
    webhook: options.Webhook = None,
    video: options.Video = None,
    snapshots: options.Snapshots = None,
    systemd: options.Systemd = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    precision: options.Precision = None,
    allow_unsigned: options.AllowUnsigned = False,  # sets the environment variable
) -> None:
    """Show tagged cameras on a web page, and tag images over HTTP.

    With cameras, does what [bold]pvlr watch[/bold] does and shows the result; without
    cameras, serves only the API. Runs until Ctrl-C or SIGTERM.

    \b
    [bold]Examples[/bold]
    pvlr serve
    curl -F file=@photo.jpg http://127.0.0.1:8000/v1/tag
    pvlr serve clip.mp4 --loop --snapshots snapshots
    pvlr serve rtsp://192.168.1.20/stream
    pvlr serve --config site.yaml
    PVLR_TOKEN=... pvlr serve --host 0.0.0.0 door=rtsp://cam1/live
    """
    if systemd:
        typer.echo(systemd_unit("serve"), nl=False)
        return
    _check_dependencies()
    return_freed_memory()
    from ..models.find import find_plan
    from ..tagger import Tagger
    from ..watch import Site
    from ..watch.config import ServeConfig
    from ..watch.deployment import Deployment
    from ..watch.factory import make_tagger, use_bank
    from .screen import note

    plan = plan and find_plan(plan).absolute()
    settings = {
        "plan": plan,
        "bank": bank and bank.absolute(),
        "operating_point": operating_point,
        "device": None if device == "auto" else device,
        "threads": threads,
        "precision": precision,
    }
    listen = {
        "host": host,
        "port": port,
        "names": names,
        "tls_cert": tls_cert and str(tls_cert.absolute()),
        "tls_key": tls_key and str(tls_key.absolute()),
        "token_file": token_file and str(token_file.absolute()),
        "probe_port": probe_port,
        "audit_log": audit_log and str(audit_log.absolute()),
    }
    of_cameras = (threshold, min_duration, labels, deny, region, events, sqlite, mqtt, webhook, video, snapshots)
    if not (uris or config or loop or ca or insecure or any(option is not None for option in of_cameras)):
        given = {key: value for key, value in listen.items() if value is not None}
        where = _where(ServeConfig.model_validate(given), bank_file=bank)
        point = operating_point or "precise"
        tagger = Tagger(plan, operating_point=point, device=device, num_threads=threads, precision=precision)
        use_bank(tagger, bank)
        if check:
            note(f"valid: no cameras, {len(tagger.labels)} labels.")
            return
        log_to_stderr()
        _run(tagger, None, where, Deployment(tagger))
        return
    site_config = build_config(
        config,
        uris or [],
        region=region,
        loop=loop,
        ca=ca,
        insecure=insecure,
        thresholds=threshold or (),
        settings=settings,
        events={
            "labels": labels,
            "deny": deny,
            "snapshots": snapshots and snapshots.absolute(),
            "min_duration": min_duration,
        },
        serve=listen,
        sinks=build_sinks(events or [], sqlite, mqtt, webhook, video),
        stdout=False,
    )
    where = _where(site_config.serve, config, site_config.bank)
    if check:
        check_site(site_config)
        return
    log_to_stderr()
    tagger = make_tagger(site_config)
    site = Site(site_config, tagger=tagger)
    place = config if plan is None else None  # an option takes precedence over the file
    _run(tagger, site, where, Deployment(tagger, site, place, site_config.deploy))


def _check_dependencies() -> None:
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
        import websockets  # noqa: F401
    except ImportError as error:
        raise errors.MissingPartError(
            "pvlr serve", expected="its packages", got=str(error), hint=errors.install_hint("serve")
        ) from error


def _first(ends: queue.SimpleQueue[int | BaseException]) -> int | BaseException:
    """Wait for what ends the server, waking up regularly: a signal that another thread receives, as one sent to a
    stopped process can be, is handled only when this thread, the main thread, runs."""
    while True:
        with suppress(queue.Empty):
            return ends.get(timeout=_POLL)


def _where(config: ServeConfig, site_file: Path | None = None, bank_file: Path | None = None) -> ServeSettings:
    from ..serve import ServeSettings

    token = None
    if config.token_file is None:
        # An empty token of the file is an error: an environment variable without a value would leave the door open.
        token = os.environ.get(_TOKEN) or None if config.token is None else config.token.get_secret_value()
    return ServeSettings(**{**dict(config), "token": token}, site_file=site_file, bank_file=bank_file)


def _run(tagger: Tagger, site: Site | None, settings: ServeSettings, deployment: Deployment) -> None:
    """Run until a signal, or until the site or the server fails; then end the process."""
    from ..serve.web import WebServer
    from ..watch.watchdog import watchdog
    from .screen import note

    # A signal handler may put into it whatever it interrupts; setting a threading.Event there could deadlock.
    ends: queue.SimpleQueue[int | BaseException] = queue.SimpleQueue()
    server = WebServer(tagger, site, settings, ends.put, deployment)
    reload_on_hangup(deployment)

    def stop(number: int, frame: Any) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second signal ends the process at once
        server.stop()
        if site:
            site.stop()
        ends.put(number)

    def watch() -> None:
        assert site is not None
        try:
            site.run()  # the page stays available after all cameras have ended
        except BaseException as error:
            ends.put(error)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    watching = threading.Thread(target=watch, name="pvlr-site", daemon=True)
    server.start()
    if server.probe_port is not None:
        note(f"probes on port {server.probe_port}")
    note(f"serving on {server.url}")
    with watchdog(lambda: server.alive() and (site is None or site.healthy())):
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
    # As in watch: a library thread that still waits for a connection must not delay or crash the exit.
    os._exit(130 if end == signal.SIGINT else 0)
