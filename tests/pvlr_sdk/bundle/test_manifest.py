"""A manifest from outside gives one ManifestError, whatever it is: a device, a bomb, nonsense in any field."""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pvlr_sdk import errors
from pvlr_sdk.bundle.bundle import labels_path, manifest_path, read_manifest
from pvlr_sdk.bundle.label_bank import LabelBank
from pvlr_sdk.bundle.manifest import MAX_BYTES, InputSpec, parse_manifest, parse_spec
from pvlr_sdk.models.find import load_bundle
from tests.manifests import read_raw
from tests.waiting import LONG

ROOT = Path(__file__).parents[3]
MODEL = ROOT / "pvlr_sdk" / "models" / "pvlr-lite2-open" / "engine.json"
DEEP = "[" * 900 + "]" * 900


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    raw = read_raw(MODEL)
    change(raw)
    return json.dumps(raw).encode()


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**30)


@pytest.mark.parametrize("make", [fifo, device, large])
@pytest.mark.parametrize("role", ["manifest", "plan", "labels"])
def test_a_file_that_is_none_is_an_error_at_once(
    make: Callable[[Path], None], role: str, own_plan: Path
) -> None:
    path = {"manifest": manifest_path(own_plan), "plan": own_plan, "labels": labels_path(own_plan)}[
        role
    ]
    path.unlink()
    make(path)
    began = time.perf_counter()
    with pytest.raises(errors.ManifestError if role == "manifest" else errors.BundleError):
        load_bundle(own_plan)
    if role == "labels":
        with pytest.raises(errors.LabelBankError):
            LabelBank.load(path)
    assert time.perf_counter() - began < LONG  # an end, not a wait for a writer


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda raw: raw["golden"].update(tolerance={"fp32": 1e300}), "tolerance.fp32"),
        (lambda raw: raw["golden"].update(tolerance={"bf16": 1e300}), "tolerance.bf16"),
        (lambda raw: raw["golden"].update(tolerance={"int8": 100}), "tolerance.int8"),
        (lambda raw: raw["golden"].update(tolerance={"bf16": float("inf")}), "not a number"),
        (lambda raw: raw["golden"].update(tolerance={"fp32": -1}), "tolerance.fp32"),
        (lambda raw: raw["golden"].update(tolerance={"fp31": 0.001}), "tolerance"),
        (lambda raw: raw["golden"]["logits"].__setitem__(0, 1e300), "logits"),
        (lambda raw: raw["input"].update(width=True), "input.width"),
        (lambda raw: raw["input"].update(height=288.0), "input.height"),
        (lambda raw: raw["attention"].update(alpha="1"), "attention.alpha"),
        (lambda raw: raw["golden"]["logits"].__setitem__(0, True), "logits"),
        (lambda raw: raw["input"].update(std=[1e-300, 1, 1]), "input.std"),
        (lambda raw: raw["input"].update(mean=[1e30, 1, 1]), "input.mean"),
        (lambda raw: raw["input"].update(pad=[-1e30, 1, 1]), "input.pad"),
        (lambda raw: raw["attention"].update(alpha=1e300), "attention.alpha"),
        (lambda raw: raw["attention"].update(rows=10**12), "attention.rows"),
        (lambda raw: raw["files"]["plan"].update(bytes=10**15), "files.plan.bytes"),
        (lambda raw: raw.update(measured={"precisions": 7}), "measured"),
        (lambda raw: raw.update(measured={"precisions": {"fp32": []}}), "measured"),
        (
            lambda raw: raw.update(measured={"precisions": {"fp32": {"inference_ms": "fast"}}}),
            "measured",
        ),
        (lambda raw: raw.update(measured=[1]), "measured"),
        (lambda raw: raw.update(format=20.0), "format"),
        (lambda raw: raw.update(format="20"), "format"),
        (lambda raw: raw["built"].update(time="2026-02-31T00:00:00+00:00"), "built"),
        (lambda raw: raw["built"].update(time=5), "built"),
        (lambda raw: raw["built"].update(more=json.loads(DEEP)), "32 levels"),
        (lambda raw: raw["built"].update(more=float("nan")), "NaN"),
        (lambda raw: raw["built"].update(more=10**30), "64 bits"),
        (lambda raw: raw.update(name="\ud800"), "surrogate"),
        (lambda raw: raw.update(name="red\x1b[31m"), "control character"),
        (lambda raw: raw["labels"][3].update(name="two\nlines"), "control character"),
        (lambda raw: raw["labels"][3].update(name="\u202eenorhp"), "control character"),
        (lambda raw: raw["built"].update({"\x9b31m": 1}), "control character"),
    ],
)
def test_the_field_is_named(change: Callable[[dict[str, Any]], object], where: str) -> None:
    with pytest.raises(errors.ManifestError, match=where):
        parse_manifest(changed(change), MODEL)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            ("version", text)
            for text in ("10", "1.2.3.4.5", "1." + "9" * 5000, "\u0661.\u0662", "9999999.1")
        ),
        *(("capability", text) for text in ("8", "8.7.1", "\u0668.\u0667")),
        *((name, "") for name in ("gpu", "machine", "plugins")),
        *((name, 2**31) for name in ("multiprocessors", "dla")),
        *(
            ("batch", sizes)
            for sizes in (
                [1, 1, 2**16 + 1],
                [1, 1.0, 4],
                [0, 1, 1],
                [2, 1, 4],
                [1, 1],
                [True, 1, 1],
            )
        ),
        *((name, None) for name in ("maps", "batch", "hardware", "attention")),
    ],
)
def test_the_section_of_tensorrt_is_refused_as_by_libpvlr(field: str, value: Any) -> None:
    section = {
        "version": "10.3.0",
        "capability": "8.7",
        "gpu": "Orin",
        "machine": "aarch64",
        "batch": [1, 1, 4],
    }

    def closed(section: dict[str, Any]) -> bytes:
        return changed(lambda raw: raw.update(backend="tensorrt", tensorrt=section, open=None))

    parse_manifest(closed(section), MODEL)
    with pytest.raises(errors.ManifestError, match=f"got tensorrt.*{field}"):
        parse_manifest(closed({**section, field: value}), MODEL)


