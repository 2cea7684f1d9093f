"""A fuzz target for signature files: python tests/pvlr_sdk/trust/fuzz_signature.py -max_total_time=600

Any bytes are either parsed or rejected with a SignatureInvalidError. What was parsed is written the same again, and no
statement names a file outside of the bundle's folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import PurePosixPath

import atheris
from pydantic import ValidationError

with atheris.instrument_imports(include=["pvlr_sdk.trust.signature"]):
    from pvlr_sdk import errors
    from pvlr_sdk.trust import signature
    from pvlr_sdk.trust.signature import Envelope, SignedFile, Statement

_STATEMENT = Statement("m", {"engine.plan": SignedFile("0" * 64, 1), "engine.json": SignedFile("f" * 64)}, 3).to_json()
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
    start = int.from_bytes(text[:2], "little") % len(whole)
    return whole[:start] + text[3:] + whole[start + sum(text[2:3]) :]


def _envelope(data: bytes) -> None:
    envelope = Envelope.from_bytes(data, "fuzz")
    assert Envelope.from_bytes(envelope.to_bytes(), "fuzz") == envelope
    assert json.loads(data)["verificationMaterial"]["publicKey"]["hint"] == envelope.key


def _statement(data: bytes) -> None:
    statement = Statement.from_json(data, "fuzz")
    for name in statement.files:
        path = PurePosixPath(name)
        assert not path.is_absolute()
        assert ".." not in path.parts
    with contextlib.suppress(UnicodeEncodeError):
        assert Statement.from_json(statement.to_json(), "fuzz") == statement


def _without_location(model: type, data: bytes, source: str) -> object:
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        raise errors.SignatureInvalidError(source, expected="x", got=error.errors()[0]["loc"][0], hint="x") from None


if "PVLR_PLANTED_BUG" in os.environ:  # an error of the whole document, which has no location, ends in an IndexError
    signature._parse = _without_location

if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
