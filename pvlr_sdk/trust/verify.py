"""Who may sign files: the signature and the bytes of all files are verified before anything in them is parsed."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple, TypeAlias

from .. import errors
from .._util.files import own_file, read_file, state_folder
from .keys import TrustedKey, trusted_keys
from .signature import MAX_BYTES, Envelope, SignedFile, Statement, signed_bytes
from .versions import Versions

MAX_FILE_BYTES = 2 << 30
"""Of a signed file whose size the signature does not state."""
_COPY_AGAIN = "Copy the bundle again from where it was signed."
Read: TypeAlias = Callable[[Path, str, int], bytes]
"""Returns the contents of a file in a folder, of at most so many bytes; raises OSError."""


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
        """The state file. Raises OptionError if this user has no home folder for it."""
        state = os.environ.get("PVLR_STATE") if self.state is None else self.state
        if state is None:
            return Versions(state_folder() / "versions.json", self.allow_rollback)
        return Versions(Path(state).absolute() if state else None, self.allow_rollback)


TrustLike: TypeAlias = str | os.PathLike[str] | Trust | Literal[False] | None


def resolve(trust: TrustLike) -> Trust | None:
    """The trust in force: None is that of ``$PVLR_TRUST``, False is none; paths become absolute."""
    if trust is None:
        trust = os.environ.get("PVLR_TRUST") or False
    if trust is False:
        return None
    if not isinstance(trust, Trust):
        trust = Trust(trust)
    return Trust(
        os.path.abspath(trust.keys),
        trust.state and os.path.abspath(trust.state),
        trust.allow_rollback,
    )


class Contents(NamedTuple):
    """The contents of a file and their SHA-256."""

    data: bytes
    sha256: str


@dataclass(frozen=True)
class Signature:
    """A verified signature: the name of its key, and the name, version and last day of the bundle that it states."""

    key: str
    name: str
    version: int
    expires: date | None

    def to_dict(self) -> dict[str, str | int | None]:
        """Key, version and last day, for JSON."""
        return {
            "key": self.key,
            "version": self.version,
            "expires": self.expires.isoformat() if self.expires else None,
        }


def accept(signature: Signature | None, trust: TrustLike = None) -> None:
    """Record the version of signed files that work: from now on, older ones of their name are refused.

    Raises:
        OptionError, OutputError: the state file cannot be read or written.
    """
    required = resolve(trust)
    if required is not None and signature is not None:
        required.versions().accept(signature.name, signature.version)


@dataclass(frozen=True)
class Verified:
    """A signature and the contents of the needed files that it vouches for, by their names."""

    signature: Signature
    files: dict[str, Contents]


def signature_path(path: str | os.PathLike[str]) -> Path:
    """``dir/engine.plan`` -> ``dir/engine.sig``, ``dir/bank.safetensors`` -> ``dir/bank.safetensors.sig``."""
    path = Path(path)
    return Path(f"{path}.sig") if path.suffix == ".safetensors" else path.with_suffix(".sig")


def read_signed(
    path: Path, max_bytes: int, trust: TrustLike = None
) -> tuple[bytes, Signature | None]:
    """The contents of a label bank or knowledge file, and its verified signature: its own, or that of its bundle.

    A file without trusted keys, and one that only this user can write in the state folder, need none.

    Raises:
        OSError: as :func:`read_file`.
        SignatureError, OptionError, MissingPartError: as :func:`verify`.
    """
    required = resolve(trust)
    own_path = own_file(path) if required else None
    if required is None or own_path or not os.path.lexists(path):
        return read_file(own_path or path, max_bytes), None
    signature = signature_path(path)
    of_bundle = path.with_suffix("").with_suffix(".sig")
    if of_bundle.exists() and not signature.exists():
        signature = of_bundle
    verified = verify(signature, [path], required)
    return verified.files[path.name].data, verified.signature


def verify_contents(contents: Mapping[Path, bytes], trust: Trust) -> Verified:
    """Verify a bundle that is not on disk yet: its files and their signature. Raises what :func:`verify` raises."""

    def read(folder: Path, name: str, limit: int) -> bytes:
        data = contents.get(folder / name)
        if data is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if len(data) > limit:
            raise OSError(errno.EFBIG, f"Larger than the limit of {limit} bytes")
        return data

    signature = signature_path(next(iter(contents)).with_name("engine.plan"))
    return verify(signature, [path for path in contents if path != signature], trust, read)


def _read(folder: Path, name: str, limit: int) -> bytes:
    """A file that is not a symbolic link, nor behind one in the folder."""
    inside = PurePosixPath(name)
    if any((folder / part).is_symlink() for part in (inside, *inside.parents[:-1])):
        raise OSError(errno.ELOOP, "A symbolic link")
    return read_file(folder / name, limit)


def verify(signature: Path, needed: Sequence[Path], trust: Trust, read: Read = _read) -> Verified:
    """Verify a signature and every file that it names; each is read once, and nothing in them is parsed.

    Args:
        signature: the signature file.
        needed: the files that must be signed.
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
        data = read(signature.parent, signature.name, MAX_BYTES)
    except FileNotFoundError:
        raise errors.NotSignedError(
            source,
            "a signature",
            "none",
            "Trusted keys are set, so a signature is required: get a signed copy, or sign it with pvlr sign.",
        ) from None
    except OSError as error:
        raise errors.SignatureInvalidError(
            source, "a signature", error.strerror or str(error), _COPY_AGAIN
        ) from None
    envelope = Envelope.from_bytes(data, source)
    key = _verified_by(envelope, source, trust)
    statement = Statement.from_json(envelope.payload, source)
    _check_date(source, f"the signature of {statement.name}", statement.expires)
    trust.versions().check(statement.name, statement.version, source)
    if unsigned := [path for path in needed if path.name not in statement.files]:
        raise errors.FileNotSignedError(
            str(unsigned[0]),
            f"one of the signed files: {', '.join(statement.files)}",
            "another file",
            f"It was added or renamed. {_COPY_AGAIN}",
        )
    wanted = {path.name for path in needed}
    files = {}
    for name, file in statement.files.items():
        contents = _read_signed(signature.parent, name, file, read)
        if name in wanted:
            files[name] = Contents(contents, file.sha256)
    signed = Signature(key.name, statement.name, statement.version, statement.expires)
    return Verified(signed, files)


