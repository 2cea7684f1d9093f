"""Signatures, keys and state files that are changed, and what Python and libpvlr report of each change."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from pvlr_sdk import errors
from pvlr_sdk.bundle.bundle import labels_path, manifest_path
from pvlr_sdk.models.find import load_bundle

ROOT = Path(__file__).parents[3]
OK, KEYS, MISSING, INVALID, UNTRUSTED, EXPIRED, FILE, ROLLBACK = 0, 1, 10, 11, 12, 13, 14, 15
CODES = {
    errors.OptionError: KEYS, errors.NotSignedError: MISSING, errors.SignatureInvalidError: INVALID,
    errors.UntrustedKeyError: UNTRUSTED, errors.SignatureExpiredError: EXPIRED, errors.SignedFileChangedError: FILE,
    errors.SignedFileMissingError: FILE, errors.FileNotSignedError: FILE, errors.RollbackError: ROLLBACK,
}  # fmt: skip
"""The statuses of libpvlr."""
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
(FORM,) = re.findall(r"    (\{\"mediaType.*)\n", (ROOT / "docs/signing.md").read_text())


def python_code(plan: Path) -> int:
    """Of Python's error, as libpvlr's status."""
    try:
        load_bundle(plan)
    except (errors.SignatureError, errors.OptionError) as error:
        return CODES[type(error)]
    return OK


class Case:
    """A signed bundle that a case changes."""

    def __init__(self, plan: Path, keys: Any, sign: Any) -> None:
        self.plan, self.keys, self.sign = plan, keys, sign
        self.path, self.trust = plan.with_suffix(".sig"), keys.trusted
        self.state = Path(os.environ["PVLR_STATE"])

    @property
    def text(self) -> bytes:
        return self.path.read_bytes()

    @property
    def resources(self) -> list[dict[str, Any]]:
        return self.statement["predicate"]["resources"]

    @property
    def statement(self) -> dict[str, Any]:
        return json.loads(base64.b64decode(json.loads(self.text)["dsseEnvelope"]["payload"]))

    def replace(self, old: bytes, new: bytes) -> None:
        assert old in self.text
        self.path.write_bytes(self.text.replace(old, new, 1))

    def write(
        self, payload: bytes, change: Callable[[bytes], bytes] = lambda signature: signature
    ) -> None:
        """Sign any bytes; ``change`` makes another signature of the one with the lower s."""
        key = serialization.load_pem_private_key((self.keys.folder / "me.pem").read_bytes(), None)
        data = f"DSSEv1 28 application/vnd.in-toto+json {len(payload)} ".encode() + payload
        r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
        signature = change(utils.encode_dss_signature(r, min(s, ORDER - s)))
        public = hashlib.sha256((self.keys.trusted / "me.pem").read_bytes()).hexdigest()
        parts = {
            "KEY": public,
            "PAYLOAD": base64.b64encode(payload),
            "SIGNATURE": base64.b64encode(signature),
        }
        text = FORM
        for name, part in parts.items():
            text = text.replace(
                f'"{name}"', f'"{part if isinstance(part, str) else part.decode()}"'
            )
        self.path.write_bytes(text.encode())

    def change(self, *path: str | int, to: Any) -> None:
        """Sign the statement with another value."""
        statement = place = self.statement
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = to
        self.write(json.dumps(statement).encode())

    def link(self, path: Path) -> None:
        path.rename(path.with_name("elsewhere"))
        path.symlink_to("elsewhere")

    def add(self, name: str, data: bytes = b"data") -> Path:
        """Sign another file."""
        file = self.plan.parent / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(data)
        entry = {
            "name": name,
            "algorithm": "sha256",
            "digest": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
        }
        self.change("predicate", "resources", to=[*self.resources, entry])
        return file


def high_s(signature: bytes) -> bytes:
    r, s = utils.decode_dss_signature(signature)
    return utils.encode_dss_signature(r, ORDER - s)


def raw(text: str) -> Callable[[Case], None]:
    """A statement whose text has TEXT in its first place for a member."""
    return lambda case: case.write(f"{{{text}, {json.dumps(case.statement)[1:]}".encode())


def own(name: str, value: Any) -> Callable[[Case], None]:
    return lambda case: case.change("predicate", "pvlr", name, to=value)


def first(name: str, value: Any) -> Callable[[Case], None]:
    return lambda case: case.change("predicate", "resources", 0, name, to=value)


def expiry(text: str, name: str = "me") -> Callable[[Case], object]:
    return lambda case: (case.keys.trusted / f"{name}.expires").write_text(text)


def second_file(text: str | None) -> Callable[[Case], None]:
    def change(case: Case) -> None:
        shutil.copy(case.keys.trusted / "me.pem", case.keys.trusted / "aa.pem")
        expiry("2999-12-31")(case)
        if text:
            expiry(text, "aa")(case)

    return change


def renamed(case: Case) -> None:
    for path in case.plan.parent.glob("engine.*"):
        path.rename(path.with_name(path.name.replace("engine", "other")))
    case.plan = case.plan.with_name("other.plan")


def state(text: str) -> Callable[[Case], object]:
    return lambda case: case.state.write_text(text)


def pem(data: bytes) -> Callable[[Case], object]:
    return lambda case: (case.keys.trusted / "other.pem").write_bytes(data)


def trust(name: str) -> Callable[[Case], None]:
    def change(case: Case) -> None:
        case.trust = case.keys.folder / name
        (case.keys.folder / "empty").mkdir()

    return change


def below(case: Case) -> None:
    case.add("below/file")
    case.link(case.plan.parent / "below")


def nested(levels: int) -> Callable[[Case], None]:
    return raw(f'"x": {"[" * levels}{"]" * levels}')


CASES: dict[str, tuple[Callable[[Case], Any], int]] = {
    "as it was signed": (lambda case: None, OK),
    "one key file": (trust("trusted/me.pem"), OK),
    "no signature": (lambda case: case.path.unlink(), MISSING),
    "empty signature": (lambda case: case.path.write_bytes(b""), INVALID),
    "garbage": (lambda case: case.path.write_bytes(b"garbage"), INVALID),
    "a space at the end": (lambda case: case.path.write_bytes(case.text + b" "), INVALID),
    "a line feed at the end": (lambda case: case.path.write_bytes(case.text + b"\n"), INVALID),
    "a zero at the end": (lambda case: case.path.write_bytes(case.text + b"\0"), INVALID),
    "a byte order mark": (lambda case: case.path.write_bytes(b"\xef\xbb\xbf" + case.text), INVALID),
    "a space before": (lambda case: case.path.write_bytes(b" " + case.text), INVALID),
    "another case of a key": (lambda case: case.replace(b'"keyid"', b'"keyID"'), INVALID),
    "a name of the key": (lambda case: case.replace(b'"keyid":""', b'"keyid":"a"'), INVALID),
    "a log entry": (lambda case: case.replace(b"[]", b"[null]"), INVALID),
    "another version of the format": (lambda case: case.replace(b"v0.3", b"v0.2"), INVALID),
    "another kind of payload": (lambda case: case.replace(b"toto+json", b"toto+text"), INVALID),
    "a certificate": (lambda case: case.replace(b'"publicKey"', b'"certificate":{},"publicKey"'), INVALID),
    "two signatures": (lambda case: case.replace(b'[{"sig"', b'[{"sig":"AAAA","keyid":""},{"sig"'), INVALID),
    "an escaped slash": (lambda case: case.replace(b"application/vnd.in", b"application\\/vnd.in"), INVALID),
    "a list a million deep": (lambda case: case.path.write_bytes(b"[" * 10**6), INVALID),
    "white space within": (lambda case: case.replace(b'":"', b'": "'), INVALID),
    "a key twice": (lambda case: case.replace(b'"keyid":""', b'"keyid":"","keyid":""'), INVALID),
    "an unknown key": (lambda case: case.replace(b'"keyid":""', b'"keyid":"","x":1'), INVALID),
    "a key less": (lambda case: case.replace(b',"keyid":""', b""), INVALID),
    "an escape": (lambda case: case.replace(b"mediaType", b"media\\u0054ype"), INVALID),
    "no padding": (lambda case: case.write(b"{} ") or case.replace(b"e30g", b"e30"), INVALID),
    "base64 with a line feed": (lambda case: case.replace(b'payload":"', b'payload":"\\n'), INVALID),
    "only padding": (lambda case: case.replace(b'"sig":"', b'"sig":"===='), INVALID),
    "high s": (lambda case: case.write(json.dumps(case.statement).encode(), high_s), INVALID),
    "a byte after the DER": (lambda case: case.write(b"{}", lambda s: s + b"\0"), INVALID),
    "a long length": (lambda case: case.write(b"{}", lambda s: s[:1] + b"\x81" + s[1:]), INVALID),
    "a short signature": (lambda case: case.write(b"{}", lambda s: s[:3]), INVALID),
    "another key": (lambda case: case.sign(case.plan, case.keys.make("you", trusted=False)), UNTRUSTED),
    "an upper-case key": (lambda case: case.replace(b'hint":"', b'hint":"A'), INVALID),
    "another statement": (lambda case: case.replace(b'payload":"e', b'payload":"f'), INVALID),
    "no JSON": (lambda case: case.write(b"no"), INVALID),
    "UTF-16": (lambda case: case.write(json.dumps(case.statement).encode("utf-16")), INVALID),
    "a statement after a byte order mark": (lambda case: case.write(b"\xef\xbb\xbf{}"), INVALID),
    "white space around": (lambda case: case.write(json.dumps(case.statement).encode() + b"\n"), OK),
    "a key of the statement twice": (raw('"_type": "https://in-toto.io/Statement/v1"'), INVALID),
    "a key twice deep below": (raw('"x": [{"a": 1, "a": 1}]'), INVALID),
    "a member more": (raw('"x": {"a": [1, 2.5, null]}'), OK),
    "NaN": (raw('"x": NaN'), INVALID),
    "too large a number": (raw('"x": 1e999'), INVALID),
    "a control character": (raw('"x": "\\u001b"'), INVALID),
    "a control character in a key": (raw('"\\u0085": 1'), INVALID),
    "a lone surrogate": (raw('"x": "\\ud800"'), INVALID),
    "deep": (nested(30), OK),
    "too deep": (nested(100), INVALID),
    "another type": (lambda case: case.change("_type", to="x"), INVALID),
    "another predicate": (lambda case: case.change("predicateType", to="x"), INVALID),
    "two subjects": (lambda case: case.change("subject", to=2 * case.statement["subject"]), INVALID),
    "an empty name": (lambda case: case.change("subject", 0, "name", to=""), INVALID),
    "another method": (lambda case: case.change("predicate", "serialization", "method", to="shards"), INVALID),
    "no files": (lambda case: case.change("predicate", "resources", to=[]), INVALID),
    "a file twice": (lambda case: case.change("predicate", "resources", to=2 * case.resources), INVALID),
    "the plan not signed": (lambda case: case.change("predicate", "resources", to=case.resources[:1]), FILE),
    "no subject": (lambda case: case.change("subject", to=[]), INVALID),
    "another kind of hash": (lambda case: case.change("predicate", "serialization", "hash_type", to="blake3"), INVALID),
    **{f"the file {name!r}": (first("name", name), INVALID) for name in ("a//b", "", "a\0")},
    **{f"the hash {text[60:]!r}": (first("digest", text), INVALID) for text in ("0" * 63 + "G", "0" * 64 + "\n")},
    **{f"the size {one!r}": (first("bytes", one), INVALID) for one in ("12", 2.0, -1)},
    **{
        f"the day {day!r}": (own("expires", day), INVALID)
        for day in ("soon", 5, True, "2999-001", "2999-1-1", "2999-01-01 ", "2999-01-01\n", "2999-01-01T00:00:00",
                    "+2999-01-01", "\u0662999-01-01", "2999-02-29", "0000-01-01", "2999-W01-1", "29990101",
                    " 999-01-01", "", 29990101)
    },
    "a statement and more": (lambda case: case.write(json.dumps(case.statement).encode() + b"{}"), INVALID),
    "a file above": (first("name", "../engine.json"), INVALID),
    "an absolute file": (first("name", "/engine.json"), INVALID),
    "a backslash": (first("name", "a\\b"), INVALID),
    "another spelling": (first("name", "./engine.json"), INVALID),
    "another hash function": (first("algorithm", "sha1"), INVALID),
    "an upper-case hash": (first("digest", "A" * 64), INVALID),
    "another hash": (first("digest", "0" * 64), FILE),
    "another size": (first("bytes", 1), FILE),
    "no size": (first("bytes", None), OK),
    "no fields of the SDK": (lambda case: case.change("predicate", "pvlr", to=None), OK),
    "no version": (lambda case: case.change("predicate", "pvlr", to={}), OK),
    **{f"version {one}": (own("version", one), INVALID) for one in (None, True, 1.5, 2.0, -1, 2**53, 2**64)},
    "version 2^53 - 1": (own("version", 2**53 - 1), OK),
    "the last day": (own("expires", "2999-12-31"), OK),
    "expired": (own("expires", "2020-02-29"), EXPIRED),
    "long expired": (own("expires", "0001-01-01"), EXPIRED),
    "a day of the key": (expiry(" 2999-12-31\r\n"), OK),
    "an expired key": (expiry("2020-01-01\n"), EXPIRED),
    "an empty day of the key": (expiry(""), KEYS),
    "a week of the key": (expiry("2999-W01-1"), KEYS),
    "a no-break space": (expiry("2999-12-31\u00a0"), KEYS),
    "a key in two files": (second_file(None), OK),
    "a key in two files, one expired": (second_file("2020-01-01"), EXPIRED),
    "no keys": (trust("empty"), KEYS),
    "no such keys": (trust("none"), KEYS),
    "a private key among the keys": (lambda case: shutil.copy(case.keys.folder / "me.pem", case.trust / "x.pem"), KEYS),
    "an RSA key among the keys": (lambda case: case.keys.make("x", "rsa"), KEYS),
    "a P-384 key among the keys": (lambda case: case.keys.make("x", "p384"), KEYS),
    "garbage among the keys": (pem(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"), KEYS),
    "an empty key": (pem(b""), KEYS),
    "another file among the keys": (lambda case: (case.keys.trusted / "README").write_text("x"), OK),
    "a changed plan": (lambda case: case.plan.write_bytes(case.plan.read_bytes()[:-1] + b"?"), FILE),
    "a longer plan": (lambda case: case.plan.write_bytes(case.plan.read_bytes() + b"x"), FILE),
    "a FIFO as the bank": (lambda case: (labels_path(case.plan).unlink(), os.mkfifo(labels_path(case.plan))), FILE),
    "no manifest": (lambda case: manifest_path(case.plan).unlink(), FILE),
    "other names": (renamed, FILE),
    "the plan is a link": (lambda case: case.link(case.plan), FILE),
    "the manifest is a link": (lambda case: case.link(manifest_path(case.plan)), FILE),
    "the signature is a link": (lambda case: case.link(case.path), INVALID),
    "a signed file behind a link": (below, FILE),
    "another signed file": (lambda case: case.add("below/file"), OK),
    "another signed file, changed": (lambda case: case.add("README").write_bytes(b"date"), FILE),
    "another signed file, removed": (lambda case: case.add("README").unlink(), FILE),
    "an unsigned knowledge file": (lambda case: (case.plan.parent / "engine.knowledge.safetensors").touch(), FILE),
    "an older version": (state('{"tiny": 3}'), ROLLBACK),
    "an older version by the manifest's name": (
        lambda case: (case.change("subject", 0, "name", to="folder"), state('{"tiny": 3}')(case)),
        ROLLBACK,
    ),
    "an older version by the subject's name": (
        lambda case: (case.change("subject", 0, "name", to="folder"), state('{"folder": 3}')(case)),
        ROLLBACK,
    ),
    "the same version": (state('{"tiny": 2}'), OK),
    "damaged state": (state("{"), KEYS),
    "other state": (state('{"tiny": "2"}'), KEYS),
    "empty state": (state(""), KEYS),
    "a FIFO as the state": (lambda case: os.mkfifo(case.state), KEYS),
    "a folder as the state": (lambda case: case.state.mkdir(), KEYS),
}  # fmt: skip
