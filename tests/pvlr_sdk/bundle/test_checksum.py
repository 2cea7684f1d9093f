"""The checksum of a manifest: no change of its file goes unnoticed, and no text in it is taken for the field."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.bundle.bundle import (
    label_fields,
    labels_path,
    manifest_data,
    manifest_path,
    write_bundle,
    write_thresholds,
)
from pvlr_sdk.bundle.label_bank import LabelBank
from pvlr_sdk.bundle.manifest import parse_manifest
from pvlr_sdk.models.find import load_bundle
from pvlr_sdk.trust import read_manifest

CHANGED = r"engine\.json: expected a manifest as it was written, got one that was changed afterwards\. Copy the bundle"


LINE = b' "checksum": "%s",\n' % (b"0" * 64)


def digits(plan: Path) -> bytes:
    found: str = json.loads(manifest_path(plan).read_bytes())["checksum"]
    return found.encode()


def is_refused(data: bytes) -> bool:
    try:
        parse_manifest(data, Path("engine.json"))
    except errors.ManifestError:
        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("made", ["own_plan", "two_points"])
def test_every_bit_changed_and_every_cut_is_refused(made: str, request: pytest.FixtureRequest) -> None:
    data = manifest_path(request.getfixturevalue(made)).read_bytes()
    passed = []
    for position in range(len(data)):
        for bit in range(8):
            flipped = data[:position] + bytes([data[position] ^ 1 << bit]) + data[position + 1 :]
            passed += [] if is_refused(flipped) else [(position, bit)]
    cuts = [length for length in range(len(data)) if not is_refused(data[:length])]
    print(f"{8 * len(data)} changes, {len(data)} cuts")
    assert (passed, cuts) == ([], [])
    assert not is_refused(data)


def test_a_flipped_bit_in_a_threshold_is_named(own_plan: Path) -> None:
    bundle = load_bundle(own_plan)
    write_thresholds(bundle, np.full(len(bundle.labels), 0.41, np.float32))
    text = manifest_path(own_plan).read_bytes()
    manifest_path(own_plan).write_bytes(text.replace(b'"threshold": 0.41', b'"threshold": 0.51', 1))
    for use in (load_bundle, read_manifest, Tagger):
        with pytest.raises(errors.ManifestError, match=CHANGED):
            use(own_plan)
    # What the message says that whoever edited it on purpose does.
    lines = manifest_path(own_plan).read_bytes().splitlines(keepends=True)
    manifest_path(own_plan).write_bytes(b"".join(line for line in lines if b'"checksum"' not in line))
    assert read_manifest(own_plan).labels[0].threshold == 0.51


def test_it_is_what_the_module_says(own_plan: Path) -> None:
    text = manifest_path(own_plan).read_bytes()
    zeroed, count = re.subn(rb'(?m)^ "checksum": "[0-9a-f]{64}",$', b' "checksum": "' + b"0" * 64 + b'",', text)
    assert (count, hashlib.sha256(zeroed).hexdigest().encode()) == (1, digits(own_plan))
    assert manifest_data(read_manifest(own_plan)) == text


def test_each_writer_writes_it(own_plan: Path) -> None:
    bundle, found = load_bundle(own_plan), {digits(own_plan)}
    write_thresholds(bundle, np.full(len(bundle.labels), 0.25, np.float32))
    found.add(digits(own_plan))
    write_bundle(own_plan, bundle.payload, bundle.labels, bundle.manifest.model_copy(update={"name": "other"}))
    found.add(digits(own_plan))
    assert len(found) == 3
    load_bundle(own_plan)


def test_texts_that_look_like_it(own_plan: Path) -> None:
    """As names, and inside another field."""
    bundle = load_bundle(own_plan)
    names = ["checksum", '"checksum": "' + "0" * 64, "0" * 64, "f" * 64, digits(own_plan).decode()]
    bank = LabelBank(names, bundle.labels.embeddings, bundle.labels.thresholds)
    fields = {**label_fields(bank), "built": {"checksum": "1" * 64, "more": {"checksum": None}}}
    write_bundle(own_plan, bundle.payload, bank, bundle.manifest.model_copy(update=fields))
    assert load_bundle(own_plan).labels.names == names
    text = manifest_path(own_plan).read_bytes()
    for name in (b'"name": "checksum', b"f" * 64, b"1" * 64):
        assert text.count(name) == 1
        assert is_refused(text.replace(name, name[:-1] + b"x"))
    without = text.replace(LINE.replace(b"0" * 64, digits(own_plan)), b"")
    assert len(without) == len(text) - len(LINE)
    assert read_manifest(own_plan) == parse_manifest(without, Path("engine.json"))


@pytest.mark.parametrize(
    "value", [b"null", b"7", b'""', b'"0"', b'["%s"]', b'"%S"', b'" %s"', b'"%s%s"', b'{"checksum": "%s"}']
)
def test_values_that_are_none(own_plan: Path, value: bytes) -> None:
    """Also if the digits are right, but not as they were written."""
    text, own = manifest_path(own_plan).read_bytes(), digits(own_plan)
    value = value.replace(b"%S", own.upper()).replace(b"%s", own)
    manifest_path(own_plan).write_bytes(text.replace(b'"' + own + b'"', value))
    with pytest.raises(errors.ManifestError, match=CHANGED):
        load_bundle(own_plan)


def test_a_second_one_does_not_replace_it(own_plan: Path) -> None:
    """Of two members of one name, JSON's readers take the last."""
    text, own = manifest_path(own_plan).read_bytes(), digits(own_plan)
    for other in (own, b"0" * 64):
        for double in (
            text.replace(b' "files"', LINE.replace(b"0" * 64, other) + b' "files"', 1),
            text.replace(b' "checksum"', LINE.replace(b"0" * 64, other) + b' "checksum"', 1),
        ):
            assert len(double) == len(text) + len(LINE)
            assert is_refused(double)


def test_its_digits_in_another_field_too(own_plan: Path) -> None:
    """Zeros in both places would have these digits as well."""
    text = manifest_path(own_plan).read_bytes().replace(digits(own_plan), b"0" * 64)
    text = text.replace(b'"name": "tiny"', b'"name": "%s"' % (b"0" * 64))
    double = text.replace(b"0" * 64, hashlib.sha256(text).hexdigest().encode())
    manifest_path(own_plan).write_bytes(double)
    assert double.count(digits(own_plan)) == 2
    with pytest.raises(errors.ManifestError, match=CHANGED):
        load_bundle(own_plan)


def test_a_damaged_name_of_it_is_an_unknown_field(own_plan: Path) -> None:
    manifest_path(own_plan).write_bytes(manifest_path(own_plan).read_bytes().replace(b'"checksum"', b'"chucksum"'))
    with pytest.raises(errors.ManifestError, match="chucksum: Extra inputs are not permitted"):
        load_bundle(own_plan)


def test_the_label_bank_beside_a_changed_manifest_is_not_read(own_plan: Path) -> None:
    labels_path(own_plan).unlink()
    manifest_path(own_plan).write_bytes(manifest_path(own_plan).read_bytes() + b"\n")
    with pytest.raises(errors.ManifestError, match=CHANGED):
        load_bundle(own_plan)
