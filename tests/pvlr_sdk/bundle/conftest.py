"""A catalogue with one small model, an empty cache, the script that writes the real catalogue, and signing keys."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from pvlr_sdk.bundle import catalogue as module
from pvlr_sdk.bundle.catalogue import Catalogue, FileSpec, Model, catalogue

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def update() -> ModuleType:
    """``models/update.py``."""
    spec = importlib.util.spec_from_file_location("update", ROOT / "models" / "update.py")
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, no package and no checkout with models, an empty working directory."""
    package = tmp_path / "lib" / "pvlr_sdk"
    package.mkdir(parents=True)
    work = tmp_path / "work"
    work.mkdir()
    catalogue()  # read before the package is out of sight
    monkeypatch.setattr(module, "PACKAGE", package)
    monkeypatch.setenv("PVLR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("PVLR_MODELS_URL", raising=False)
    monkeypatch.delenv("PVLR_DOWNLOAD", raising=False)
    monkeypatch.chdir(work)
    return tmp_path / "cache"


@pytest.fixture
def bodies() -> dict[str, bytes]:
    """The files of the model ``cats``."""
    return {".labels.safetensors": b"bank" * 100, ".plan": b"plan" * 50_000, ".json": b"{}"}


@pytest.fixture
def small(cache: Path, bodies: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Model:
    """A catalogue with one small model, ``cats``."""
    files = {end: FileSpec(bytes=len(data), sha256=hashlib.sha256(data).hexdigest()) for end, data in bodies.items()}
    model = Model(
        name="cats", labels=1, label_set="own", input=(8, 8), accuracy=(), trained_on="cats", licence="MIT", files=files
    )
    monkeypatch.setattr(module, "catalogue", lambda: Catalogue(url=None, models=(model,)))
    return model


class Keys:
    """Signing keys in a folder: private ones at its top, trusted public ones in ``trusted``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trusted = folder / "trusted"
        self.trusted.mkdir(parents=True)

    def make(self, name: str, kind: str = "p256", *, trusted: bool = True, passphrase: bytes | None = None) -> Path:
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
        locked = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        path = self.folder / f"{name}.pem"
        path.write_bytes(key.private_bytes(pem, pkcs8, locked))
        if trusted:
            public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
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
def signed(own_plan: Path, keys: Keys, sign: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny plan, signed in version 2 by the key ``me``, the only one that is trusted; the state is its own."""
    monkeypatch.setenv("PVLR_STATE", str(keys.folder / "versions.json"))
    monkeypatch.delenv("PVLR_TRUST", raising=False)
    sign(own_plan, keys.make("me"), version=2)
    return own_plan
