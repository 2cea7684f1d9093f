"""HTTP requests that end in time: a socket's timeout starts again with each byte that a slow server sends."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from urllib.request import OpenerDirector


class Deadline:
    """Closes a connection at the end of a total time. Used by one thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._twin: socket.socket | None = None
        self._passed = False

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Limit the time of the block.

        Raises:
            TimeoutError: it has passed, whatever the block raised or returned.
        """
        self._passed = False
        timer = threading.Timer(seconds, self._pass)
        timer.daemon = True
        timer.start()
        try:
            yield
        except Exception:
            if not self._passed:
                raise
        finally:
            timer.cancel()
            self.watch(None)
        if self._passed:  # also without an error: http.client takes a closed connection for the end of the headers
            raise TimeoutError("timed out")

    def watch(self, connection: socket.socket | None) -> None:
        """Close this connection at the deadline, whatever it is wrapped in meanwhile."""
        with self._lock:
            if self._twin:
                self._twin.close()
            self._twin = connection.dup() if connection else None
            passed = self._passed
        if passed:
            self._pass()

    def _pass(self) -> None:
        with self._lock, contextlib.suppress(OSError):
            self._passed = True
            if self._twin:
                self._twin.shutdown(socket.SHUT_RDWR)


def make_opener(deadline: Deadline) -> OpenerDirector:
    """An opener whose connections end at the deadline, and for which a redirect is an error.

    urllib would follow a redirect with a GET, without the event, to an address that the server chooses.
    """
    import http.client
    import urllib.request

    class Watched(http.client.HTTPConnection):
        def connect(self) -> None:
            super().connect()
            deadline.watch(self.sock)

    class WatchedTls(http.client.HTTPSConnection, Watched):  # the handshake comes after Watched.connect
        pass

    class Http(urllib.request.HTTPHandler):
        def http_open(self, req: urllib.request.Request) -> Any:
            return self.do_open(Watched, req)

    class Https(urllib.request.HTTPSHandler):
        def https_open(self, req: urllib.request.Request) -> Any:
            return self.do_open(WatchedTls, req)

    class Redirects(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *arguments: object) -> None:
            return None

    return urllib.request.build_opener(Http, Https, Redirects)
