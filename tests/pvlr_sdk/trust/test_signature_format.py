"""The format of signature files: it has one form, and what is not understood is refused."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk import errors
from pvlr_sdk.models.find import load_bundle
from pvlr_sdk.trust import Trust
from pvlr_sdk.trust.signature import Envelope
from pvlr_sdk.trust.verify import signature_path

pytest.importorskip("cryptography")
from .cases import CASES, Case, python_code


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_what_is_accepted_and_refused(
    name: str, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by libpvlr, whose tests have the same cases: what is not understood, or could be written differently."""
    change, expected = CASES[name]
    change(case)
    monkeypatch.setenv("PVLR_TRUST", str(case.trust))
    assert python_code(case.plan) == expected


@pytest.mark.parametrize("kind", ["p256", "ed25519"])
def test_a_signature_has_one_value(own_plan: Path, keys: Any, sign: Any, kind: str) -> None:
    """(r, n - s) signs the same data as (r, s), and DER has longer forms of both; s + order for Ed25519."""
    from cryptography.hazmat.primitives.asymmetric.utils import (
        decode_dss_signature,
        encode_dss_signature,
    )

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
            others = [
                envelope.signature[:32] + s.to_bytes(32, "little"),
                envelope.signature + b"\0",
            ]
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
