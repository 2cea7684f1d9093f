"""Signing keys, and a bundle that is signed with one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.pvlr_sdk.labels import tiny_open


@pytest.fixture
def today(monkeypatch: pytest.MonkeyPatch) -> date:
    """The date of the test, a leap day, whatever the clock of the machine says."""
    day = date(2028, 2, 29)
    monkeypatch.setattr("pvlr_sdk.trust.verify.utc_today", lambda: day)
    return day


class Keys:
    """Signing keys in a folder: private ones at its top, trusted public ones in ``trusted``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trusted = folder / "trusted"
        self.trusted.mkdir(parents=True)

    def make(
        self,
        name: str,
        kind: str = "p256",
        *,
        trusted: bool = True,
        passphrase: bytes | None = None,
    ) -> Path:
        """Write a key; returns the path of the private one."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

        makers = {
            "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
            "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
            "ed25519": ed25519.Ed25519PrivateKey.generate,
            "rsa": lambda: rsa.generate_private_key(65537, 2048),
        }
        key = makers[kind]()
        pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        locked = (
            serialization.BestAvailableEncryption(passphrase)
            if passphrase
            else serialization.NoEncryption()
        )
        path = self.folder / f"{name}.pem"
        path.write_bytes(key.private_bytes(pem, pkcs8, locked))
        if trusted:
            public = key.public_key().public_bytes(
                pem, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            (self.trusted / path.name).write_bytes(public)
        return path


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """A folder for keys."""
    return Keys(tmp_path / "keys")


@pytest.fixture
def sign() -> Callable[..., Path]:
    """Signs a bundle with a key that has no passphrase."""
    pytest.importorskip("cryptography")
    from pvlr_sdk.bundle.sign import sign

    return partial(sign, passphrase=lambda: pytest.fail("asked for a passphrase"))


@pytest.fixture
def signed(
    own_plan: Path, keys: Keys, sign: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The tiny plan, signed in version 2 by the key ``me``, the only one that is trusted; the state is its own."""
    monkeypatch.setenv("PVLR_STATE", str(keys.folder / "versions.json"))
    monkeypatch.delenv("PVLR_TRUST", raising=False)
    sign(own_plan, keys.make("me"), version=2)
    return own_plan


@pytest.fixture
def case(signed: Path, keys: Keys, sign: Callable[..., Path]) -> Any:
    """A signed bundle for a change of ``cases.py``."""
    from .cases import Case

    return Case(signed, keys, sign)


@pytest.fixture
def trusted(signed: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The keys, which ``PVLR_TRUST`` names."""
    monkeypatch.setenv("PVLR_TRUST", str(keys.trusted))
    return keys.trusted


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state folder of a service, with a label bank that it wrote."""
    folder = tmp_path / "state"
    folder.mkdir(0o700)
    monkeypatch.setenv("STATE_DIRECTORY", str(folder))
    tiny_open.make_bank().save(folder / "bank.safetensors")
    (folder / "bank.safetensors").chmod(0o600)
    return folder