def test_numbers_of_5000_digits() -> None:
    for field in ("format", "name", "measured"):
        text = changed(lambda raw, field=field: raw.update({field: "HERE"})).replace(
            b'"HERE"', b"9" * 5000
        )
        with pytest.raises(errors.ManifestError):
            parse_manifest(text, MODEL)


def test_a_large_golden_frame_is_not_written() -> None:
    with pytest.raises(errors.ManifestError, match="smaller golden frame"):
        parse_manifest(b" " * (MAX_BYTES + 1), MODEL)


@pytest.mark.parametrize("text", [DEEP, "9" * 5000, "[" * 100_000, '{"format": NaN}', "\ud800"])
def test_metadata_of_a_network(text: str) -> None:
    with pytest.raises(errors.ModelError):
        parse_spec(text, "model.onnx")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"input": {"width": 0}}, r"got input\.width: "),
        ({}, r"got input: Field required"),
        (
            {"format": 2, "more": 1},
            r"got format 2\. Update pvlr_sdk",
        ),  # whatever else a newer format has
    ],
)
def test_metadata_of_a_network_name_the_field(change: dict[str, Any], says: str) -> None:
    with pytest.raises(errors.ModelError, match=says):
        parse_spec(json.dumps({"format": 1, "name": "a"} | change), "model.onnx")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(categories=None), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to every value in a JSON document."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value[:3])
        if isinstance(value, list)
        else ()
    )
    return [path, *(found for key, one in inner for found in places(one, (*path, key)))]


RAW = read_raw(MODEL)


@pytest.mark.slow
@settings(
    max_examples=3000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.sampled_from(places(RAW)[1:]), value=JSON, extra=st.booleans())
def test_any_value_anywhere_is_valid_or_one_error(
    place: tuple[Any, ...], value: Any, extra: bool
) -> None:
    """What is accepted can be displayed and written again."""
    raw = copy.deepcopy(RAW)
    target = raw
    for key in place[:-1]:
        target = target[key]
    if extra and isinstance(target, dict):
        target[f"{place[-1]} too"] = value
    else:
        target[place[-1]] = value
    try:
        manifest = parse_manifest(json.dumps(raw), MODEL)
    except (errors.ManifestError, errors.ManifestVersionError):
        return
    text = json.dumps(manifest.model_dump(mode="json"), ensure_ascii=False).encode()
    assert parse_manifest(text, MODEL) == manifest


def test_the_models_are_valid() -> None:
    for path in [MODEL, *ROOT.glob("models/*/engine.json")]:
        read_manifest(path.with_suffix(".plan"))


def test_the_margin_of_a_letterbox_is_gray_unless_the_network_says_otherwise() -> None:
    """As libpvlr has it, for manifests without the field."""
    spec = InputSpec(width=8, height=8, mean=(0, 0, 0), std=(1, 1, 1))
    assert (spec.resize, spec.pad) == ("stretch", (114, 114, 114))
