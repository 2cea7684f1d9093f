"""A plan with its manifest and label bank: reading, verifying and writing all three."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..files import read_file, write_files
from .catalogue import find_plan
from .checksum import with_checksum
from .labels import LabelBank
from .manifest import MAX_BYTES, FileSpec, LabelSpec, Manifest, parse_manifest
from .trust import Signature, SignedContents, TrustLike, Verified, resolve, signature_path, verify

_DEFAULT_MODEL = "pvlr-lite2-coco80"
_COPY_AGAIN = "Copy the bundle again, or build it again with pvlr build."


@dataclass(frozen=True)
class Bundle:
    """A verified bundle in memory. ``payload`` holds the bytes whose hash was checked."""

    path: Path
    manifest: Manifest
    payload: bytes
    labels: LabelBank
    signature: Signature | None = None
    """Who signed it; None: its signature was not verified, or it has none."""

    @property
    def trusted(self) -> bool:
        """Whether a trusted key signed exactly these bytes. Without trusted keys, no bundle is."""
        return self.signature is not None

    def accept(self) -> None:
        """Record the version of a signed bundle that works: from now on, older ones of its name are refused.

        Raises:
            OptionError, OutputError: the state file cannot be read or written.
        """
        if self.signature is not None:
            self.signature.accept()

    @classmethod
    def open(cls, plan_path: str | os.PathLike[str], *, verify: bool = True, trust: TrustLike = None) -> Bundle:
        """Read a plan, its manifest and its label bank, each file once.

        With trusted keys, the signature and the bytes of all files are verified before anything is parsed.

        Args:
            plan_path: the plan, its folder or the name of a model; ``<stem>.json`` and ``<stem>.labels.safetensors``
                lie beside it.
            verify: compare each file's SHA-256 with the manifest. Sizes are always compared.
            trust: the keys that may sign the bundle: a folder of PEM files, one such file or a :class:`Trust`; None:
                those of ``PVLR_TRUST``, if it is set; False: none, whatever is set.

        Raises:
            SignatureError: the bundle is not signed as ``trust`` demands; each reason has its own class.
            PlanNotFoundError, ManifestNotFoundError: a file is missing.
            ManifestError, ManifestVersionError: the manifest is invalid or newer than this version.
            FileSizeError, FileHashError: a file is not the one that the manifest describes.
            LabelBankError: the label bank is missing, or does not match the manifest.
        """
        plan = find_plan(plan_path)
        signed = _verified(plan, trust)
        files = signed.files if signed else {}
        manifest = _manifest(plan, files)
        if signed:
            # Other tools sign a folder's name, and without a version: no way around the version of this bundle.
            signed.signature.check_version(manifest.name, plan)
        payload = _read_checked(plan, manifest.files["plan"], verify, errors.PlanNotFoundError, files)
        bank_path = labels_path(plan)
        bank_data = _read_checked(bank_path, manifest.files["labels"], verify, errors.LabelBankError, files)
        bank = LabelBank.from_bytes(bank_data, source=str(bank_path))
        names = [label.name for label in manifest.labels]
        if bank.names != names:
            raise errors.LabelBankError(
                str(bank_path),
                expected=f"the manifest's {len(names)} labels",
                got=f"{len(bank)} labels" if len(bank) != len(names) else "other names or another order",
                hint=_COPY_AGAIN,
            )
        return cls(plan, manifest, payload, bank, signed.signature if signed else None)


def read_manifest(plan_path: str | os.PathLike[str]) -> Manifest:
    """Read and validate the manifest beside a plan; the plan itself is opened only to verify a signature.

    Raises:
        SignatureError: the bundle is not signed as ``PVLR_TRUST`` demands.
        ManifestNotFoundError, ManifestError, ManifestVersionError: it is missing, invalid or too new.
    """
    signed = _verified(Path(plan_path), None)
    return _manifest(plan_path, signed.files if signed else {})


def _verified(plan: Path, trust: TrustLike) -> Verified | None:
    """The files of a bundle if they must be signed."""
    required = resolve(trust)
    if required is None:
        return None
    return verify(signature_path(plan), [manifest_path(plan), plan, labels_path(plan)], required)


def _manifest(plan_path: str | os.PathLike[str], signed: Mapping[str, SignedContents]) -> Manifest:
    path = manifest_path(plan_path)
    if path.name in signed:
        return parse_manifest(signed[path.name].data, path)
    try:
        text = read_file(path, MAX_BYTES)
    except OSError as error:
        wrong_file = error.errno in (errno.EINVAL, errno.EFBIG)
        raise (errors.ManifestError if wrong_file else errors.ManifestNotFoundError)(
            str(path), expected="a manifest beside the plan", got=error.strerror or str(error), hint=_COPY_AGAIN
        ) from None
    return parse_manifest(text, path)


def write_bundle(plan_path: str | os.PathLike[str], payload: bytes, bank: LabelBank, manifest: Manifest) -> Manifest:
    """Write the three files of a bundle, all or none.

    Args:
        plan_path: the plan to write; the other two files are named after it.
        payload: the plan's bytes.
        bank: the label bank.
        manifest: its ``files`` are replaced by the sizes and hashes of what is written.

    Returns:
        the manifest as it was written.

    Raises:
        ManifestError: the manifest is invalid.
        OutputError: a file cannot be written; an existing bundle still works.
    """
    plan, bank_data = Path(plan_path), bank.to_bytes()
    files = {"plan": describe(payload), "labels": describe(bank_data)}
    data = manifest_data(manifest.model_copy(update={"files": files}))
    checked = parse_manifest(data, manifest_path(plan))
    # The manifest comes last: without it, the other files are recognisably not a bundle.
    write_files({labels_path(plan): bank_data, plan: payload, manifest_path(plan): data})
    return checked


def write_thresholds(
    bundle: Bundle, thresholds: NDArray[np.float32], precise: NDArray[np.float32] | None = None
) -> Manifest:
    """Replace the thresholds of a bundle on disk: writes a new label bank and manifest, and leaves the plan unchanged.

    The label bank of the network that it was built from, if that is in the same folder, gets them too, so that later
    builds start from them.

    Args:
        bundle: as read by :meth:`Bundle.open`.
        thresholds: float32 (C,), between 0 and 1.
        precise: float32 (C,), those of the operating point ``precise``; None: ``thresholds`` serve for both.

    Raises:
        LabelBankError: the thresholds are invalid.
        ManifestError: the manifest has been replaced in the meantime.
        OutputError: a file cannot be written; the old thresholds stay.
    """
    if read_manifest(bundle.path) != bundle.manifest:
        raise errors.ManifestError(
            str(manifest_path(bundle.path)),
            expected="the manifest that was opened",
            got="another one",
            hint="The plan was replaced in the meantime; start again.",
        )
    old = bundle.labels
    bank = LabelBank(old.names, old.embeddings, thresholds, old.text, precise,
                     biases=old.biases, gains=old.gains, weights=old.weights)  # fmt: skip
    bank_data = bank.to_bytes()
    files = {**bundle.manifest.files, "labels": describe(bank_data)}
    data = manifest_data(bundle.manifest.model_copy(update={**label_fields(bank), "files": files}))
    checked = parse_manifest(data, manifest_path(bundle.path))
    banks = {labels_path(network): bank_data for network in bundle.path.parent.glob("*.onnx") if _has(network, old)}
    write_files({**banks, labels_path(bundle.path): bank_data, manifest_path(bundle.path): data})
    return checked


def label_fields(bank: LabelBank) -> dict[str, Any]:
    """The fields of a manifest that depend on the label bank: the labels with their thresholds, and the format."""
    columns: dict[str, list[Any]] = {"name": bank.names, "threshold": [*map(shortest, bank.thresholds)]}
    if bank.precise_thresholds is not None:
        columns["precise_threshold"] = [*map(shortest, bank.precise_thresholds)]
    rows = zip(*columns.values(), strict=True)
    labels = tuple(LabelSpec(**dict(zip(columns, row, strict=True))) for row in rows)
    return {"format": 1 if bank.precise_thresholds is None else 2, "labels": labels}


def _has(network: Path, bank: LabelBank) -> bool:
    """Whether a network's label bank differs from ``bank`` at most in the thresholds."""
    try:
        found = LabelBank.load(labels_path(network))
    except errors.LabelBankError:
        return False
    return found.names == bank.names and np.array_equal(found.embeddings, bank.embeddings)


