"""A plan with its manifest and label bank: reading and writing all three."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .._util.files import read_file, system_errors, write_files
from ..trust.verify import Contents, Signature, TrustLike, resolve, signature_path, verify
from .label_bank import LabelBank
from .manifest import MAX_BYTES, FileSpec, LabelSpec, Manifest, parse_manifest

KNOWLEDGE = ".knowledge.safetensors"
"""The end of the file that open models have for labels from words."""
_COPY_AGAIN = "Copy the bundle again, or build it again with pvlr build."


@dataclass(frozen=True)
class Bundle:
    """A bundle in memory. ``payload`` and ``label_network`` hold the bytes whose hashes were checked."""

    path: Path
    manifest: Manifest
    payload: bytes
    labels: LabelBank
    signature: Signature | None = None
    """Who signed it; None: its signature was not verified, or it has none."""
    label_network: bytes | None = None
    """The part for labels of an open plan for TensorRT, in ONNX; None: any other plan."""

    @property
    def trusted(self) -> bool:
        """Whether a trusted key signed exactly these bytes. Without trusted keys, no bundle is."""
        return self.signature is not None


def open_bundle(plan: Path, *, trust: TrustLike = None) -> Bundle:
    """Verify and read a plan, its manifest and its label bank, each file once.

    Args:
        plan: the plan; ``<stem>.json`` and ``<stem>.labels.safetensors`` are in the same folder.
        trust: the keys that may sign the bundle: a folder of PEM files, one such file or a :class:`Trust`; None:
            the keys of ``PVLR_TRUST``, if it is set; False: none, whatever is set.

    Raises:
        SignatureError: the bundle is not signed as ``trust`` demands; each reason has its own class.
        PlanNotFoundError, ManifestNotFoundError: a file is missing.
        ManifestError, ManifestVersionError: the manifest is invalid or newer than this version.
        FileSizeError, FileHashError: a file is not the one that the manifest describes.
        LabelBankError: the label bank is missing, or does not match the manifest.
    """
    signature, verified = _verified(plan, trust)
    manifest = _manifest(plan, verified)
    payload = _read_checked(plan, manifest.files["plan"], errors.PlanNotFoundError, verified)
    bank_path = labels_path(plan)
    bank_data = _read_checked(bank_path, manifest.files["labels"], errors.LabelBankError, verified)
    bank = LabelBank.from_bytes(bank_data, source=str(bank_path))
    _check_labels(bank, manifest, str(bank_path))
    if signature and (required := resolve(trust)):
        # Other tools sign a folder's name, and without a version: no way around the version of this bundle.
        required.versions().check(manifest.name, signature.version, str(signature_path(plan)))
    network_path = label_network_path(plan)
    network = manifest.files.get("label_network")
    label_network = (
        _read_checked(network_path, network, errors.PlanNotFoundError, verified)
        if network
        else None
    )
    return Bundle(plan, manifest, payload, bank, signature, label_network)


def read_manifest(plan: str | os.PathLike[str], *, trust: TrustLike = None) -> Manifest:
    """Read and validate the manifest of a plan; the plan itself is opened only to verify a signature.

    Raises:
        SignatureError: the bundle is not signed as ``trust`` demands.
        ManifestNotFoundError, ManifestError, ManifestVersionError: it is missing, invalid or too new.
    """
    return _manifest(Path(plan), _verified(Path(plan), trust)[1])


def _verified(plan: Path, trust: TrustLike) -> tuple[Signature | None, Mapping[str, Contents]]:
    """The signature of a bundle and the files that it vouches for, by name: these are not read again."""
    required = resolve(trust)
    signature = signature_path(plan)
    if required is None:
        return None, {}
    signed = verify(signature, [path for path in bundle_files(plan) if path != signature], required)
    return signed.signature, signed.files


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
        if not got and not np.array_equal(
            bank.thresholds if stored is None else stored, thresholds
        ):
            got = "other thresholds"
    if got:
        raise errors.LabelBankError(
            source, f"the manifest's {len(names)} labels and thresholds", got, _COPY_AGAIN
        )


def _manifest(plan: Path, verified: Mapping[str, Contents]) -> Manifest:
    path = manifest_path(plan)
    if path.name in verified:
        return parse_manifest(verified[path.name].data, path)
    try:
        text = read_file(path, MAX_BYTES)
    except OSError as error:
        wrong_file = error.errno in (errno.EINVAL, errno.EFBIG)
        kind = errors.ManifestError if wrong_file else errors.ManifestNotFoundError
        reason = error.strerror or str(error)
        raise kind(str(path), "a manifest next to the plan", reason, _COPY_AGAIN) from None
    return parse_manifest(text, path)


def write_bundle(bundle: Bundle) -> Manifest:
    """Write the files of a bundle, all or none.

    Args:
        bundle: all but the signature; sizes and hashes of what is written replace ``files`` in its manifest.

    Returns:
        the manifest as it was written.

    Raises:
        ManifestError: the manifest is invalid.
        OutputError: a file cannot be written; an existing bundle still works.
    """
    plan = bundle.path
    network = bundle.label_network
    files = describe_all(bundle.payload, bundle.labels, network)
    data = manifest_data(bundle.manifest.model_copy(update={"files": files}))
    checked = parse_manifest(data, manifest_path(plan))
    more = {} if network is None else {label_network_path(plan): network}
    # The manifest comes last: without it, the other files are recognisably not a bundle.
    write_files(
        {
            labels_path(plan): bundle.labels.to_bytes(),
            **more,
            plan: bundle.payload,
            manifest_path(plan): data,
        }
    )
    return checked


def write_thresholds(
    bundle: Bundle,
    thresholds: NDArray[np.float32],
    precise: NDArray[np.float32] | None = None,
    tiles: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
) -> Manifest:
    """Replace the thresholds of a bundle on disk: writes a new label bank and manifest, and leaves the plan unchanged.

    The label bank of the network that it was built from, if that is in the same folder, gets them too, so that later
    builds start from them.

    Args:
        bundle: as opened by :func:`open_bundle`.
        thresholds: float32 (C,), between 0 and 1.
        precise: float32 (C,), the thresholds of the operating point ``precise``; None: ``thresholds`` serve for both.
        tiles: thresholds of tile layouts by operating point; other layouts keep theirs.

    Raises:
        LabelBankError: the thresholds are invalid.
        ManifestError: the manifest has been replaced in the meantime.
        OutputError: a file cannot be written; the old thresholds stay.
    """
    if read_manifest(bundle.path, trust=False) != bundle.manifest:
        raise errors.ManifestError(
            str(manifest_path(bundle.path)),
            "the manifest that was opened",
            "another one",
            "The plan was replaced in the meantime; start again.",
        )
    old = bundle.labels
    layouts = {**bundle.manifest.tiles, **(tiles or {})}
    if layouts and precise is None:
        precise = thresholds  # as the manifest must have them with tiles
    bank = LabelBank(old.names, old.embeddings, thresholds, old.text, precise,
                     biases=old.biases, gains=old.gains, weights=old.weights)  # fmt: skip
    bank_data = bank.to_bytes()
    files = {**bundle.manifest.files, "labels": describe(bank_data)}
    changed = {**label_fields(bank), "files": files}
    if layouts:
        changed.update(format=3, tiles=layouts)
    data = manifest_data(bundle.manifest.model_copy(update=changed))
    checked = parse_manifest(data, manifest_path(bundle.path))
    banks = {
        labels_path(network): bank_data
        for network in bundle.path.parent.glob("*.onnx")
        if _has(network, old)
    }
    write_files({**banks, labels_path(bundle.path): bank_data, manifest_path(bundle.path): data})
    return checked


def label_fields(bank: LabelBank) -> dict[str, Any]:
    """The fields of a manifest that depend on the label bank: the labels with their thresholds, and the format."""
    columns: dict[str, list[Any]] = {
        "name": bank.names,
        "threshold": [*map(shortest_decimal, bank.thresholds)],
    }
    if bank.precise_thresholds is not None:
        columns["precise_threshold"] = [*map(shortest_decimal, bank.precise_thresholds)]
    rows = zip(*columns.values(), strict=True)
    labels = tuple(LabelSpec(**dict(zip(columns, row, strict=True))) for row in rows)
    return {"format": 1 if bank.precise_thresholds is None else 2, "labels": labels}


def _has(network: Path, bank: LabelBank) -> bool:
    """Whether a network's label bank differs from ``bank`` at most in the thresholds."""
    try:
        bank_of_network = LabelBank.load(labels_path(network), trust=False)
    except errors.LabelBankError:
        return False
    return bank_of_network.names == bank.names and np.array_equal(
        bank_of_network.embeddings, bank.embeddings
    )


