"""A plan with its manifest and label bank: reading and writing all three."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .._util.files import read_file, write_files
from .label_bank import LabelBank
from .manifest import MAX_BYTES, FileSpec, LabelSpec, Manifest, parse_manifest

_COPY_AGAIN = "Copy the bundle again, or build it again with pvlr build."


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
        return {"key": self.key, "version": self.version, "expires": self.expires.isoformat() if self.expires else None}


@dataclass(frozen=True)
class Bundle:
    """A bundle in memory. ``payload`` holds the bytes whose hash was checked."""

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


def read_bundle(
    plan: Path,
    verified: Mapping[str, Contents] = MappingProxyType({}),
    signature: Signature | None = None,
) -> Bundle:
    """Read a plan, its manifest and its label bank, each file once; :func:`pvlr_sdk.trust.open_bundle` verifies them.

    Args:
        plan: the plan; ``<stem>.json`` and ``<stem>.labels.safetensors`` are in the same folder.
        verified: files by name, whose signature was verified: these are neither read nor hashed again.
        signature: the signature of these files.

    Raises:
        PlanNotFoundError, ManifestNotFoundError: a file is missing.
        ManifestError, ManifestVersionError: the manifest is invalid or newer than this version.
        FileSizeError, FileHashError: a file is not the one that the manifest describes.
        LabelBankError: the label bank is missing, or does not match the manifest.
    """
    manifest = read_manifest(plan, verified)
    payload = _read_checked(plan, manifest.files["plan"], errors.PlanNotFoundError, verified)
    bank_path = labels_path(plan)
    bank_data = _read_checked(bank_path, manifest.files["labels"], errors.LabelBankError, verified)
    bank = LabelBank.from_bytes(bank_data, source=str(bank_path))
    _check_labels(bank, manifest, str(bank_path))
    return Bundle(plan, manifest, payload, bank, signature)


def _check_labels(bank: LabelBank, manifest: Manifest, source: str) -> None:
    """Check that a label bank and the manifest have the same names and thresholds: both are stored in both."""
    names = [label.name for label in manifest.labels]
    got = ""
    if len(bank) != len(names):
        got = f"{len(bank)} labels"
    elif bank.names != names:
        got = "other names or another order"
    for point, stored in (("f1", bank.thresholds), ("precise", bank.precise_thresholds)):
        thresholds = np.array(manifest.thresholds(point), np.float32)
        if not got and not np.array_equal(bank.thresholds if stored is None else stored, thresholds):
            got = "other thresholds"
    if got:
        expected = f"the manifest's {len(names)} labels and thresholds"
        raise errors.LabelBankError(source, expected=expected, got=got, hint=_COPY_AGAIN)


def read_manifest(
    plan_path: str | os.PathLike[str], verified: Mapping[str, Contents] = MappingProxyType({})
) -> Manifest:
    """Read and validate the manifest of a plan; :func:`pvlr_sdk.trust.read_manifest` verifies its signature.

    Raises:
        ManifestNotFoundError, ManifestError, ManifestVersionError: it is missing, invalid or too new.
    """
    path = manifest_path(plan_path)
    if path.name in verified:
        return parse_manifest(verified[path.name].data, path)
    try:
        text = read_file(path, MAX_BYTES)
    except OSError as error:
        wrong_file = error.errno in (errno.EINVAL, errno.EFBIG)
        raise (errors.ManifestError if wrong_file else errors.ManifestNotFoundError)(
            str(path), expected="a manifest next to the plan", got=error.strerror or str(error), hint=_COPY_AGAIN
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
        bundle: as read by :func:`read_bundle`.
        thresholds: float32 (C,), between 0 and 1.
        precise: float32 (C,), the thresholds of the operating point ``precise``; None: ``thresholds`` serve for both.

    Raises:
        LabelBankError: the thresholds are invalid.
        ManifestError: the manifest has been replaced in the meantime.
        OutputError: a file cannot be written; the old thresholds stay.
    """
    if read_manifest(bundle.path) != bundle.manifest:
        expected, hint = "the manifest that was opened", "The plan was replaced in the meantime; start again."
        raise errors.ManifestError(str(manifest_path(bundle.path)), expected=expected, got="another one", hint=hint)
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
    columns: dict[str, list[Any]] = {"name": bank.names, "threshold": [*map(shortest_decimal, bank.thresholds)]}
    if bank.precise_thresholds is not None:
        columns["precise_threshold"] = [*map(shortest_decimal, bank.precise_thresholds)]
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


def shortest_decimal(value: np.float32) -> float:
    """The shortest decimal number that equals a float32: 0.3 instead of 0.30000001192092896."""
    return float(str(value))


def manifest_path(plan_path: str | os.PathLike[str]) -> Path:
    """``dir/engine.plan`` -> ``dir/engine.json``."""
    return Path(plan_path).with_suffix(".json")


def labels_path(plan_path: str | os.PathLike[str]) -> Path:
    """``dir/engine.plan`` (or ``dir/model.onnx``) -> ``dir/engine.labels.safetensors``."""
    return Path(plan_path).with_suffix(".labels.safetensors")


def _read_checked(
    path: Path,
    spec: FileSpec,
    missing: type[errors.BundleError],
    verified: Mapping[str, Contents],
) -> bytes:
    """A file that is the one in the manifest; if its signature was verified, neither read nor hashed again."""
    try:
        if path.name in verified:
            data, digest = verified[path.name]
            size = len(data)
        else:
            digest, size = "", os.stat(path).st_size
            # A file of another size is not read: a huge one in the plan's place costs nothing.
            data = read_file(path, spec.bytes) if size in (0, spec.bytes) else b""
    except OSError as error:
        hint = _COPY_AGAIN
        raise missing(str(path), expected="a file of the bundle", got=error.strerror or str(error), hint=hint) from None
    if len(data) != spec.bytes:
        hint = f"It was truncated or replaced. {_COPY_AGAIN}"
        raise errors.FileSizeError(str(path), expected=f"{spec.bytes} bytes", got=f"{size} bytes", hint=hint)
    if (digest := digest or hashlib.sha256(data).hexdigest()) != spec.sha256:
        got, hint = f"{digest[:16]}...", f"Its contents were modified or damaged. {_COPY_AGAIN}"
        raise errors.FileHashError(str(path), expected=f"SHA-256 {spec.sha256[:16]}...", got=got, hint=hint)
    return data


def describe(data: bytes) -> FileSpec:
    """The manifest's entry for a file."""
    return FileSpec(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def manifest_data(manifest: Manifest) -> bytes:
    """The contents of a manifest's file."""
    # Unset fields stay unset: a manifest that is read and written again keeps its contents.
    fields = manifest.model_dump(mode="json", exclude_unset=True)
    return (json.dumps(fields, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()
