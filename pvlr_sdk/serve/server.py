"""Runs the application in a thread of its own, beside the cameras."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable

import uvicorn

from .. import errors
from ..site import Site
from ..tagger import Tagger
from .app import create_app
from .door import Door
from .hub import Hub
from .settings import ServeSettings
from .tagging import PhotoTagger

_MOST_CONNECTIONS = 128
"""From here on requests get a 503; twice as many are open at most."""
_GRACE = 0.3
"""Seconds that answers under way have at the end."""


class WebServer:
    """Serves one tagger, and one site if there is one. Neither is closed at the end.

    Args:
        ended: called from the server's thread if it ends by itself, with what went wrong.

    Raises:
        OptionError: the address can't be bound, or the TLS files can't be used.
    """

    def __init__(
        self, tagger: Tagger, site: Site | None, settings: ServeSettings, ended: Callable[[BaseException], None]
    ) -> None:
        self._settings = settings
        self._ended = ended
        self._socket = _bind(settings)
        self._name: tuple[str, int] = self._socket.getsockname()[:2]
        self._hub = Hub(tagger, site)
        self._photos = PhotoTagger(tagger, settings)
        app = create_app(tagger, site, settings, self._hub, self._photos)
        config = uvicorn.Config(
            app,
            http="h11",  # httptools, which it would prefer, has no bound on the length of headers
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_MOST_CONNECTIONS,
            ws_max_size=4096,
            ws_max_queue=8,
            ws_per_message_deflate=False,  # JPEG does not get smaller
            ssl_certfile=settings.tls_cert,
            ssl_keyfile=settings.tls_key,
        )
        try:
            config.load()
        except OSError as error:
            self._socket.close()
            raise errors.OptionError(
                "tls_cert and tls_key",
                expected="a certificate and its key, as PEM files",
                got=error.strerror or type(error).__name__,
                hint="Check the paths, and that the key belongs to the certificate.",
            ) from None
        self._server = uvicorn.Server(config)
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pvlr-web", daemon=True)

    @property
    def url(self) -> str:
        """Where it can be reached, as far as the address says."""
        host, port = self._name
        return f"{self._settings.scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    def start(self) -> None:
        """Begin to serve; returns once requests are answered."""
        self._thread.start()
        self._started.wait()

    def alive(self) -> bool:
        """Whether requests are still answered."""
        return self._hub.alive()

    def stop(self) -> None:
        """Begin to end. Any thread and any signal handler may call it."""
        self._hub.stopping = True
        self._server.should_exit = True

    def close(self) -> None:
        """Stop, and wait for the thread, but no longer than a second."""
        self.stop()
        self._thread.join(_GRACE)
        self._server.force_exit = True
        self._thread.join(1 - _GRACE)
        self._photos.close()
        self._hub.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._ended(error)
        finally:
            self._started.set()

    async def _serve(self) -> None:
        watching = asyncio.create_task(self._hub.run())
        serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not (self._server.started and self._hub.ticks) and not serving.done():
            await asyncio.sleep(0.01)
        self._started.set()
        await asyncio.wait({watching, serving}, return_when=asyncio.FIRST_COMPLETED)
        self.stop()
        self._photos.stop()
        await asyncio.gather(watching, serving)


def _bind(settings: ServeSettings) -> socket.socket:
    host = settings.host
    try:
        family = socket.getaddrinfo(host, settings.port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, settings.port), family=family, backlog=128)
        return Door(listening, 2 * _MOST_CONNECTIONS)
    except (OSError, UnicodeError) as error:
        raise errors.OptionError(
            f"host {host} and port {settings.port}",
            expected="a free address of this machine",
            got=getattr(error, "strerror", None) or str(error),
            hint="Choose another --port; 0 takes a free one.",
        ) from None
