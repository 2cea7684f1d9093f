"""Signs bundles, label banks and knowledge files: ``pvlr sign``."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from datetime import date
from pathlib import Path

from .. import errors
from .._util.files import read_file, write_files
from ..trust.keys import PrivateKey
from ..trust.signature import Envelope, SignedFile, Statement, signed_bytes
from ..trust.verify import MAX_FILE_BYTES, signature_path
from .bundle import bundle_files, open_bundle


def sign(
    path: Path,
    key: str | os.PathLike[str],
    *,
    version: int = 1,
    expires: date | None = None,
    passphrase: Callable[[], str],
) -> Path:
    """Write the signature of a bundle, or of a label bank or knowledge file; an earlier one is replaced.

    Args:
        path: the plan, whose bundle must be valid; or a safetensors file, which is not parsed.
        key: PEM file of a private key, Ed25519 or ECDSA P-256.
        version: a number that rises with each release of this name. Equal versions replace one another.
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
        raise errors.OptionError("--bundle-version", "1 to 2^53 - 1", str(version), "Start at 1.")
    private = PrivateKey(key, passphrase)
    signature = signature_path(path)
    name = path.name
    paths = [path]
    if path.suffix != ".safetensors":
        name = open_bundle(path, trust=False).manifest.name
        paths = bundle_files(path)
    files = {}
    for file_path in paths:
        if file_path != signature:
            data = read_file(file_path, MAX_FILE_BYTES)
            files[file_path.name] = SignedFile(hashlib.sha256(data).hexdigest(), len(data))
    # What may lie beside a bundle: other verifiers object to files that were not signed.
    beside = ("README.md", path.with_suffix(".build.log").name, signature.name)
    payload = Statement(name, files, version, expires).to_json(beside)
    envelope = Envelope(payload, private.sign(signed_bytes(payload)), private.fingerprint)
    write_files({signature: envelope.to_bytes()})
    return signature