def shortest_decimal(value: np.float32) -> float:
    """The shortest decimal number that equals a float32: 0.3 instead of 0.30000001192092896."""
    return float(str(value))


def manifest_path(plan_path: str | os.PathLike[str]) -> Path:
    """``dir/engine.plan`` -> ``dir/engine.json``."""
    return Path(plan_path).with_suffix(".json")


def labels_path(plan_path: str | os.PathLike[str]) -> Path:
    """``dir/engine.plan`` (or ``dir/model.onnx``) -> ``dir/engine.labels.safetensors``."""
    return Path(plan_path).with_suffix(".labels.safetensors")


def knowledge_path(plan_path: str | os.PathLike[str]) -> Path:
    """``dir/engine.plan`` -> ``dir/engine.knowledge.safetensors``."""
    return Path(plan_path).with_suffix(KNOWLEDGE)


def label_network_path(plan_path: str | os.PathLike[str]) -> Path:
    """``dir/engine.plan`` -> ``dir/engine.labels.onnx``."""
    return Path(plan_path).with_suffix(".labels.onnx")


def bundle_files(plan: Path) -> list[Path]:
    """All files of a bundle that exist, and those that must; the manifest is the last, as for :func:`write_bundle`."""
    maybe = label_network_path(plan), knowledge_path(plan), signature_path(plan)
    return [
        labels_path(plan),
        plan,
        *(path for path in maybe if os.path.lexists(path)),
        manifest_path(plan),
    ]


