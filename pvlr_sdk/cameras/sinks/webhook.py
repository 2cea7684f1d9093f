"""Events to a web server."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote, unquote, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

from pydantic import Field, SecretStr

from ... import errors
from ..._util.deadline import within
from ..._util.version import __version__
from ..events import Event
from ..events.event import rfc3339
from .settings import QueuedSettings, Timeout
from .worker import Sink, SinkWorker, SiteStatus

_REFUSED = frozenset({400, 413, 415, 422})
"""The server has read and rejected this event; after any other status it is sent again."""


class WebhookSettings(QueuedSettings):
    """A web server that receives a POST for each event, signed with ``secret`` (Standard Webhooks)."""

    kind: Literal["webhook"] = "webhook"
    secret: SecretStr | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    timeout: Timeout = 10.0

    def check(self) -> None:
        self._sink()

    def open(self, site: SiteStatus) -> SinkWorker[Event]:
        return SinkWorker(self._sink(), self.open_queue(), longest_pause=60.0)

    def _sink(self) -> WebhookSink:
        headers = {name: value.get_secret_value() for name, value in self.headers.items()}
        secret = None if self.secret is None else self.secret.get_secret_value()
        return WebhookSink(self.url, secret=secret, headers=headers, timeout=self.timeout)


class WebhookSink(Sink[Event]):
    """Sends each event as a POST with a JSON body and the headers of Standard Webhooks (standardwebhooks.com) and of
    CloudEvents (cloudevents.io, in binary content mode), ``ce-type`` ``pvlr.event.on`` or ``pvlr.event.off``.

    ``webhook-id`` is the same in every attempt and differs between the ``on`` and the ``off`` of an event. With a
    secret, ``webhook-signature`` is ``v1,`` and the base64 of HMAC-SHA256(secret, ID.TIMESTAMP.BODY).

    Args:
        url: ``https://[USER:PASSWORD@]HOST/...`` or ``http://...``; redirects are not followed.
        secret: a string, or ``whsec_`` and the base64 of any bytes.
        headers: more headers, such as ``Authorization``.
        timeout: seconds for one attempt in all, however slowly the server responds.

    Raises:
        OptionError: the URL, the secret or a header is invalid.
        MissingPartError: the package aiohttp is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        secret: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
    ) -> None:
        host, self._url, credentials = address(url, "webhook url")
        self.name = f"webhook {host}"
        self._key = None if secret is None else _key(secret)
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": f"pvlr_sdk/{__version__}",
            **credentials,
        }
        self._headers.update(_checked(headers or {}))
        self._timeout = timeout
        load_aiohttp("webhook")

    def write(self, item: Event) -> None:
        """Deliver one event. Raises ValueError if the server rejects it, OSError if it is to be sent again."""
        body = item.to_json().encode()
        identity = f"{item.id}_{item.state}"
        stamp = str(int(time.time()))
        headers = {**self._headers, "webhook-id": identity, "webhook-timestamp": stamp}
        # A URI, whose percent signs are encoded once more in a header.
        source = f"/cameras/{quote(quote(item.camera, safe=''))}"
        kind = f"pvlr.event.{item.state}"
        about = {
            "specversion": "1.0",
            "id": identity,
            "source": source,
            "type": kind,
            "time": rfc3339(item.time),
        }
        headers |= {f"ce-{name}": value for name, value in about.items()}
        if self._key is not None:
            signature = hmac.digest(
                self._key, f"{identity}.{stamp}.".encode() + body, hashlib.sha256
            )
            headers["webhook-signature"] = f"v1,{base64.b64encode(signature).decode()}"
        status, _ = request("POST", self._url, body=body, headers=headers, timeout=self._timeout)
        if status in _REFUSED:
            raise ValueError(f"the server answered {status}")
        if not 200 <= status < 300:
            raise ConnectionError(f"the server answered {status}")


def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    timeout: float,
    body: bytes | None = None,
    most: int = 0,
) -> tuple[int, bytes]:
    """The status and the body of a response; redirects are not followed.

    Args:
        url: without credentials, see :func:`address`.
        timeout: seconds in all, however slowly the server responds.
        most: bytes of the body; 0: it is not read.

    Raises:
        OSError: no connection, no response in time, or one that is not HTTP.
        ValueError: the body is longer than ``most``.
    """
    aiohttp = load_aiohttp("http")
    # Not aiohttp's own trust_env: it would also send passwords of ~/.netrc.
    proxy = None if proxy_bypass(urlsplit(url).netloc) else getproxies().get(url.partition(":")[0])
    options = {"headers": {"Accept-Encoding": "identity", **headers}, "data": body, "proxy": proxy}

    async def exchange() -> tuple[int, bytes]:
        received = bytearray()
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=timeout), auto_decompress=False
            ) as session,
            session.request(method, url, allow_redirects=False, **options) as response,
        ):
            while most and (chunk := await response.content.readany()):
                received += chunk
                if len(received) > most:
                    raise ValueError(f"a response of more than {most} bytes")
            return int(response.status), bytes(received)

    try:
        # asyncio.run would wait for the thread that looks up the host.
        return within(timeout + 1, lambda: asyncio.run(exchange()))
    except asyncio.TimeoutError:
        raise TimeoutError("timed out") from None
    except (
        aiohttp.ClientConnectorError
    ):  # an OSError, whose message has no more of the URL than the host
        raise
    except aiohttp.ClientError as error:
        raise ConnectionError(
            f"the server's response is not HTTP: {type(error).__name__}"
        ) from None


def load_aiohttp(argument: str) -> Any:
    """Import aiohttp, which takes time that programs without HTTP need not spend. Raises MissingPartError."""
    with errors.needed(argument, "the package aiohttp", "cameras"):
        import aiohttp
    return aiohttp


def address(url: str, argument: str) -> tuple[str, str, dict[str, str]]:
    """The host, the URL without credentials, and the header with these. Raises OptionError if it is invalid."""
    try:
        split = urlsplit(url)
        host = split.hostname
        port = split.port
        (host or "").encode("idna")  # as the system looks it up; UnicodeError is a ValueError
    except ValueError:
        split = urlsplit("")
        host = None
        port = None
    plain = (split.path + split.query).isascii() and url.isprintable() and " " not in url
    if split.scheme not in ("http", "https") or not host or not plain:
        raise errors.OptionError(
            argument,
            "http://HOST/... or https://HOST/...",
            "another form",
            "Percent-encode spaces and characters outside ASCII, such as %20 for a space.",
        )
    headers = {}
    if split.username is not None:
        pair = f"{unquote(split.username)}:{unquote(split.password or '')}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        split = split._replace(netloc=split.netloc.rpartition("@")[2])
    return f"{host}:{port}" if port else host, urlunsplit(split), headers


def _checked(headers: Mapping[str, str]) -> Mapping[str, str]:
    """The headers, if they are valid; http.client would fail for each event, with the secret in its message."""
    for name, value in headers.items():
        good_name = re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name)
        if not good_name or not re.fullmatch(r"[\t\x20-\x7e\xa0-\xff]*", value):
            raise errors.OptionError(
                f"webhook header {name}" if good_name else "webhook header",
                expected="printable Latin-1 characters" if good_name else "the name of a header",
                got="another character",  # never the value, which may be a secret
                hint="Remove line breaks, also at its end.",
            )
    return headers


def _key(secret: str) -> bytes:
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        raise errors.OptionError(
            "webhook secret",
            "base64 after whsec_",
            "invalid base64",
            "Copy the whole secret again.",
        ) from None
