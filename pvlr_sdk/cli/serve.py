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
from typing import TYPE_CHECKING, Any

import typer
from typer import Option

from .. import errors
from . import option_groups, options
from .site import (
    check_site,
    log_to_stderr,
    reload_on_hangup,
    return_freed_memory,
    systemd_unit,
)
from .site_settings import build_config, check_files

if TYPE_CHECKING:
    from ..cameras.control.control import Control
    from ..cameras.serve import ServeSettings
    from ..cameras.site.config import ServeConfig
    from .site_settings import SiteSettings

_TOKEN = "PVLR_TOKEN"
_server = partial(Option, rich_help_panel="Server")
_POLL = 0.25
"""Seconds between two checks of the main thread for a signal."""


def serve(
    uris: options.Uris = None,
    *,
    site: option_groups.Site,
    model: option_groups.Model,
    host: str | None = _server(
        None,
        metavar="HOST",
        help=f"127.0.0.1 by default; another address needs a token in {_TOKEN}.",
    ),
    port: int | None = _server(
        None, metavar="PORT", help="8000 by default; 0 for a free port.", min=0, max=65535
    ),
    events: option_groups.Events,
    snapshots: Path | None = Option(
        None, metavar="DIR", help="JPEG of the frame that starts an event."
    ),
) -> None:
    """Show tagged cameras on a web page, and tag images over HTTP.

    With cameras, does what [bold]pvlr watch[/bold] does and shows the result; without
    cameras, serves only the API. Runs until Ctrl-C or SIGTERM. Events and uploads
    use the thresholds for 90 % precision; [bold]pvlr tag[/bold] uses the thresholds
    with the best F1.

    Everything else is set in a site file, such as TLS, tokens, names of the host
    and sinks: start one with --print-config.

    \b
    [bold]Examples[/bold]
    pvlr serve
    curl -F file=@photo.jpg http://127.0.0.1:8000/v1/tag
    pvlr serve clip.mp4 --loop --snapshots snapshots --memory memory
    pvlr serve rtsp://192.168.1.20/stream --print-config > site.yaml
    pvlr serve --config site.yaml
    PVLR_TOKEN=... pvlr serve --host 0.0.0.0 door=rtsp://cam1/live
    """
    if site.systemd:
        typer.echo(systemd_unit("serve"), nl=False)
        return
    _check_dependencies()
    return_freed_memory()
    settings = build_config(
        uris or (),
        site,
        model,
        events,
        sections={
            "events": {"snapshots": snapshots and snapshots.absolute()},
            "serve": {"host": host, "port": port},
        },
    )
    listen = _settings(settings.config.serve)
    if site.check:
        check_site(settings.config)
        return
    check_files(uris or ())
    log_to_stderr()
    _run(_control(settings, from_options=site.config is None), listen)


def _control(settings: SiteSettings, *, from_options: bool) -> Control:
    """The owner of the tagger and, with cameras, of the site."""
    from ..cameras.control.control import Control
    from ..cameras.site import Site
    from ..cameras.site.factory import make_detectors, make_tagger, with_changes

    config = settings.config
    changes = settings.changes
    tagger = make_tagger(changes.applied(config))
    if from_options:  # an option that names an unknown label is a mistake
        make_detectors(config, tagger)
    else:
        changed = with_changes(config, changes, tagger.labels)
        make_detectors(changed, tagger, changes.thresholds)
    site = Site(config, tagger=tagger, changes=changes) if config.cameras else None
    return Control(
        tagger,
        site,
        settings.state,
        config=config,
        changes=changes,
        plans=settings.plans,
        bank=config.bank,
    )


def _check_dependencies() -> None:
    with errors.needed("pvlr serve", "its packages", "serve"):
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
        import websockets  # noqa: F401


def _first(ends: queue.SimpleQueue[int | BaseException]) -> int | BaseException:
    """Wait for what ends the server, waking up regularly: a signal that another thread receives, as one sent to a
    stopped process can be, is handled only when this thread, the main thread, runs."""
    while True:
        with suppress(queue.Empty):
            return ends.get(timeout=_POLL)


def _settings(config: ServeConfig) -> ServeSettings:
    from ..cameras.serve import ServeSettings

    token = None
    if config.token_file is None:
        # An empty token of the file is an error: an environment variable without a value would leave the door open.
        token = os.environ.get(_TOKEN) or None if config.token is None else config.token
    return ServeSettings(**{**dict(config), "token": token})


def _run(control: Control, settings: ServeSettings) -> None:
    """Run until a signal, or until the site or the server fails; then end the process."""
    from ..cameras.serve.web import WebServer
    from ..cameras.site.watchdog import watchdog
    from .screen import note

    site = control.site
    # A signal handler may put into it whatever it interrupts; setting a threading.Event there could deadlock.
    ends: queue.SimpleQueue[int | BaseException] = queue.SimpleQueue()
    server = WebServer(control, settings, ends.put)
    reload_on_hangup(control.deployment)

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
