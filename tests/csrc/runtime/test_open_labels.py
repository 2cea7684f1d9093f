"""libpvlr runs open plans with label banks as Python does, and refuses the banks that Python refuses."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import LabelBank, Tagger, errors
from pvlr_sdk.bundle.tensors import to_safetensors
from pvlr_sdk.labels.moving import move
from pvlr_sdk.models.find import load_bundle
from tests.manifests import edit_manifest
from tests.pvlr_sdk.labels.tiny_open import DEPTH, FEATURES, MAX, SPACE, WIDTH, random_bank

from ..library import ROOT
from .conftest import Runtime
from .test_bundles import INVALID, NOT_FOUND, OK, STEP, UNSUPPORTED, flip, opener
from .test_parity import compare, photo_case, synthetic_cases

pytestmark = pytest.mark.slow

MODEL = ROOT / "pvlr_sdk/models/pvlr-lite2-open/engine.plan"


@pytest.mark.parametrize(
    ("count", "without"), [(1, 0), (1, 1), (3, 1), (5, 0), (MAX, MAX), (MAX, 2)]
)
@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_results_are_those_of_the_tagger(
    open_plan: Path, runtime: Runtime, tmp_path: Path, count: int, without: int, precision: str
) -> None:
    plan = shutil.copytree(open_plan.parent, tmp_path / "own") / "engine.plan"
    edit_manifest(plan, lambda manifest: manifest.update(precision=precision))
    random_bank(count, count, without=without).save(tmp_path / "bank.safetensors")
    compare(plan, runtime, synthetic_cases(), tmp_path, tmp_path / "bank.safetensors")


@pytest.mark.parametrize(("count", "without"), [(1, 0), (33, 5), (77, 76), (128, 3)])
@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_results_of_the_shipped_open_model(
    runtime: Runtime, tmp_path: Path, count: int, without: int, precision: str
) -> None:
    for path in MODEL.parent.glob("engine.*"):
        shutil.copy(path, tmp_path)
    plan = tmp_path / MODEL.name
    spec = load_bundle(plan).manifest.open
    edit_manifest(plan, lambda manifest: manifest.update(precision=precision))
    bank = random_bank(
        count, count, width=spec.width, depth=spec.feature_width, space=spec.space, features=spec.features,
        without=without,
    )  # fmt: skip
    bank.save(tmp_path / "bank.safetensors")
    compare(plan, runtime, synthetic_cases(), tmp_path, tmp_path / "bank.safetensors")


def test_thresholds_of_tiles_hold_for_labels_that_are_as_in_the_plan(
    runtime: Runtime, tmp_path: Path
) -> None:
    plan = shutil.copytree(MODEL.parent, tmp_path / "own") / MODEL.name
    own = load_bundle(plan).labels
    features = load_bundle(plan).manifest.open.features
    change = np.zeros(1280)
    change[0] = -0.01
    banks = {
        "corrected": move(own, "person", change, features, "event"),
        "another corrected": move(own, "car", change, features, "event"),
        "fewer": own.select(["person", "car"]),
        "in another order": own.select(list(reversed(own.names))),
        "another threshold": LabelBank(
            own.names, own.embeddings, np.full_like(own.thresholds, 0.4), own.text,
            biases=own.biases, gains=own.gains,
        ),
    }  # fmt: skip
    # It has the tag person, with its threshold.
    photo = [photo_case(0, ROOT / "docs/images/astronaut.jpg")]
    for name, bank in banks.items():
        bank.save(tmp_path / f"{name}.safetensors")
        compare(
            plan,
            runtime,
            photo,
            tmp_path,
            tmp_path / f"{name}.safetensors",
            tiles=(2, 2),
        )


def changed(**changes: Any) -> bytes:
    """A bank with other arguments, arrays or provenance, which need not be valid."""
    bank = random_bank(
        3, 0, **{name: changes.pop(name) for name in ("width", "depth") if name in changes}
    )
    arrays, text, names = bank.arrays(), dict(bank.text), list(bank.names)
    for name, value in changes.items():
        if name == "names":
            names = value
        elif name in arrays:
            arrays[name] = np.asarray(value(arrays[name]), arrays[name].dtype)
        else:
            text[name] = value
    return to_safetensors(arrays, names, text)


def without(name: str) -> bytes:
    bank = random_bank(3, 0)
    arrays = {key: value for key, value in bank.arrays().items() if key != name}
    return to_safetensors(arrays, bank.names, bank.text)


def in_one_place(first: str, second: str) -> bytes:
    """A bank with two tensors of one shape in the place of the last one."""
    bank = random_bank(3, 0)
    arrays = {name: array for name, array in bank.arrays().items() if name not in (first, second)}
    data = to_safetensors({**arrays, first: bank.arrays()[first]}, bank.names, bank.text)
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    head = json.dumps({**header, second: header[first]}).encode()
    return len(head).to_bytes(8, "little") + head + data[8 + length :]


def with_zero_byte() -> bytes:
    """A bank whose header goes on after its end."""
    data = changed()
    length = int.from_bytes(data[:8], "little")
    return (length + 4).to_bytes(8, "little") + data[8 : 8 + length] + b"\0{{{" + data[8 + length :]


BANKS: dict[str, tuple[bytes, str]] = {
    "fits": (changed(), ""),
    "no weights": (without("weights"), ""),
    "no gains": (without("gains"), ""),
    "no biases": (without("biases"), ""),
    "no precise thresholds": (without("precise_thresholds"), ""),
    "no embeddings": (without("embeddings"), ": expected a tensor embeddings, got none"),
    "other features, no weights": (
        to_safetensors({"embeddings": np.ones((1, WIDTH), np.float16), "thresholds": np.float32([0.5])}, ["a"],
                       {"space": SPACE, "features": "others"}), "",
    ),
    "another space": (changed(space="another"), f": expected a bank made for {SPACE}, got one made for another"),
    "no space": (changed(space=None), f": expected a bank made for {SPACE}, got one made for another model"),
    "a space that is no name": (changed(space=3), ".text.space: expected a name, got number"),
    "other features": (changed(features="x"), f": expected labels taught on the features of {FEATURES}, got on those"),
    "features that are no name": (changed(features=[FEATURES]), ": expected labels taught on the features of tiny"),
    "tensors in one place": (in_one_place("gains", "biases"), ": expected tensors one after the other, got gaps or ov"),
    "embeddings too wide": (changed(width=WIDTH + 1), f": expected embeddings of width {WIDTH}, got {WIDTH + 1}"),
    "weights too wide": (changed(depth=DEPTH + 1), f": expected weights of width {DEPTH}, got {DEPTH + 1}"),
    "weights without width": (changed(weights=lambda array: array[:, :0]), f": expected weights of width {DEPTH}"),
    "too many labels": (random_bank(MAX + 1, 0).to_bytes(), f": expected at most {MAX} labels, got {MAX + 1}"),
    "a name twice": (changed(names=["a", "a", "b"]), ".names: expected a list of distinct label names"),
    "a control character": (changed(names=["a", "b", "c\x1b"]), ".names: expected texts without control characters"),
    "taught of another type": (changed(taught=[]), ".text.taught: expected an object, got array"),
    "taught labels of another type": (changed(taught={"label 0": 3}), ".text.taught: expected an object of obj"),
    "a score of 1": (changed(biases=lambda array: array + 900), ": expected scores between 0 and 1 for the golden"),
    "a score of 0": (changed(biases=lambda array: array - 900), ": expected scores between 0 and 1 for the golden"),
    "values that are too large": (changed(gains=lambda array: array * 2000), ": expected gains of at most 1000"),
    "not a number": (changed(weights=lambda array: array * np.nan), ": expected weights of at most 1000"),
    "a threshold of 1": (changed(thresholds=lambda array: array * 0 + 1), ": expected thresholds between 0 and 1"),
    "a precise threshold below": (changed(precise_thresholds=lambda array: array * 0 + 0.01), ": expected thresholds"),
    "a long header": ((10**8 + 1).to_bytes(8, "little") + bytes(10**8 + 1), ": expected a header of at most"),
    "a zero byte": (with_zero_byte(), ": expected valid JSON, got a zero byte"),
    "empty": (b"", ": expected 1 to "),
    "not a bank": (b"x" * 100, ": expected a header, got one beyond the end"),
}  # fmt: skip


def python_refuses(tagger: Tagger, path: Path) -> bool:
    try:
        tagger.set_labels(LabelBank.load(path))
    except (errors.LabelBankError, errors.NotSignedError):
        return True
    return False


@pytest.mark.parametrize("kind", ["runtime", "sanitized"])
def test_both_refuse_the_same_banks(
    kind: str, request: pytest.FixtureRequest, open_plan: Path, tmp_path: Path
) -> None:
    path = tmp_path / "bank.safetensors"
    with (
        opener(request.getfixturevalue(kind), open_plan) as set_labels,
        Tagger(open_plan) as tagger,
    ):
        for name, (data, expected) in BANKS.items():
            path.write_bytes(data)
            status, message = set_labels(path)
            assert (status, message[: len(f"{path}{expected}")]) == (
                (INVALID, f"{path}{expected}") if expected else (OK, "")
            ), name
            assert python_refuses(tagger, path) == (status != OK), name


def test_files_that_are_missing_or_of_another_kind(
    open_plan: Path, runtime: Runtime, bank_path: Path
) -> None:
    with opener(runtime, open_plan) as set_labels:
        assert set_labels(bank_path) == (OK, "")
        bank_path.unlink()
        assert set_labels(bank_path) == (
            NOT_FOUND,
            f"{bank_path}: expected a readable file, got No such file or directory",
        )
        os.mkfifo(bank_path)
        assert set_labels(bank_path) == (
            NOT_FOUND,
            f"{bank_path}: expected a regular file, got another kind of file",
        )
        bank_path.unlink()
        with bank_path.open("wb") as file:
            file.truncate(2**28 + 1)  # sparse
        assert set_labels(bank_path) == (
            INVALID,
            f"{bank_path}: expected 1 to {2**28} bytes, got {2**28 + 1}",
        )


FORK = """
import ctypes, os, sys
library, tagger = ctypes.CDLL(sys.argv[1]), ctypes.c_void_p()
library.pvlr_last_error.restype = ctypes.c_char_p
assert library.pvlr_open(sys.argv[2].encode(), None, ctypes.byref(tagger)) == 0
if os.fork() == 0:
    status = library.pvlr_set_labels(tagger, sys.argv[3].encode())
    print(status, library.pvlr_last_error().decode(), flush=True)
    os._exit(0)
