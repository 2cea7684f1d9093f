"""Keys of signatures: foreign, expired, replaced and unusable ones."""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk import errors
from pvlr_sdk.models.find import load_bundle
from pvlr_sdk.trust.signature import Envelope
from pvlr_sdk.trust.verify import signature_path

pytest.importorskip("cryptography")


def refused(plan: Path, keys: Any, kind: type[errors.SignatureError]) -> str:
    """Opening the plan raises exactly this error, before its manifest is parsed; returns the message."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pvlr_sdk.bundle.bundle.parse_manifest", lambda *_: pytest.fail("parsed"))
        with pytest.raises(errors.SignatureError) as caught:
            load_bundle(plan, trust=keys.trusted)
    assert type(caught.value) is kind
    return str(caught.value)


def test_a_foreign_key(signed: Path, keys: Any, sign: Any) -> None:
    sign(signed, keys.make("mallory", trusted=False))
    assert "(me)" in refused(signed, keys, errors.UntrustedKeyError)


def test_a_foreign_signature_under_the_name_of_a_trusted_key(
    signed: Path, keys: Any, sign: Any
) -> None:
    path = signature_path(signed)
    name = Envelope.from_bytes(path.read_bytes(), "").key
    sign(signed, keys.make("mallory", trusted=False))
    forged = Envelope.from_bytes(path.read_bytes(), "")
    path.write_bytes(Envelope(forged.payload, forged.signature, name).to_bytes())
    refused(signed, keys, errors.SignatureInvalidError)


def test_rotation(signed: Path, keys: Any, sign: Any, tmp_path: Path) -> None:
    """Add the new key, sign again, remove the old key: what it signed is refused, also in a running process."""
    old = tmp_path / "old" / signed.name
    shutil.copytree(signed.parent, old.parent)
    sign(signed, keys.make("new", "ed25519"), version=3)
    assert [load_bundle(plan, trust=keys.trusted).signature.key for plan in (old, signed)] == [
        "me",
        "new",
    ]
    (keys.trusted / "me.pem").unlink()
    refused(old, keys, errors.UntrustedKeyError)
    assert load_bundle(signed, trust=keys.trusted).signature.key == "new"


def test_a_key_with_a_last_day(signed: Path, keys: Any, today: date) -> None:
    last = keys.trusted / "me.expires"
    last.write_text(f"{today}\n")
    assert load_bundle(signed, trust=keys.trusted).trusted
    last.write_text(f"{today - timedelta(1)}\n")
    assert "the key me" in refused(signed, keys, errors.SignatureExpiredError)
    last.write_text(f" \t{today}\r\n")
    assert load_bundle(signed, trust=keys.trusted).trusted
    others = ("2999-W01-1", "29990101", "2999-1-1", "2999-12-31\xa0", "2999-12-31\f")
    for wrong in ("soon", "2027-02-30", "", "\xff", *others):
        last.write_text(wrong)
        with pytest.raises(errors.OptionError, match=r"me\.expires"):
            load_bundle(signed, trust=keys.trusted)


@pytest.mark.parametrize("expired", ["aa", "me", "zz"])
def test_one_key_under_several_names(signed: Path, keys: Any, today: date, expired: str) -> None:
    """The earliest last day counts, whatever the order of the names."""
    for name in ("aa", "zz"):
        shutil.copy(keys.trusted / "me.pem", keys.trusted / f"{name}.pem")
    assert load_bundle(signed, trust=keys.trusted).signature.key == "aa"
    (keys.trusted / "me.expires").write_text(f"{today + timedelta(1)}")
    assert load_bundle(signed, trust=keys.trusted).signature.key == "me"
    (keys.trusted / f"{expired}.expires").write_text(f"{today - timedelta(1)}")
    assert f"the key {expired} to be valid" in refused(signed, keys, errors.SignatureExpiredError)


def test_a_signature_with_a_last_day(signed: Path, keys: Any, sign: Any, today: date) -> None:
    sign(signed, keys.folder / "me.pem", version=2, expires=today)
    assert load_bundle(signed, trust=keys.trusted).signature.expires == today
    sign(signed, keys.folder / "me.pem", version=2, expires=today - timedelta(1))
    refused(signed, keys, errors.SignatureExpiredError)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (None, "No such file"),
        ({}, "got none"),
        ({"readme.txt": b"x"}, "got none"),
        ({"a.pem": b""}, r"a\.pem"),
        ({"a.pem": b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"}, r"a\.pem"),
    ],
)
def test_unusable_keys(
    signed: Path, tmp_path: Path, contents: dict[str, bytes] | None, message: str
) -> None:
    folder = tmp_path / "unusable"
    if contents is not None:
        folder.mkdir()
        for name, data in contents.items():
            (folder / name).write_bytes(data)
    with pytest.raises(errors.OptionError, match=message):
        load_bundle(signed, trust=folder)


@pytest.mark.parametrize("kind", ["p384", "rsa"])
def test_other_kinds_of_keys(signed: Path, keys: Any, sign: Any, kind: str) -> None:
    private = keys.make("other", kind)
    with pytest.raises(errors.OptionError, match=r"ECDSA P-256 key in .*other\.pem"):
        load_bundle(signed, trust=keys.trusted)
    with pytest.raises(errors.OptionError, match=r"ECDSA P-256 key in .*other\.pem"):
        sign(signed, private)


def test_a_private_key_among_the_trusted(signed: Path, keys: Any) -> None:
    shutil.copy(keys.folder / "me.pem", keys.trusted / "oops.pem")
    with pytest.raises(errors.OptionError, match=r"oops\.pem, got a private key"):
        load_bundle(signed, trust=keys.trusted)


def test_a_public_key_to_sign_with(signed: Path, keys: Any, sign: Any) -> None:
    with pytest.raises(
        errors.OptionError, match=r"me\.pem, got a public key\. Name the private key"
    ):
        sign(signed, keys.trusted / "me.pem")


def test_a_passphrase(signed: Path, keys: Any, sign: Any) -> None:
    path = keys.make("locked", passphrase=b"secret")
    sign(signed, path, passphrase=lambda: "secret", version=3)
    assert load_bundle(signed, trust=keys.trusted).signature.key == "locked"
    with pytest.raises(errors.OptionError, match=r"locked\.pem") as caught:
        sign(signed, path, passphrase=lambda: "wrong")
    assert "wrong" not in str(caught.value)


def test_keys_where_the_file_system_looks_at_nothing(signed: Path, tmp_path: Path) -> None:
    """A name that is too long, as a folder that this user may not enter, is an error of the option."""
    with pytest.raises(errors.OptionError, match=r"trust: .*File name too long"):
        load_bundle(signed, trust=tmp_path / ("x" * 300))
