"""Opens bundles: with trusted keys, the signature and the bytes of all files are verified before anything is parsed."""

from __future__ import annotations

from pathlib import Path

from ..bundle import bundle
from ..bundle.bundle import Bundle, labels_path, manifest_path
from ..bundle.manifest import Manifest
from .verify import Trust, TrustLike, Verified, resolve, signature_path, verify


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