os.wait()
"""


def test_a_fork_has_no_labels_to_set(open_plan: Path, runtime: Runtime, bank_path: Path) -> None:
    """The engine's threads do not exist there: it would wait without end."""
    command = [sys.executable, "-c", FORK, runtime.prefix / "lib/libpvlr.so", open_plan, bank_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout == "1 tagger: expected one opened in this process, got one from a fork\n"


def test_a_closed_plan_keeps_its_labels(runtime: Runtime, plan: Path, bank_path: Path) -> None:
    with opener(runtime, plan) as set_labels:
        assert set_labels(bank_path) == (
            UNSUPPORTED, f"{plan}: expected an open plan, got one whose labels are part of it"
        )  # fmt: skip


def test_every_changed_byte_and_cut_is_decided_as_in_python(
    open_plan: Path, runtime: Runtime, bank_path: Path
) -> None:
    """Most changes of a value give another valid bank: nothing but a signature finds them."""
    data = bank_path.read_bytes()
    with opener(runtime, open_plan) as set_labels, Tagger(open_plan) as tagger:
        for position in range(0, len(data), STEP):
            for variant in (flip(data, position, position % 8), data[:position]):
                bank_path.write_bytes(variant)
                status, message = set_labels(bank_path)
                assert (status != OK) == python_refuses(tagger, bank_path), message
                assert status in (OK, INVALID), message


def test_nothing_is_allocated_once_warm(open_plan: Path, runtime: Runtime) -> None:
    assert runtime.run("allocations", open_plan).startswith("own 0, engine ")


def test_hashes_of_an_open_bundle(open_plan: Path, runtime: Runtime, tmp_path: Path) -> None:
    """Its own bank must fit, too."""
    plan = shutil.copytree(open_plan.parent, tmp_path / "own") / "engine.plan"
    data = LabelBank.load(plan.with_suffix(".labels.safetensors"))
    other = LabelBank(
        data.names, data.embeddings, data.thresholds, {"space": "other"}, biases=data.biases
    ).to_bytes()
    plan.with_suffix(".labels.safetensors").write_bytes(other)
    with opener(runtime) as open_bundle:
        assert open_bundle(plan)[0] == INVALID
        files = {"bytes": len(other), "sha256": hashlib.sha256(other).hexdigest()}
        edit_manifest(plan, lambda manifest: manifest["files"].update(labels=files))
        status, message = open_bundle(plan)
    assert (status, message) == (
        INVALID,
        f"{plan}: expected a bank made for {SPACE}, got one made for another model",
    )
