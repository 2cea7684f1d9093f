"""The file format of signatures: OpenSSF Model Signing v1.0, as the package ``model-signing`` reads and writes it.

A signature file is a Sigstore bundle in JSON. It holds a DSSE envelope, whose payload is an in-toto statement: the name
of the signed bundle and the SHA-256 of each file. The SDK's own fields are ``pvlr`` in the statement's predicate, which
other verifiers ignore. ``docs/signing.md`` has the rules for all readers.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from .. import errors
from .._util.plain_json import Limits, read_json
from .._util.validation import first_problem

MAX_BYTES = 1 << 20
"""The size of the largest signature file that is read."""
# As libpvlr reads it: two programs must not disagree on what is signed.
_LIMITS = Limits(MAX_BYTES, values=MAX_BYTES, depth=32)
_ENVELOPE = (
    '{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json",'
    '"verificationMaterial":{"publicKey":{"hint":"KEY"},"tlogEntries":[]},'
    '"dsseEnvelope":{"payload":"PAYLOAD","payloadType":"application/vnd.in-toto+json",'
    '"signatures":[{"sig":"SIGNATURE","keyid":""}]}}'
)
"""The bytes of a signature file: no other spelling is accepted, so no byte of it can change unnoticed."""
_PARTS = {"KEY": "([0-9a-f]{64})", "PAYLOAD": "([A-Za-z0-9+/=]+)", "SIGNATURE": "([A-Za-z0-9+/=]+)"}
_FORM = re.compile(
    re.sub("KEY|PAYLOAD|SIGNATURE", lambda name: _PARTS[name[0]], re.escape(_ENVELOPE)).encode()
)
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_PREDICATE_TYPE = "https://model_signing/signature/v1.0"
_Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True)
class SignedFile:
    """What a statement says about a file. ``bytes`` is None in signatures of other tools."""

    sha256: str
    bytes: int | None = None


@dataclass(frozen=True)
class Statement:
    """What is signed. ``files`` maps names relative to the bundle's folder; the other fields are the SDK's own."""

    name: str
    files: Mapping[str, SignedFile]
    version: int = 0
    """Rises with each release; 0: the signature has no version."""
    expires: date | None = None
    """The last day, in UTC, on which the signature is valid; None: no end."""

    def to_json(self, ignored: tuple[str, ...] = ()) -> bytes:
        """The in-toto statement; ``ignored`` names files next to the bundle that other verifiers must not mind."""
        files = sorted(self.files.items())
        root = hashlib.sha256(b"".join(bytes.fromhex(file.sha256) for _, file in files)).hexdigest()
        fields = {
            "version": self.version,
            "expires": self.expires.isoformat() if self.expires else None,
        }
        statement = {
            "_type": _STATEMENT_TYPE,
            "subject": [{"name": self.name, "digest": {"sha256": root}}],
            "predicateType": _PREDICATE_TYPE,
            "predicate": {
                "serialization": {
                    "method": "files",
                    "hash_type": "sha256",
                    "allow_symlinks": False,
                    "ignore_paths": list(ignored),
                },
                "resources": [
                    {
                        "name": name,
                        "algorithm": "sha256",
                        "digest": file.sha256,
                        "bytes": file.bytes,
                    }
                    for name, file in files
                ],
                "pvlr": fields,
            },
        }
        return json.dumps(statement, indent=1, ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, data: bytes, source: str) -> Statement:
        """Parse a statement whose signature has been verified.

        Raises:
            SignatureInvalidError: it is not a statement on a model, or uses a method other than SHA-256 of whole files.
        """
        try:
            raw = _Statement.model_validate(read_json(data.decode(), _LIMITS))
        except ValueError as error:  # pydantic's is one too
            got = first_problem(error) if isinstance(error, ValidationError) else str(error)
            raise _invalid(source, got) from None
        statement = raw.predicate.pvlr or _Own()
        files = {file.name: SignedFile(file.digest, file.bytes) for file in raw.predicate.resources}
        return cls(raw.subject[0].name, files, statement.version, statement.expires)


@dataclass(frozen=True)
class Envelope:
    """A signature file: the statement's bytes, their signature, and the SHA-256 of the public key's PEM file."""

    payload: bytes
    signature: bytes
    key: str

    def to_bytes(self) -> bytes:
        """The contents of the signature file."""
        payload, signature = (
            base64.b64encode(data).decode() for data in (self.payload, self.signature)
        )
        parts = {"KEY": self.key, "PAYLOAD": payload, "SIGNATURE": signature}
        return re.sub("|".join(parts), lambda name: parts[name[0]], _ENVELOPE).encode()

    @classmethod
    def from_bytes(cls, data: bytes, source: str) -> Envelope:
        """Parse the contents of a signature file; nothing in it has been verified yet.

        Raises:
            SignatureInvalidError: it is not a Sigstore bundle with the signature of one key, in its one form.
        """
        form = _FORM.fullmatch(data)
        if form is None:
            raise _invalid(source, "other bytes")
        key, payload, signature = (part.decode() for part in form.groups())
        try:
            return cls(_decode(payload), _decode(signature), key)
        except ValueError as error:
            raise _invalid(source, str(error)) from None


def parse_day(text: Any) -> date:
    """A date in the form 2027-12-31 alone. Raises ValueError."""
    if not isinstance(text, str) or not _DAY.fullmatch(text):
        raise ValueError("not a date of the form YYYY-MM-DD")
    return date.fromisoformat(text)


def signed_bytes(payload: bytes) -> bytes:
    """What the key signs: DSSE's pre-authentication encoding of a statement."""
    return f"DSSEv1 {len(_PAYLOAD_TYPE)} {_PAYLOAD_TYPE} {len(payload)} ".encode() + payload


