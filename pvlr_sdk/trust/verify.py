"""Who may sign bundles, and opening them: the signature and the bytes of all files are verified before parsing."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Literal, TypeAlias

from .. import errors
from .._util.files import read_file
from ..bundle import bundle
from ..bundle.bundle import Bundle, Contents, Signature, labels_path, manifest_path
from ..bundle.manifest import Manifest
from .keys import TrustedKey, trusted_keys
from .signature import MAX_BYTES, Envelope, SignedFile, Statement, signed_bytes
from .versions import Versions, default_path

MAX_FILE_BYTES = 2 << 30
"""Of a signed file whose size the signature does not state."""
_COPY_AGAIN = "Copy the bundle again from where it was signed."
Read: TypeAlias = Callable[[Path, int], bytes]
"""Returns the contents of a file of at most so many bytes; raises OSError."""


@dataclass(frozen=True)
class Trust:
    """What a bundle's signature must satisfy. The keys are read anew for each bundle.

    Args:
        keys: a folder of public keys (``*.pem``), or one such file: Ed25519 or ECDSA P-256. A key may have a last day
            on which it is valid, in UTC: the date in ``NAME.expires`` next to ``NAME.pem``.
        state: file of the newest version of each bundle that was used; empty: none, older bundles are accepted; None:
            ``$PVLR_STATE``, else a file in the user's state folder.
        allow_rollback: accept a bundle that is older than one of the same name that was in use.
    """

    keys: str | os.PathLike[str]
    state: str | os.PathLike[str] | None = None
    allow_rollback: bool = False

    def versions(self) -> Versions:
        """The state file. Raises OptionError if there is no place for it."""
        if self.state is None:
            return Versions(default_path(), self.allow_rollback)
        return Versions(Path(self.state) if self.state else None, self.allow_rollback)


TrustLike: TypeAlias = str | os.PathLike[str] | Trust | Literal[False] | None


def resolve(trust: TrustLike) -> Trust | None:
    """The trust in force: None is that of ``$PVLR_TRUST``, False is none; paths become absolute."""
    if trust is None:
        trust = os.environ.get("PVLR_TRUST") or False
    if trust is False:
        return None
    if not isinstance(trust, Trust):
        trust = Trust(trust)
    return Trust(os.path.abspath(trust.keys), trust.state and os.path.abspath(trust.state), trust.allow_rollback)


@dataclass(frozen=True)
class Verified:
    """A signature and the contents of the bundle's files that it vouches for, by their names."""

    signature: Signature
    files: dict[str, Contents]


def signature_path(plan_path: str | os.PathLike[str]) -> Path:
    """``dir/engine.plan`` -> ``dir/engine.sig``."""
    return Path(plan_path).with_suffix(".sig")


def open_bundle(plan: Path, *, trust: TrustLike = None) -> Bundle:
    """Verify and read a plan, its manifest and its label bank, each file once.

    Args:
        plan: the plan; ``<stem>.json`` and ``<stem>.labels.safetensors`` are in the same folder.
        trust: the keys that may sign the bundle: a folder of PEM files, one such file or a :class:`Trust`; None:
            the keys of ``PVLR_TRUST``, if it is set; False: none, whatever is set.

    Raises:
        SignatureError: the bundle is not signed as ``trust`` demands; each reason has its own class.
        BundleError: as :func:`pvlr_sdk.bundle.bundle.read_bundle`.
    """
    required = resolve(trust)
    if required is None:
        return bundle.read_bundle(plan)
    signed = _verified(plan, required)
    opened = bundle.read_bundle(plan, signed.files, signed.signature)
    # Other tools sign a folder's name, and without a version: no way around the version of this bundle.
    required.versions().check(opened.manifest.name, signed.signature.version, str(signature_path(plan)))
    return opened


def accept(opened: Bundle, trust: TrustLike = None) -> None:
    """Record the version of a signed bundle that works: from now on, older ones of its name are refused.

    Raises:
        OptionError, OutputError: the state file cannot be read or written.
    """
    required = resolve(trust)
    if required is not None and opened.signature is not None:
        required.versions().accept(opened.signature.name, opened.signature.version)


def read_manifest(plan: Path) -> Manifest:
    """Read and validate the manifest of a plan; the plan itself is opened only to verify a signature.

    Raises:
        SignatureError: the bundle is not signed as ``PVLR_TRUST`` demands.
        ManifestNotFoundError, ManifestError, ManifestVersionError: it is missing, invalid or too new.
    """
    required = resolve(None)
    return bundle.read_manifest(plan, {} if required is None else _verified(plan, required).files)


def _verified(plan: Path, trust: Trust) -> Verified:
    return verify(signature_path(plan), [manifest_path(plan), plan, labels_path(plan)], trust)


