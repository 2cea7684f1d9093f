"""The format of signature files: what is not understood, or could be written differently, is refused; and fuzzing."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk import errors
from pvlr_sdk.models.find import load_bundle
from pvlr_sdk.trust.signature import Envelope, Statement
from pvlr_sdk.trust.verify import signature_path

pytest.importorskip("cryptography")


def refused(plan: Path, keys: Any) -> None:
    with pytest.raises(errors.SignatureInvalidError):
        load_bundle(plan, trust=keys.trusted)


def _statement(**changes: Any) -> dict[str, Any]:
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "tiny", "digest": {"sha256": "0" * 64}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
            "resources": [{"name": "engine.plan", "algorithm": "sha256", "digest": "0" * 64}],
        },
    }
    for key, value in changes.items():
        target: Any = statement
        *parents, last = key.split("__")
        for parent in parents:
            target = target[int(parent) if parent.isdecimal() else parent]
        target[last] = value
    return statement


@pytest.mark.parametrize(
    "changes",
    [
        {"_type": "https://in-toto.io/Statement/v0.1"},
        {"predicateType": "https://model_signing/Digests/v0.1"},
        {"subject": []},
        {"subject__0__name": ""},
        {"predicate__serialization__method": "shards"},
        {"predicate__serialization__hash_type": "blake3"},
        {"predicate__resources": []},
        {"predicate__resources__0__algorithm": "blake2"},
        {"predicate__resources__0__digest": "0" * 63 + "G"},
        {"predicate__resources__0__digest": "0" * 64 + "\n"},
        {"predicate__resources__0__bytes": -1},
        {"predicate__resources__0__bytes": "12"},
        *(
            {"predicate__resources__0__name": name}
            for name in ("../engine.plan", "/etc/passwd", "a//b", "", "a\\b", "a\0")
        ),
        {"predicate__pvlr": {"version": -1}},
        {"predicate__pvlr": {"version": True}},
        {"predicate__pvlr": {"version": 1.5}},
        {"predicate__pvlr": {"version": 1 << 53}},
        {"predicate__pvlr": {"version": 1, "expires": "soon"}},
        {"predicate__pvlr": {"version": 1, "expires": 5}},
    ],
    ids=str,
)
def test_statements_that_are_not_understood(changes: dict[str, Any]) -> None:
    """Even from a trusted signer: what is not understood is not verified."""
    assert Statement.from_json(json.dumps(_statement()).encode(), "").version == 0
    with pytest.raises(errors.SignatureInvalidError):
        Statement.from_json(json.dumps(_statement(**changes)).encode(), "")


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"null", b"[" * 500_000, b'{"a":' * 200_000, b"\xff\xfe{\0}\0", b"9" * 5000, b'{"mediaType": NaN}'],
    ids=lambda data: repr(data[:10]),
)
def test_what_is_not_a_signature(signed: Path, keys: Any, data: bytes) -> None:
    signature_path(signed).write_bytes(data)
    refused(signed, keys)


@pytest.mark.parametrize(
    ("part", "other"),
    [
        ('"keyid":""', '"keyID":""'),
        ('"keyid":""', '"keyid":"a"'),
        ('"tlogEntries":[]', '"tlogEntries":[null]'),
        ("bundle.v0.3+json", "bundle.v0.2+json"),
        ("vnd.in-toto+json", "vnd.in-toto+text"),
        ('"hint":"', '"hint":"0'),
        ('"publicKey":{', '"certificate":{},"publicKey":{'),
        ('"signatures":[', '"signatures":[{"sig":"AAAA","keyid":""},'),
        ('","payloadType"', '\\n","payloadType"'),
    ],
)
def test_a_signature_file_has_one_form(signed: Path, keys: Any, part: str, other: str) -> None:
    """Nothing in it is ignored, so no byte of it can change unnoticed."""
    text = signature_path(signed).read_text()
    assert part in text
    signature_path(signed).write_text(text.replace(part, other))
    refused(signed, keys)


@pytest.mark.parametrize(("data", "other"), [(b"\0", "AB=="), (b"\0\0", "AAB=")])
def test_base64_has_one_form(data: bytes, other: str) -> None:
    """Decoding drops the last bits before the padding; other values of them are refused."""
    text = Envelope(b"{}", data, "0" * 64).to_bytes().decode()
    assert Envelope.from_bytes(text.encode(), "").signature == data == base64.b64decode(other)
    before, _, after = text.partition(base64.b64encode(data).decode())
    with pytest.raises(errors.SignatureInvalidError, match="canonical"):
        Envelope.from_bytes(f"{before}{other}{after}".encode(), "")