def shortest(value: np.float32) -> float:
    """The shortest decimal number that equals a float32: 0.3 instead of 0.30000001192092896."""
    return float(str(value))


def manifest_path(plan_path: str | os.PathLike[str]) -> Path:
    """``dir/engine.plan`` -> ``dir/engine.json``."""
    return Path(plan_path).with_suffix(".json")


def labels_path(plan_path: str | os.PathLike[str]) -> Path:
    """``dir/engine.plan`` (or ``dir/model.onnx``) -> ``dir/engine.labels.safetensors``."""
    return Path(plan_path).with_suffix(".labels.safetensors")


def default_plan() -> Path:
    """The path of the plan bundled with the package.

    Raises:
        PlanNotFoundError: this installation has none.
    """
    from importlib.resources import files

    path = Path(str(files("pvlr_sdk") / "models" / _DEFAULT_MODEL / "engine.plan"))
    if not path.is_file():
        raise errors.PlanNotFoundError(
            "plan",
            expected=f"the bundled model {_DEFAULT_MODEL}",
            got="an installation without it",
            hint='Give the path of a plan, Tagger("engine.plan"), or install pvlr_sdk from its wheel.',
        )
    return path


def _read_checked(
    path: Path,
    spec: FileSpec,
    verify: bool,
    missing: type[errors.BundleError],
    signed: Mapping[str, SignedContents],
) -> bytes:
    """A file that is the one in the manifest; if its signature was verified, neither read nor hashed again."""
    try:
        if path.name in signed:
            data, digest = signed[path.name]
            size = len(data)
        else:
            digest, size = "", os.stat(path).st_size
            # A file of another size is not read: a huge one in the plan's place costs nothing.
            data = read_file(path, spec.bytes) if size in (0, spec.bytes) else b""
    except OSError as error:
        raise missing(
            str(path), expected="a file of the bundle", got=error.strerror or str(error), hint=_COPY_AGAIN
        ) from None
    if len(data) != spec.bytes:
        raise errors.FileSizeError(
            str(path),
            expected=f"{spec.bytes} bytes",
            got=f"{size} bytes",
            hint=f"It was truncated or replaced. {_COPY_AGAIN}",
        )
    if verify and (digest := digest or hashlib.sha256(data).hexdigest()) != spec.sha256:
        raise errors.FileHashError(
            str(path),
            expected=f"SHA-256 {spec.sha256[:16]}...",
            got=f"{digest[:16]}...",
            hint=f"Its contents were modified or damaged. {_COPY_AGAIN}",
        )
    return data


def describe(data: bytes) -> FileSpec:
    """The manifest's entry for a file."""
    return FileSpec(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def manifest_data(manifest: Manifest) -> bytes:
    """The contents of a manifest's file."""
    # Unset fields stay unset: a manifest that is read and written again keeps its contents.
    return with_checksum(manifest.model_dump(mode="json", exclude_unset=True))
