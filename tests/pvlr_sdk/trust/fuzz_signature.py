"""A fuzz target for signature files: python tests/pvlr_sdk/trust/fuzz_signature.py -max_total_time=600

Any bytes are either parsed or rejected with a SignatureInvalidError. A signature file has one form: what was parsed is
written as the same bytes. No statement names a file outside of the bundle's folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import PurePosixPath
from types import SimpleNamespace

import atheris

with atheris.instrument_imports(include=["pvlr_sdk.trust.signature"]):
    from pvlr_sdk import errors
    from pvlr_sdk.trust import signature
    from pvlr_sdk.trust.signature import Envelope, SignedFile, Statement

_STATEMENT = Statement(
    "m", {"engine.plan": SignedFile("0" * 64, 1), "engine.json": SignedFile("f" * 64)}, 3
).to_json()
_SIGNATURE = Envelope(_STATEMENT, b"\x30" * 70, "a" * 64).to_bytes()


def check(data: bytes) -> None:
    """One input."""
    provider = atheris.FuzzedDataProvider(data)
    what = provider.ConsumeIntInRange(0, 3)
    text = provider.ConsumeBytes(sys.maxsize)
    with contextlib.suppress(errors.SignatureInvalidError):
        if what == 0:
            _envelope(text)
        elif what == 1:
            _statement(text)
        elif what == 2:
            _envelope(_spliced(_SIGNATURE, text))
        else:
            _statement(_spliced(_STATEMENT, text))


def _spliced(whole: bytes, text: bytes) -> bytes:
    """A valid file with a part replaced: two bytes say where, one how many are dropped, the others are inserted."""
    start = int.from_bytes(text[:2], "little") % (len(whole) + 1)
    return whole[:start] + text[3:] + whole[start + sum(text[2:3]) :]


def _envelope(data: bytes) -> None:
    envelope = Envelope.from_bytes(data, "fuzz")
    assert envelope.to_bytes() == data
    assert json.loads(data)["verificationMaterial"]["publicKey"]["hint"] == envelope.key


def _statement(data: bytes) -> None:
    statement = Statement.from_json(data, "fuzz")
    for name in statement.files:
        path = PurePosixPath(name)
        assert not path.is_absolute()
        assert ".." not in path.parts
    with contextlib.suppress(UnicodeEncodeError):
        assert Statement.from_json(statement.to_json(), "fuzz") == statement


if "PVLR_PLANTED_BUG" in os.environ:  # JSON of any type is taken for a statement
    signature._Statement = SimpleNamespace(model_validate=lambda raw: raw)

if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
