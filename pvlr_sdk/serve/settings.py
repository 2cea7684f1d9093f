"""Where the server listens, who may come in, and how much they may send."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from .. import errors

_SHORTEST_TOKEN = 16


@dataclass(frozen=True)
class ServeSettings:
    """How to serve.

    Attributes:
        host: the address to bind. Any but a loopback one needs a token.
        port: 0 takes a free one.
        token: what each request must know; None: nothing.
        names: names by which browsers may call this machine, beside ``localhost``, its host name and any IP address.
        tls_cert, tls_key: PEM files; with them the server speaks https.
        max_bytes: of an uploaded picture.
        max_pixels: of an uploaded picture, once decoded.
        timeout: seconds for an upload to arrive, and again for it to be tagged.

    Raises:
        OptionError: an address without a token, a token that can be guessed, or half of a TLS pair.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    names: tuple[str, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    max_bytes: int = 16_000_000
    max_pixels: int = 40_000_000
    timeout: float = 10.0

    def __post_init__(self) -> None:
        if self.token is None and not is_loopback(self.host):
            raise errors.OptionError(
                f"host {self.host}",
                expected="a token, for an address that other machines can reach",
                got="none",
                hint="Set PVLR_TOKEN, for example to what `openssl rand -hex 16` prints, or bind 127.0.0.1.",
            )
        if self.token is not None and not (len(self.token) >= _SHORTEST_TOKEN and _is_plain(self.token)):
            raise errors.OptionError(
                "token",
                expected=f"at least {_SHORTEST_TOKEN} visible ASCII characters",
                got=f"{len(self.token)} characters",  # never the token itself
                hint="For example what `openssl rand -hex 16` prints.",
            )
        if (self.tls_cert is None) != (self.tls_key is None):
            raise errors.OptionError(
                "tls_cert and tls_key", expected="both or neither", got="one of them", hint="Name the other file too."
            )

    @property
    def scheme(self) -> str:
        """``http`` or ``https``."""
        return "https" if self.tls_cert else "http"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_plain(text: str) -> bool:
    return all("!" <= char <= "~" for char in text)
