"""The server's address, its access control and its limits for uploads."""

from __future__ import annotations

import ipaddress
import re
import ssl
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .... import errors
from ...._util.files import read_file
from ...._util.validation import expected
from ...site.config import ServeConfig
from .tokens import check_token, read_tokens

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_LARGEST = 1_000_000


class ServeSettings(ServeConfig):
    """The section ``serve`` of a site, checked, and limits of uploads.

    Attributes:
        max_bytes: maximum size of an uploaded image.
        max_pixels: maximum number of pixels of an uploaded image.
        timeout: seconds for an upload to arrive, and again for tagging it.

    Raises:
        OptionError: a value is invalid or unknown, the token is missing or too short, the token file or a name is
            invalid, or one of the TLS files is missing or cannot be used.
    """

    max_bytes: int = 16_000_000
    max_pixels: int = 40_000_000
    timeout: float = 10.0

    def __init__(self, **options: Any) -> None:
        try:
            super().__init__(**options)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            name = ".".join(map(str, problem["loc"]))
            raise errors.OptionError(
                name,
                expected(problem),
                "another value" if name == "token" else repr(options.get(name))[:100],
                "The attributes of ServeSettings are its options.",
            ) from None
        if self.token is None and self.token_file is None and not is_loopback(self.host):
            raise errors.OptionError(
                f"host {self.host}",
                "a token, for an address that other machines can reach",
                "none",
                "Set PVLR_TOKEN, for example to the output of `openssl rand -hex 16`, or bind 127.0.0.1.",
            )
        if self.token is not None:
            check_token(self.token)
        if self.token_file is not None:
            read_tokens(self.token_file)
        if invalid := [name for name in self.names if not _NAME.fullmatch(name)]:
            raise errors.OptionError(
                "names",
                "names such as cams.example",
                repr(invalid[0]),
                "Omit the scheme, the port and the path.",
            )
        if (self.tls_cert is None) != (self.tls_key is None):
            raise errors.OptionError(
                "tls_cert and tls_key", "both or neither", "one of them", "Set both options."
            )
        if self.tls_cert is not None and self.tls_key is not None:
            _check_tls(self.tls_cert, self.tls_key)

    @property
    def scheme(self) -> str:
        return "https" if self.tls_cert else "http"


def _check_tls(cert: Path, key: Path) -> None:
    # the server would ask for it in the terminal, which a service does not have
    def passphrase() -> str:
        raise errors.OptionError(
            "tls_key",
            "a key without a passphrase",
            f"{key}, encrypted",
            f"Write it without a passphrase, readable by the service alone: openssl pkey -in {key} -out server.key.",
        )

    wanted = "a certificate and its key, as PEM files"
    got = ""
    try:
        for path in (cert, key):
            got = f"{path}: "
            read_file(path, _LARGEST)
        got = f"{cert} and {key}: "
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, passphrase)
    except OSError as error:
        got += error.strerror or type(error).__name__
        raise errors.OptionError(
            "tls_cert and tls_key",
            wanted,
            got,
            "Check the paths, and whether the key belongs to the certificate.",
        ) from None


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to the address."""
    address = parse_address(host)
    return host == "localhost" if address is None else address.is_loopback


def parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An IP address; None: the text is another name."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