def _read_signed(folder: Path, name: str, file: SignedFile, read: Read) -> bytes:
    path = folder / name
    size = file.bytes
    try:
        data = read(folder, name, MAX_FILE_BYTES if size is None else size)
        digest = hashlib.sha256(data).hexdigest()
        got = f"SHA-256 {digest[:16]}..., {len(data)} bytes"
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise errors.SignedFileMissingError(
                str(path), "a signed file", error.strerror or str(error), _COPY_AGAIN
            ) from None
        digest = ""
        got = error.strerror or ""
    if digest != file.sha256:
        raise errors.SignedFileChangedError(
            str(path),
            f"SHA-256 {file.sha256[:16]}..." + ("" if size is None else f", {size} bytes"),
            got,
            f"It was changed after it was signed. {_COPY_AGAIN}",
        )
    return data


def _verified_by(envelope: Envelope, source: str, trust: Trust) -> TrustedKey:
    keys = trusted_keys(Path(trust.keys))
    key = keys.get(envelope.key)
    if key is None:
        names = ", ".join(sorted(key.name for key in keys.values()))
        raise errors.UntrustedKeyError(
            source,
            f"a signature by a key in {os.fspath(trust.keys)} ({names})",
            f"one by the key {envelope.key[:16]}...",
            "Get a bundle that is signed with a trusted key, or add the signer's public key if you trust it.",
        )
    if not key.verifies(envelope.signature, signed_bytes(envelope.payload)):
        raise errors.SignatureInvalidError(
            source,
            f"the signature of the key {key.name}",
            "one of another statement, or in another form",
            f"It was changed or damaged, or signed with 0.2: then sign it again. {_COPY_AGAIN}",
        )
    _check_date(source, f"the key {key.name}", key.expires)
    return key


def utc_today() -> date:
    """Today's date in UTC, by which signatures and keys expire."""
    return datetime.now(timezone.utc).date()


def _check_date(source: str, what: str, expires: date | None) -> None:
    today = utc_today()
    if expires is not None and today > expires:
        raise errors.SignatureExpiredError(
            source,
            f"{what} to be valid on {today} (UTC)",
            f"its last day, {expires}",
            "Sign the bundle again, with a valid key. If the date is wrong, set this machine's clock.",
        )
