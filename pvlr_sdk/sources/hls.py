"""HLS: a playlist and its segments, requested from the playlist's own server and from no other."""

from __future__ import annotations

import base64
import errno
import ssl
import time
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPResponse
from typing import Any, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from .uri import NetworkUri

OPTIONS = {"http_persistent": "0", "http_multiple": "0"}
"""FFmpeg must not look for connections of its own to use again."""


class HlsRequests:
    """Opens what FFmpeg asks for while it reads a playlist: the ``io_open`` of ``av.open``.

    FFmpeg itself would request any address that a playlist names, and of the certificates verify the first only.

    Args:
        uri: the playlist. Its user and password are sent with each request.
        timeout: seconds to wait for a connection, and for all that is read between two calls of :meth:`begin`.
        context: verifies certificates; None: for http.

    Attributes:
        refused: what the playlist named and was not requested, for a message; empty so far.
    """

    def __init__(self, uri: NetworkUri, timeout: float, context: ssl.SSLContext | None) -> None:
        # The last @ of all, as for the host: an unescaped password may contain any character.
        scheme, _, rest = uri.url.partition("://")
        credentials, at, address = rest.rpartition("@")
        self._credentials = f"{scheme}://{credentials}{at}"
        self._server = _server(urlsplit(f"{scheme}://{address}"))
        self._timeout = timeout
        self.refused = ""
        self._headers = {}
        if credentials:
            basic = base64.b64encode(unquote(credentials).encode()).decode()
            self._headers["Authorization"] = f"Basic {basic}"
        handlers: list[Any] = [_NoRedirect()]
        if context is not None:
            handlers.append(urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)
        self.begin()

    def begin(self) -> None:
        """Start the time that is left for the next frame."""
        self.until = time.monotonic() + self._timeout

    def __call__(self, url: str, flags: int, options: dict[str, str]) -> _Body:
        """The body of the response; ``options`` are FFmpeg's, of which the range of bytes counts."""
        if self._headers and url.startswith(self._credentials):  # a name relative to the playlist
            url = url.replace(self._credentials, f"{self._server.scheme}://", 1)
        address = urlsplit(url)
        if _server(address) != self._server:
            named = address.netloc.rpartition("@")[2] or address.scheme
            encrypted = address.scheme.startswith("crypto")
            self.refused = "an encrypted playlist" if encrypted else f"a playlist that names another server ({named})"
            raise PermissionError(errno.EACCES, self.refused)
        headers = dict(self._headers)
        if "offset" in options:
            end = int(options.get("end_offset") or 0)
            headers["Range"] = f"bytes={int(options['offset'])}-{end - 1 if end else ''}"
        try:
            response = self._opener.open(urllib.request.Request(url, headers=headers), timeout=self._timeout)
        except urllib.error.HTTPError as error:
            kind = PermissionError if error.code in (401, 403) else OSError
            raise kind(errno.EIO, f"status {error.code}") from None
        except (HTTPException, ValueError) as error:
            raise OSError(errno.EIO, f"no HTTP ({type(error).__name__})") from None
        except urllib.error.URLError as error:
            reason = error.reason
            raise (reason if isinstance(reason, OSError) else OSError(errno.EIO, str(reason))) from None
        return _Body(response, self)


class _Body:
    """A response as PyAV reads it. ``read`` returns what has arrived, so that a slow server cannot hold it."""

    def __init__(self, response: HTTPResponse, requests: HlsRequests) -> None:
        self._response, self._requests = response, requests

    def read(self, count: int) -> bytes:
        if time.monotonic() > self._requests.until:
            raise TimeoutError(errno.ETIMEDOUT, "timed out")
        try:
            return self._response.read1(count)
        except HTTPException as error:
            raise OSError(errno.EIO, f"no HTTP ({type(error).__name__})") from None

    def close(self) -> None:
        self._response.close()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: no address is requested that a server chooses."""

    def redirect_request(self, *_: Any) -> None:
        return None


class _Server(NamedTuple):
    scheme: str
    host: str | None
    port: int | None


def _server(address: SplitResult) -> _Server:
    try:
        port = address.port
    except ValueError:  # no number
        port = 0
    return _Server(address.scheme, address.hostname, port or {"http": 80, "https": 443}.get(address.scheme))
