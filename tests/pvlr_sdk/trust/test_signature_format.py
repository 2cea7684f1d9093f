"""The format of signature files: what is not understood, or could be written differently, is refused; and fuzzing."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk import errors
from pvlr_sdk.models.find import load_bundle
from pvlr_sdk.trust import Trust
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
        {"predicate__pvlr": {"version": 1, "expires": True}},
        *(
            {"predicate__pvlr": {"version": 1, "expires": day}}
            for day in (
                "2999-W01-1",
                "29990101",
                "2999-001",
                "2999-1-1",
                "2999-02-29",
                "0000-01-01",
                "2999-01-01 ",
                "2999-01-01\n",
                "2999-01-01T00:00:00",
                "+2999-01-01",
                "\u0662999-01-01",
                "",
            )
        ),
        {"predicate__resources": 2 * [{"name": "engine.plan", "algorithm": "sha256", "digest": "0" * 64}]},
    ],
    ids=str,
)
def test_statements_that_are_not_understood(changes: dict[str, Any]) -> None:
    """Even from a trusted signer: what is not understood is not verified."""
    assert Statement.from_json(json.dumps(_statement()).encode(), "").version == 0
    with pytest.raises(errors.SignatureInvalidError):
        Statement.from_json(json.dumps(_statement(**changes)).encode(), "")


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b'"sha256"}', b'"sha256", "hash_type": "sha256"}'),
        lambda data: data.replace(b'"_type":', b'"_type": "https://in-toto.io/Statement/v1", "_type":'),
        lambda data: data[:-1] + b', "more": {"a": 1, "a": 1}}',
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data + b"{}",
        lambda data: data.decode().encode("utf-16"),
        lambda data: data[:-1] + b', "more": NaN}',
        lambda data: data[:-1] + b', "more": "\\ud800"}',
    ],
)
def test_a_statement_is_read_in_one_way(change: Any) -> None:
    """By this package and by libpvlr: a key has one value, and the text is UTF-8."""
    data = json.dumps(_statement(predicate__pvlr={"version": 3, "expires": "2999-12-31"})).encode()
    data = data.replace(b'"allow_symlinks": false, ', b"").replace(b', "allow_symlinks": false', b"")
    read = Statement.from_json(data + b" \n", "")
    assert (read.version, str(read.expires)) == (3, "2999-12-31")
    assert change(data) != data
    with pytest.raises(errors.SignatureInvalidError):
        Statement.from_json(change(data), "")


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
        ("]}}", "]}} "),
        ("]}}", "]}}\n"),
        ('{"mediaType"', ' {"mediaType"'),
        ('"keyid":""', '"keyid": ""'),
        ('"keyid":""', '"keyid":"","keyid":""'),
        ('{"mediaType":', '{"mediaType":"x","mediaType":'),
        ('"publicKey"', '"public\\u004bey"'),
        (',"tlogEntries":[]', ""),
        ("application/vnd.in", "application\\/vnd.in"),
    ],
)
def test_a_signature_file_has_one_form(signed: Path, keys: Any, part: str, other: str) -> None:
    """Nothing in it is ignored, so no byte of it can change unnoticed."""
    text = signature_path(signed).read_text()
    assert part in text
    signature_path(signed).write_text(text.replace(part, other))
    refused(signed, keys)


@pytest.mark.parametrize("kind", ["p256", "ed25519"])
def test_a_signature_has_one_value(own_plan: Path, keys: Any, sign: Any, kind: str) -> None:
    """(r, n - s) signs the same data as (r, s), and DER has longer forms of both; s + order for Ed25519."""
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

    private, path = keys.make("me", kind), signature_path(own_plan)
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    for _ in range(8):
        sign(own_plan, private)
        trust = Trust(keys.trusted, state="")
        assert load_bundle(own_plan, trust=trust).trusted
        envelope = Envelope.from_bytes(path.read_bytes(), "")
        if kind == "p256":
            r, s = decode_dss_signature(envelope.signature)
            assert s <= order // 2
            der = envelope.signature
            others = [encode_dss_signature(r, order - s), encode_dss_signature(r, s + order), der + b"\0",
                      der[:1] + b"\x81" + der[1:], der[:1] + bytes([der[1] + 1]) + der[2:] + b"\0"]  # fmt: skip
        else:
            order_25519 = 2**252 + 27742317777372353535851937790883648493
            s = int.from_bytes(envelope.signature[32:], "little") + order_25519
            others = [envelope.signature[:32] + s.to_bytes(32, "little"), envelope.signature + b"\0"]
        for other in others:
            path.write_bytes(Envelope(envelope.payload, other, envelope.key).to_bytes())
            with pytest.raises(errors.SignatureInvalidError):
                load_bundle(own_plan, trust=trust)


@pytest.mark.parametrize(("data", "other"), [(b"\0", "AB=="), (b"\0\0", "AAB=")])
def test_base64_has_one_form(data: bytes, other: str) -> None:
    """Decoding drops the last bits before the padding; other values of them are refused."""
    text = Envelope(b"{}", data, "0" * 64).to_bytes().decode()
    assert Envelope.from_bytes(text.encode(), "").signature == data == base64.b64decode(other)
    before, _, after = text.partition(base64.b64encode(data).decode())
    with pytest.raises(errors.SignatureInvalidError, match="canonical"):
        Envelope.from_bytes(f"{before}{other}{after}".encode(), "")