def verify_contents(contents: Mapping[Path, bytes], trust: Trust) -> Verified:
    """Verify a bundle that is not on disk yet: its files and their signature. Raises what :func:`verify` raises."""

    def read(path: Path, limit: int) -> bytes:
        data = contents.get(path)
        if data is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if len(data) > limit:
            raise OSError(errno.EFBIG, f"Larger than the limit of {limit} bytes")
        return data

    signature = signature_path(next(iter(contents)).with_name("engine.plan"))
    return verify(signature, [path for path in contents if path != signature], trust, read)


def verify(signature: Path, needed: Sequence[Path], trust: Trust, read: Read = read_file) -> Verified:
    """Verify a signature and every file that it names; each is read once, and nothing in them is parsed.

    Args:
        signature: the signature file.
        needed: the files of the bundle, which must be signed.
        trust: the keys, and the versions that were in use.
        read: reads a file.

    Raises:
        NotSignedError, SignatureInvalidError, UntrustedKeyError, SignatureExpiredError, RollbackError: the signature is
            missing or not acceptable.
        FileNotSignedError, SignedFileMissingError, SignedFileChangedError: a file is not one that was signed.
        OptionError: the keys or the state file are unusable.
        MissingPartError: the package ``cryptography`` is not installed.
    """
    source = str(signature)
    try:
        data = read(signature, MAX_BYTES)
    except FileNotFoundError:
        got = "one without a signature"
        hint = "Trusted keys are set, so a signature is required: get a signed bundle, or sign it with pvlr sign."
        raise errors.NotSignedError(source, expected="a signed bundle", got=got, hint=hint) from None
    except OSError as error:
        got = error.strerror or str(error)
        raise errors.SignatureInvalidError(source, expected="a signature", got=got, hint=_COPY_AGAIN) from None
    envelope = Envelope.from_bytes(data, source)
    key = _verified_by(envelope, source, trust)
    statement = Statement.from_json(envelope.payload, source)
    _check_date(source, f"the signature of {statement.name}", statement.expires)
    trust.versions().check(statement.name, statement.version, source)
    if unsigned := [path for path in needed if path.name not in statement.files]:
        expected = f"one of the signed files: {', '.join(statement.files)}"
        hint = f"It was added or renamed. {_COPY_AGAIN}"
        raise errors.FileNotSignedError(str(unsigned[0]), expected=expected, got="another file", hint=hint)
    wanted = {path.name for path in needed}
    files = {}
    for name, file in statement.files.items():
        contents = _read_signed(signature.parent / name, file, read)
        if name in wanted:
            files[name] = Contents(contents, file.sha256)
    signed = Signature(key.name, statement.name, statement.version, statement.expires)
    return Verified(signed, files)


def _read_signed(path: Path, file: SignedFile, read: Read) -> bytes:
    size = file.bytes
    try:
        data = read(path, MAX_FILE_BYTES if size is None else size)
        digest = hashlib.sha256(data).hexdigest()
        got = f"SHA-256 {digest[:16]}..., {len(data)} bytes"
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise errors.SignedFileMissingError(
                str(path), expected="a signed file", got=error.strerror or str(error), hint=_COPY_AGAIN
            ) from None
        digest, got = "", error.strerror or ""
    if digest != file.sha256:
        expected = f"SHA-256 {file.sha256[:16]}..." + ("" if size is None else f", {size} bytes")
        hint = f"It was changed after it was signed. {_COPY_AGAIN}"
        raise errors.SignedFileChangedError(str(path), expected=expected, got=got, hint=hint)
    return data


def _verified_by(envelope: Envelope, source: str, trust: Trust) -> TrustedKey:
    """The trusted key that made the signature."""
    keys = trusted_keys(Path(trust.keys))
    key = keys.get(envelope.key)
    if key is None:
        names = ", ".join(sorted(key.name for key in keys.values()))
        expected = f"a signature by a key in {os.fspath(trust.keys)} ({names})"
        got = f"one by the key {envelope.key[:16]}..."
        hint = "Get a bundle that is signed with a trusted key, or add the signer's public key if you trust it."
        raise errors.UntrustedKeyError(source, expected=expected, got=got, hint=hint)
    if not key.verifies(envelope.signature, signed_bytes(envelope.payload)):
        got, hint = "one that does not belong to the statement", f"It was changed or damaged. {_COPY_AGAIN}"
        raise errors.SignatureInvalidError(source, expected=f"the signature of the key {key.name}", got=got, hint=hint)
    _check_date(source, f"the key {key.name}", key.expires)
    return key


def utc_today() -> date:
    """Today's date in UTC, by which signatures and keys expire."""
    return datetime.now(timezone.utc).date()


def _check_date(source: str, what: str, expires: date | None) -> None:
    today = utc_today()
    if expires is not None and today > expires:
        got = f"its last day, {expires}"
        hint = "Sign the bundle again, with a valid key. If the date is wrong, set this machine's clock."
        raise errors.SignatureExpiredError(source, expected=f"{what} to be valid on {today} (UTC)", got=got, hint=hint)