class _Open(BaseModel):
    """Part of a statement: version 1.0 of the format lets signers add keys."""

    model_config = ConfigDict(strict=True)


def _inside(name: str) -> str:
    """Check that a name is relative to the bundle's folder and stays in it."""
    if "\0" in name or "\\" in name or not {"", ".", ".."}.isdisjoint(name.split("/")):
        raise ValueError("a file outside of the bundle's folder")
    return name


class _Resource(_Open):
    name: Annotated[str, AfterValidator(_inside)]
    algorithm: Literal["sha256"]
    digest: _Digest
    bytes: int | None = Field(default=None, ge=0)


def _distinct(resources: list[_Resource]) -> list[_Resource]:
    if len({resource.name for resource in resources}) < len(resources):
        raise ValueError("a file twice")
    return resources


class _Serialization(_Open):
    method: Literal["files"]
    hash_type: Literal["sha256"]


class _Own(_Open):
    version: int = Field(default=0, ge=0, lt=1 << 53)
    expires: Annotated[date, BeforeValidator(parse_day)] | None = None


class _Predicate(_Open):
    serialization: _Serialization
    resources: Annotated[list[_Resource], AfterValidator(_distinct)] = Field(min_length=1)
    pvlr: _Own | None = None


class _Subject(_Open):
    name: str = Field(min_length=1)


class _Statement(_Open):
    type: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: list[_Subject] = Field(min_length=1, max_length=1)
    predicate_type: Literal["https://model_signing/signature/v1.0"] = Field(alias="predicateType")
    predicate: _Predicate


def _decode(text: str) -> bytes:
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:  # the last character has bits that decoding drops
        raise binascii.Error("base64 that is not canonical")
    return data


def _invalid(source: str, got: str) -> errors.SignatureInvalidError:
    return errors.SignatureInvalidError(
        source,
        "a signature by a key, in the format of OpenSSF Model Signing v1.0",
        got,
        "Copy the signature again, or sign the bundle again with pvlr sign.",
    )
