"""The server's address, its access control and its limits for uploads."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from .. import errors
from .tokens import check_token, read_tokens


@dataclass(frozen=True)
class ServeSettings:
    """Settings of the server.

    Attributes:
        host: the address to bind. Any other than a loopback address requires a token.
        port: 0 selects a free one.
        token: the token that each request must contain; None: no token.
        token_file: a file with tokens by name, instead of ``token``; it is read again when it changes, see
            :class:`pvlr_sdk.serve.tokens.Tokens`.
        names: names of this machine that browsers may use, besides ``localhost``, its host name and IP addresses.
        tls_cert, tls_key: PEM files that enable https.
        probe_port: the port of a second listener that has ``/healthz`` and ``/readyz`` alone, without TLS; 0 selects a
            free one, None: no such listener.
        max_connections: maximum number of open connections.
        max_connections_per_address: maximum number of those that come from one address.
        audit_log: a file that records sign-ins and changes as JSON lines; None: they are only logged.
        max_bytes: maximum size of an uploaded image.
        max_pixels: maximum number of pixels of an uploaded image.
        timeout: seconds for an upload to arrive, and again for tagging it.
        site_file: the configuration that keeps thresholds and labels set on the page; None: they hold until the end.

    Raises:
        OptionError: the token is missing or too short, the token file is invalid, or one of the TLS files is missing.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    names: tuple[str, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    probe_port: int | None = None
    max_connections: int = 256
    max_connections_per_address: int = 128
    audit_log: Path | None = None
    max_bytes: int = 16_000_000
    max_pixels: int = 40_000_000
    timeout: float = 10.0
    site_file: Path | None = None

    def __post_init__(self) -> None:
        if self.token is None and self.token_file is None and not is_loopback(self.host):
            raise errors.OptionError(
                f"host {self.host}",
                expected="a token, for an address that other machines can reach",
                got="none",
                hint="Set PVLR_TOKEN, for example to the output of `openssl rand -hex 16`, or bind 127.0.0.1.",
            )
        if self.token is not None:
            check_token(self.token)
        if self.token_file is not None:
            read_tokens(self.token_file)
        if (self.tls_cert is None) != (self.tls_key is None):
            raise errors.OptionError(
                "tls_cert and tls_key", expected="both or neither", got="one of them", hint="Set the other one too."
            )

    @property
    def scheme(self) -> str:
        """``http`` or ``https``."""
        return "https" if self.tls_cert else "http"


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
