"""Signs a bundle: ``pvlr sign``."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from datetime import date
from pathlib import Path

from .. import errors
from .._util.files import read_file, write_files
from ..bundle.bundle import labels_path, manifest_path
from .keys import PrivateKey
from .signature import Envelope, SignedFile, Statement, signed_bytes
from .verify import MAX_FILE_BYTES, open_bundle, signature_path


def sign(
    plan: Path,
    key: str | os.PathLike[str],
    *,
    version: int = 1,
    expires: date | None = None,
    passphrase: Callable[[], str],
) -> Path:
    """Write the signature of a bundle beside its plan; an earlier one is replaced.

    Args:
        plan: the plan. The bundle must be valid.
        key: PEM file of a private key, Ed25519 or ECDSA P-256.
        version: a number that rises with each release of a bundle of this name. Equal versions replace one another.
        expires: the last day, in UTC, on which the signature is valid; None: no end.
        passphrase: called if the key is encrypted.

    Returns:
        the path of the signature.

    Raises:
        BundleError: what :func:`open_bundle` raises.
        OptionError: the key or the version is invalid.
        MissingPartError: the package ``cryptography`` is not installed.
        OutputError: the signature cannot be written; an earlier one is unchanged.
    """
    if not 1 <= version < 1 << 53:
        raise errors.OptionError("--bundle-version", expected="1 to 2^53 - 1", got=str(version), hint="Start at 1.")
    private = PrivateKey(key, passphrase)
    bundle = open_bundle(plan, trust=False)
    files = {}
    for path in (bundle.path, manifest_path(bundle.path), labels_path(bundle.path)):
        data = read_file(path, MAX_FILE_BYTES)
        files[path.name] = SignedFile(hashlib.sha256(data).hexdigest(), len(data))
    signature = signature_path(bundle.path)
    # What may lie beside a bundle: other verifiers object to files that were not signed.
    beside = ("README.md", bundle.path.with_suffix(".build.log").name, signature.name)
    payload = Statement(bundle.manifest.name, files, version, expires).to_json(beside)
    envelope = Envelope(payload, private.sign(signed_bytes(payload)), private.fingerprint)
    write_files({signature: envelope.to_bytes()})
    return signature
