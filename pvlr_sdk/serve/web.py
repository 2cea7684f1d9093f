"""Runs the web application in its own thread, next to the cameras."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import uvicorn

from .. import errors
from ..tagger import Tagger
from ..watch import Site
from ..watch.control import Control
from .api.hub import Hub
from .api.tagging import UploadTagger
from .app import create_app, create_probes
from .server.access import Guard
from .server.audit import Audit, Repeats
from .server.connections import Connections
from .server.settings import ServeSettings

_PROBES = 32
"""Maximum number of connections to the port of the probes."""
_BACKLOG = 128
_EXPIRE = 0.5
"""Seconds between two searches for connections that have waited for too long."""
_GRACE = 0.3
"""Seconds for responses in progress when the server stops."""
_REPEATS = Repeats()


class WebServer:
    """Serves a tagger and, optionally, a site. Neither is closed at the end.

    Args:
        ended: called in the server's thread with the exception that ended it, if it fails.
        control: what the page changes; None: one of its own.

    Raises:
        OptionError: the address, the audit log or the tokens cannot be used.
    """

    def __init__(
        self,
        tagger: Tagger,
        site: Site | None,
        settings: ServeSettings,
        ended: Callable[[BaseException], None],
        control: Control | None = None,
    ) -> None:
        self._settings = settings
        self._ended = ended
        tls = {"ssl_certfile": settings.tls_cert, "ssl_keyfile": settings.tls_key}
        with ExitStack() as opened:
            main = opened.enter_context(_bind(settings, settings.port))
            probes = None
            if settings.probe_port is not None:
                probes = opened.enter_context(_bind(settings, settings.probe_port, _PROBES))
            self._hub = Hub(tagger, site)
            control = control or Control(
                tagger,
                site,
                settings.site_file,
                site.config.deploy if site else None,
                bank=settings.bank_file,
                events=settings.events,
            )
            self._uploads = UploadTagger(tagger, site, settings, control)
            guard = Guard(settings, Audit(settings.audit_log))
            control.deployment.on_undone = lambda reason: guard.audit.record("rollback", "ok", reason=reason)
            app = create_app(tagger, site, guard, self._hub, self._uploads, control)
            self._listening = [main]
            self._servers = [uvicorn.Server(_config(app, main, tls))]
            if probes:
                self._listening.append(probes)
                self._servers.append(uvicorn.Server(_config(create_probes(site, guard, self._hub), probes, {})))
            opened.pop_all()
        self._name: tuple[str, int] = main.getsockname()[:2]
        self.probe_port: int | None = probes.getsockname()[1] if probes else None
        """The port of the probes, if they have one of their own."""
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pvlr-web", daemon=True)

    @property
    def url(self) -> str:
        """The URL of its address."""
        host, port = self._name
        return f"{self._settings.scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    def start(self) -> None:
        """Start to serve; returns once requests are answered."""
        self._thread.start()
        self._started.wait()

    def alive(self) -> bool:
        """Whether requests are still answered."""
        return self._hub.alive()

    def stop(self) -> None:
        """Start to end; safe in any thread and in a signal handler."""
        self._hub.stopping = True
        for server in self._servers:
            server.should_exit = True

    def close(self) -> None:
        """Stop, and wait at most a second for the thread."""
        self.stop()
        self._thread.join(_GRACE)
        for server in self._servers:
            server.force_exit = True
        self._thread.join(1 - _GRACE)
        self._uploads.close()
        self._hub.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._ended(error)
        finally:
            self._started.set()

    async def _serve(self) -> None:
        polling = asyncio.create_task(self._hub.run())
        serving = [
            asyncio.create_task(server.serve(sockets=[one]))
            for server, one in zip(self._servers, self._listening, strict=True)
        ]
        while not (all(server.started for server in self._servers) and self._hub.ticks):
            if any(task.done() for task in serving):
                break
            await asyncio.sleep(0.01)
        self._started.set()
        while not any(task.done() for task in (polling, *serving)):
            await asyncio.wait({polling, *serving}, timeout=_EXPIRE, return_when=asyncio.FIRST_COMPLETED)
            for one in self._listening:
                one.expire()
        self.stop()
        self._uploads.stop()
        await asyncio.gather(polling, *serving)
        # What is left would be cancelled by asyncio and answered with a 500.
        for one in self._listening:
            one.abort()
        await asyncio.sleep(0)


def _config(app: Any, listening: Connections, options: dict[str, Any]) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http=listening.protocol(),
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        ws_max_size=4096,
        ws_max_queue=8,
        ws_per_message_deflate=False,  # JPEG does not compress further
        **options,
    )
    logging.getLogger("uvicorn.error").addFilter(_REPEATS)  # one for all servers; adding it again changes nothing
    config.load()
    return config


def _bind(settings: ServeSettings, port: int, most: int | None = None) -> Connections:
    host = settings.host
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        raise errors.OptionError(
            f"host {host} and port {port}",
            expected="a free address of this machine",
            got=getattr(error, "strerror", None) or str(error),
            hint="Choose an address of this machine and a free port; 0 selects one.",
        ) from None
    return Connections(listening, most or settings.max_connections, most or settings.max_connections_per_address)
