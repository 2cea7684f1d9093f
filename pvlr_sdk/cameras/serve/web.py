"""Runs the web application in its own thread, next to the cameras."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack

from ... import errors
from ..._util.files import system_errors
from ..control.control import Control
from .api.live_feed import LiveFeed
from .api.tagging import UploadTagger
from .app import create_app, create_probes
from .server.access import AccessControl
from .server.audit import Audit
from .server.listener import Listener
from .server.settings import ServeSettings

_PROBES = 32
"""Maximum number of connections to the port of the probes."""
_GRACE = 0.3
"""Seconds for responses in progress when the server stops."""


class WebServer:
    """Serves a tagger and, optionally, a site. Neither is closed at the end.

    Args:
        control: the tagger and the site, and what the page changes.
        ended: called in the server's thread with the exception that ended it, if it fails.

    Raises:
        OptionError: the address, the audit log or the tokens cannot be used.
    """

    def __init__(
        self, control: Control, settings: ServeSettings, ended: Callable[[BaseException], None]
    ) -> None:
        self._settings = settings
        self._ended = ended
        most = settings.max_connections
        per_address = settings.max_connections_per_address
        with ExitStack() as opened:
            main = opened.enter_context(_bind(settings.host, settings.port))
            probes = None
            if settings.probe_port is not None:
                probes = opened.enter_context(_bind(settings.host, settings.probe_port))
            self._feed = LiveFeed(control.tagger, control.site, control.shown)
            self._uploads = UploadTagger(control, settings)
            self._name: tuple[str, int] = main.getsockname()[:2]
            self.probe_port: int | None = probes.getsockname()[1] if probes else None
            """The port of the probes, if they have one of their own."""
            access = AccessControl(settings, Audit(settings.audit_log))
            control.deployment.on_undone = lambda reason: access.audit.record(
                "rollback", "ok", reason=reason
            )
            app = create_app(control, access, self._feed, self._uploads, settings)
            tls = {"ssl_certfile": settings.tls_cert, "ssl_keyfile": settings.tls_key}
            self._listeners = [Listener(app, main, most, per_address, **tls)]
            if probes:
                app = create_probes(control.site, access, self._feed)
                self._listeners.append(Listener(app, probes, _PROBES, _PROBES))
            opened.pop_all()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pvlr-web", daemon=True)

    @property
    def url(self) -> str:
        host, port = self._name
        return f"{self._settings.scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    def start(self) -> None:
        """Start to serve; returns once requests are answered."""
        self._thread.start()
        self._started.wait()

    def alive(self) -> bool:
        """Whether requests are still answered."""
        return self._feed.alive()

    def stop(self, *, wait: bool = True) -> None:
        """Start to end; safe in any thread and in a signal handler. ``wait``: for responses in progress."""
        self._feed.stopping = True
        for listener in self._listeners:
            listener.stop(wait=wait)

    def close(self) -> None:
        """Stop, and wait at most a second for the thread."""
        self.stop()
        self._thread.join(_GRACE)
        self.stop(wait=False)
        self._thread.join(1 - _GRACE)
        self._uploads.close()
        self._feed.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._ended(error)
        finally:
            self._started.set()

    async def _serve(self) -> None:
        tasks = [asyncio.create_task(self._feed.run())]
        tasks += [asyncio.create_task(listener.run()) for listener in self._listeners]
        while not all(listener.started for listener in self._listeners):
            if any(task.done() for task in tasks):
                break
            await asyncio.sleep(0.01)
        self._started.set()
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        self.stop()
        self._uploads.stop()
        await asyncio.gather(*tasks)


def _bind(host: str, port: int) -> socket.socket:
    where = f"host {host} and port {port}"
    hint = "Choose an address of this machine and a free port; 0 selects one."
    with system_errors(
        errors.OptionError, where, expected="a free address of this machine", hint=hint
    ):
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
