"""Events to a web server."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from .. import __version__, errors
from ..events import Event

_REFUSED = frozenset({400, 413, 415, 422})
"""The server has read this notice and doesn't want it; any other failure may pass."""


class WebhookSink:
    """Sends each notice as a POST with a JSON body and the headers of Standard Webhooks (standardwebhooks.com).

    ``webhook-id`` is the same in every try and differs between the two notices of an event. With a secret,
    ``webhook-signature`` is ``v1,`` and the base64 of HMAC-SHA256(secret, ID.TIMESTAMP.BODY).

    Args:
        url: ``https://[USER:PASSWORD@]HOST/...`` or ``http://...``; redirects are not followed.
        secret: a text, or ``whsec_`` and the base64 of any bytes.
        headers: more headers, such as ``Authorization``.
        timeout: seconds for one try.

    Raises:
        OptionError: the URL, the secret or a header can't be.
    """

    def __init__(
        self, url: str, *, secret: str | None = None, headers: Mapping[str, str] | None = None, timeout: float = 10.0
    ) -> None:
        host, self._url, credentials = _address(url)
        self.name = f"webhook {host}"
        self._key = None if secret is None else _key(secret)
        self._headers = {"Content-Type": "application/json", "User-Agent": f"pvlr_sdk/{__version__}", **credentials}
        self._headers.update(_checked(headers or {}))
        self._timeout = timeout
        self._opener = urllib.request.build_opener(_NoRedirect)

    def write(self, item: Event) -> None:
        """Deliver one notice.

        Raises:
            OSError: no answer in time, or one that says to try again.
            ValueError: the server refuses this notice.
        """
        body = item.to_json().encode()
        identity, stamp = f"{item.id}_{item.state}", str(int(time.time()))
        headers = {**self._headers, "webhook-id": identity, "webhook-timestamp": stamp}
        if self._key is not None:
            signature = hmac.digest(self._key, f"{identity}.{stamp}.".encode() + body, hashlib.sha256)
            headers["webhook-signature"] = f"v1,{base64.b64encode(signature).decode()}"
        request = urllib.request.Request(self._url, body, headers, method="POST")
        try:
            self._opener.open(request, timeout=self._timeout).close()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in _REFUSED:
                raise ValueError(f"the server answered {error.code}") from None
            raise ConnectionError(f"the server answered {error.code}") from None
        except http.client.HTTPException as error:
            raise ConnectionError(f"the server answered no HTTP: {type(error).__name__}") from None

    def close(self) -> None:
        """Nothing to do."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: urllib would follow it with a GET, without the notice."""

    def redirect_request(self, *arguments: Any) -> None:
        return None


def _address(url: str) -> tuple[str, str, dict[str, str]]:
    """The host, the URL without credentials, and the header that carries these."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    plain = (parts.path + parts.query).isascii() and url.isprintable() and " " not in url
    if parts.scheme not in ("http", "https") or not host or not plain:
        raise errors.OptionError(
            "webhook url",
            expected="http://HOST/... or https://HOST/...",
            got="something else",
            hint="Write a space and what is not ASCII in its path as %20 and the like.",
        )
    headers = {}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return f"{host}:{port}" if port else host, urlunsplit(parts), headers


def _checked(headers: Mapping[str, str]) -> Mapping[str, str]:
    """The headers, if HTTP can carry them. Else http.client would refuse each notice, and name the secret in them."""
    for name, value in headers.items():
        good_name = re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name)
        if not good_name or not re.fullmatch(r"[\t\x20-\x7e\xa0-\xff]*", value):
            raise errors.OptionError(
                f"webhook header {name}" if good_name else "webhook header",
                expected="visible Latin letters and signs" if good_name else "the name of a header",
                got="another character",  # never the value, which may be a secret
                hint="Is there a line break at its end?",
            )
    return headers


def _key(secret: str) -> bytes:
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        raise errors.OptionError(
            "webhook secret", expected="base64 after whsec_", got="something else", hint="Copy it again."
        ) from None