def _read_checked(
    path: Path,
    spec: FileSpec,
    missing: type[errors.BundleError],
    verified: Mapping[str, Contents],
) -> bytes:
    """A file that is the one in the manifest; if its signature was verified, neither read nor hashed again."""
    if path.name in verified:
        data, digest = verified[path.name]
        size = len(data)
    else:
        with system_errors(missing, str(path), expected="a file of the bundle", hint=_COPY_AGAIN):
            digest = ""
            size = os.stat(path).st_size
            # A file of another size is not read: a huge one in the plan's place costs nothing.
            data = read_file(path, spec.bytes) if size in (0, spec.bytes) else b""
    if len(data) != spec.bytes:
        raise errors.FileSizeError(
            str(path),
            f"{spec.bytes} bytes",
            f"{size} bytes",
            f"It was truncated or replaced. {_COPY_AGAIN}",
        )
    if (digest := digest or hashlib.sha256(data).hexdigest()) != spec.sha256:
        raise errors.FileHashError(
            str(path),
            f"SHA-256 {spec.sha256[:16]}...",
            f"{digest[:16]}...",
            f"Its contents were modified or damaged. {_COPY_AGAIN}",
        )
    return data


def describe(data: bytes) -> FileSpec:
    """The manifest's entry for a file."""
    return FileSpec(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def describe_all(
    payload: bytes, bank: LabelBank, label_network: bytes | None = None
) -> dict[Any, FileSpec]:
    """The manifest's entries for the files of a bundle, by role."""
    contents = {"plan": payload, "labels": bank.to_bytes(), "label_network": label_network}
    return {role: describe(data) for role, data in contents.items() if data is not None}


def manifest_data(manifest: Manifest) -> bytes:
    """The contents of a manifest's file."""
    # Unset fields stay unset: a manifest that is read and written again keeps its contents.
    fields = manifest.model_dump(mode="json", exclude_unset=True)
    return (json.dumps(fields, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()
