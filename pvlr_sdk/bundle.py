"""A plan with its manifest and label bank: read, verified and written (DESIGN.md section 4)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import errors
from .files import write_files
from .labels import LabelBank
from .manifest import FileSpec, Manifest, parse_manifest

_DEFAULT_MODEL = "pvlr-lite2-coco80"
_COPY_AGAIN = "Copy the bundle again, or build it again with pvlr build."


@dataclass(frozen=True)
class Bundle:
    """A verified bundle in memory. ``payload`` are the very bytes whose hash was checked."""

    path: Path
    manifest: Manifest
    payload: bytes
    labels: LabelBank

    @classmethod
    def open(cls, plan_path: str | os.PathLike[str], *, verify: bool = True) -> Bundle:
        """Read a plan, its manifest and its label bank, each file once.

        Args:
            plan_path: the plan; ``<stem>.json`` and ``<stem>.labels.safetensors`` lie beside it.
            verify: compare each file's SHA-256 with the manifest. Sizes are compared in any case.

        Raises:
            PlanNotFoundError, ManifestNotFoundError: a file is missing.
            ManifestError, ManifestVersionError: the manifest is invalid or newer than this version.
            FileSizeError, FileHashError: a file is not the one that the manifest describes.
            LabelBankError: the label bank is missing, or does not fit the manifest.
        """
        plan = Path(plan_path)
        if not plan.is_file():
            raise errors.PlanNotFoundError(
                str(plan), expected="a plan file", got=_what_is_there(plan), hint="Build one with pvlr build."
            )
        manifest = read_manifest(plan)
        payload = _read_checked(plan, manifest.files["plan"], verify, errors.PlanNotFoundError)
        bank_path = labels_path(plan)
        bank_data = _read_checked(bank_path, manifest.files["labels"], verify, errors.LabelBankError)
        bank = LabelBank.from_bytes(bank_data, source=str(bank_path))
        names = [label.name for label in manifest.labels]
        if bank.names != names:
            raise errors.LabelBankError(
                str(bank_path),
                expected=f"the manifest's {len(names)} labels",
                got=f"{len(bank)} labels" if len(bank) != len(names) else "other names or another order",
                hint=_COPY_AGAIN,
            )
        return cls(plan, manifest, payload, bank)


def read_manifest(plan_path: str | os.PathLike[str]) -> Manifest:
    """The manifest beside a plan, validated; the plan itself is not opened.

    Raises:
        ManifestNotFoundError, ManifestError, ManifestVersionError
    """
    path = manifest_path(plan_path)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise errors.ManifestNotFoundError(
            str(path), expected="a manifest beside the plan", got=error.strerror or str(error), hint=_COPY_AGAIN
        ) from None
    return parse_manifest(text, path)


def write_bundle(
    plan_path: str | os.PathLike[str], payload: bytes, bank: LabelBank, manifest: Mapping[str, Any]
) -> Manifest:
    """Write the three files of a bundle, all or none.

    Args:
        plan_path: where the plan goes; the other two files get their names from it.
        payload: the plan's bytes.
        bank: the label bank.
        manifest: the fields of :class:`Manifest` without ``files``, which are filled in here.

    Raises:
        ManifestError: the fields don't make a valid manifest.
        OutputError: a file can't be written; a bundle that was there before still works.
    """
    plan, bank_data = Path(plan_path), bank.to_bytes()
    files = {"plan": _describe(payload).model_dump(), "labels": _describe(bank_data).model_dump()}
    data = _manifest_data({**manifest, "files": files})
    checked = parse_manifest(data, manifest_path(plan))
    # The manifest last: until it is there, what lies there is recognisably not this bundle.
    write_files({labels_path(plan): bank_data, plan: payload, manifest_path(plan): data})
    return checked


def write_thresholds(bundle: Bundle, thresholds: NDArray[np.float32]) -> Manifest:
    """Give a bundle on the disk other thresholds: new label bank and manifest, everything else as it was.

    Args:
        bundle: what :meth:`Bundle.open` read.
        thresholds: float32 (C,), between 0 and 1.

    Raises:
        LabelBankError: the thresholds can't be.
        ManifestError: there is another manifest by now.
        OutputError: a file can't be written; the old thresholds stay.
    """
    if read_manifest(bundle.path) != bundle.manifest:
        raise errors.ManifestError(
            str(manifest_path(bundle.path)),
            expected="the manifest that was opened",
            got="another one",
            hint="The plan was replaced meanwhile; start again.",
        )
    old = bundle.labels
    bank_data = LabelBank(old.names, old.embeddings, thresholds, old.text).to_bytes()
    # Only what stood in the file: a default that is written out would be a change.
    raw = bundle.manifest.model_dump(mode="json", exclude_unset=True)
    for label, threshold in zip(raw["labels"], thresholds, strict=True):
        label["threshold"] = shortest(threshold)
    raw["files"]["labels"] = _describe(bank_data).model_dump()
    data = _manifest_data(raw)
    checked = parse_manifest(data, manifest_path(bundle.path))
    write_files({labels_path(bundle.path): bank_data, manifest_path(bundle.path): data})
    return checked


def shortest(value: np.float32) -> float:
    """A float32 as the shortest decimal number that is it: 0.3 and not 0.30000001192092896."""
    return float(str(value))


def manifest_path(plan_path: str | os.PathLike[str]) -> Path:
    """``dir/engine.plan`` -> ``dir/engine.json``."""
    return Path(plan_path).with_suffix(".json")


def labels_path(plan_path: str | os.PathLike[str]) -> Path:
    """``dir/engine.plan`` (or ``dir/model.onnx``) -> ``dir/engine.labels.safetensors``."""
    return Path(plan_path).with_suffix(".labels.safetensors")


def default_plan() -> Path:
    """The plan that comes with the package.

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


def _read_checked(path: Path, spec: FileSpec, verify: bool, missing: type[errors.BundleError]) -> bytes:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            # Never more than one byte too many, so that a huge file in the plan's place costs no memory.
            data = file.read(spec.bytes + 1) if size == spec.bytes else b""
    except OSError as error:
        raise missing(
            str(path), expected="a file of the bundle", got=error.strerror or str(error), hint=_COPY_AGAIN
        ) from None
    if size != spec.bytes or len(data) != spec.bytes:
        raise errors.FileSizeError(
            str(path),
            expected=f"{spec.bytes} bytes",
            got=f"{size} bytes",
            hint=f"It was cut or replaced. {_COPY_AGAIN}",
        )
    if verify and (digest := hashlib.sha256(data).hexdigest()) != spec.sha256:
        raise errors.FileHashError(
            str(path),
            expected=f"SHA-256 {spec.sha256[:16]}...",
            got=f"{digest[:16]}...",
            hint=f"Its contents were changed or damaged. {_COPY_AGAIN}",
        )
    return data


def _manifest_data(raw: Mapping[str, Any]) -> bytes:
    return (json.dumps(raw, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()


def _describe(data: bytes) -> FileSpec:
    return FileSpec(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def _what_is_there(path: Path) -> str:
    return "a folder" if path.is_dir() else "no such file" if not path.exists() else "something that is no file"
