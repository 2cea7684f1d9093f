"""Keys of signatures: Ed25519 and ECDSA P-256, in PEM files. The only module that uses the package ``cryptography``."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

from .. import errors
from .._util.files import read_file, system_errors
from .signature import parse_day

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import (
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
    )
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

    _Public: TypeAlias = EllipticCurvePublicKey | Ed25519PublicKey
    _Private: TypeAlias = EllipticCurvePrivateKey | Ed25519PrivateKey

_MAX_BYTES = 1 << 16
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256: (r, s) and (r, order - s) are signatures of the same data. Only the one with the lower s is accepted."""
_KINDS = "an Ed25519 or ECDSA P-256 key"
_MAKE = (
    "Make a key with openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem."
)


@dataclass(frozen=True)
class TrustedKey:
    """A public key: the name of its file without ``.pem``, and the last day in UTC on which it is valid."""

    name: str
    public: _Public
    expires: date | None

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether the signature of ``data`` was made by this key, and is in its one form."""
        from cryptography.exceptions import InvalidSignature

        try:
            self.public.verify(signature, data, *_scheme(self.public))
            return signature == _one_form(self.public, signature)
        except (InvalidSignature, ValueError):
            return False


class PrivateKey:
    """A private key from a PEM file.

    Args:
        path: the file.
        passphrase: called if the file is encrypted.

    Raises:
        OptionError: it is unreadable, of another kind, or the passphrase is wrong.
        MissingPartError: the package ``cryptography`` is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], passphrase: Callable[[], str]) -> None:
        self._key = _load_private(Path(path), passphrase)
        self.fingerprint = _fingerprint(self._key.public_key())

    def sign(self, data: bytes) -> bytes:
        """The signature of ``data``, in its one form."""
        return _one_form(self._key.public_key(), self._key.sign(data, *_scheme(self._key)))


def trusted_keys(path: Path) -> dict[str, TrustedKey]:
    """The public keys in a folder (``*.pem``), or that of one file, by their fingerprints. If several files have the
    same key, the one with the earliest last day counts.

    Raises:
        OptionError: there is none, or one is not valid. None is skipped: a key that seems trusted must be.
        MissingPartError: the package ``cryptography`` is not installed.
    """
    # pathlib raises where it may not look
    files = sorted(path.glob("*.pem")) if os.path.isdir(path) else [path]
    keys: dict[str, TrustedKey] = {}
    for file in files:
        key = TrustedKey(file.stem, _load_public(file), _expires(file.with_suffix(".expires")))
        same = keys.setdefault(_fingerprint(key.public), key)
        if (key.expires or date.max) < (same.expires or date.max):
            keys[_fingerprint(key.public)] = key
    if not keys:
        raise errors.OptionError(
            "trust",
            f"public keys, *.pem, in {path}",
            "none",
            "Put the public keys of those who may sign there.",
        )
    return keys


def _load_public(path: Path) -> _Public:
    data = _read(path, "trust", "a public key")
    load_pem_public_key = _serialization().load_pem_public_key
    try:
        return _supported(load_pem_public_key(data))
    except Exception as error:  # cryptography raises its own classes, ValueError and TypeError
        private = b"PRIVATE KEY" in data
        hint = "A private key belongs to the signer alone. " if private else ""
        raise errors.OptionError(
            "trust",
            f"the public part of {_KINDS} in {path}",
            "a private key" if private else _reason(error),
            f"{hint}Write the public part with openssl pkey -in key.pem -pubout.",
        ) from None


def _load_private(path: Path, passphrase: Callable[[], str]) -> _Private:
    data = _read(path, "--key", "a private key")
    load_pem_private_key = _serialization().load_pem_private_key
    try:
        try:
            key = load_pem_private_key(data, None)
        except TypeError:  # encrypted
            key = load_pem_private_key(data, passphrase().encode())
        _supported(key.public_key())
        return key
    except (OSError, errors.PvlrError):
        raise
    except Exception as error:  # cryptography raises its own classes, ValueError and TypeError
        public = b"PUBLIC KEY" in data
        got, hint = (
            ("a public key", "Name the private key of the signer.")
            if public
            else (_reason(error), _MAKE)
        )
        raise errors.OptionError("--key", f"{_KINDS} in {path}", got, hint) from None


def _supported(key: object) -> _Public:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    if isinstance(key, ec.EllipticCurvePublicKey):
        if isinstance(key.curve, ec.SECP256R1):
            return key
        raise ValueError(f"an ECDSA key on the curve {key.curve.name}")
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    raise ValueError(f"an {type(key).__name__}")


def _fingerprint(key: _Public) -> str:
    """The SHA-256 of the public key's PEM file, which OpenSSF Model Signing uses to name the key."""
    serialization = _serialization()
    pem = serialization.Encoding.PEM
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(pem, form)).hexdigest()


def _expires(path: Path) -> date | None:
    try:
        return parse_day(read_file(path, 100).decode().strip(" \t\r\n"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise errors.OptionError(
            "trust",
            f"a date such as 2027-12-31 in {path}",
            getattr(error, "strerror", None) or str(error),
            "Write the last day on which the key is valid.",
        ) from None


def _read(path: Path, argument: str, what: str) -> bytes:
    with system_errors(
        errors.OptionError, argument, expected=f"{what} in {path}", hint="Check the path."
    ):
        return read_file(path, _MAX_BYTES)


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _scheme(key: object) -> tuple[Any, ...]:
    """The arguments of a key's methods that follow the data: ECDSA needs its hash function."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256

    return (
        (ec.ECDSA(SHA256()),)
        if isinstance(key, (ec.EllipticCurvePublicKey, ec.EllipticCurvePrivateKey))
        else ()
    )


def _one_form(key: _Public, signature: bytes) -> bytes:
    """A valid signature as this SDK writes it: of ECDSA, the DER of r and the lower of two s. Ed25519 has one form."""
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    if not isinstance(key, ec.EllipticCurvePublicKey):
        return signature
    r, s = utils.decode_dss_signature(signature)
    return utils.encode_dss_signature(r, min(s, _ORDER - s))


def _serialization() -> ModuleType:
    try:
        from cryptography.hazmat.primitives import serialization
    except ImportError:
        raise errors.MissingPartError(
            "trust",
            "the package cryptography, which creates and verifies signatures",
            "an environment without it",
            errors.install_hint("sign"),
        ) from None
    return serialization
