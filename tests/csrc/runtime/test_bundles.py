"""libpvlr refuses bundles that are damaged, hostile or not for it, and names what is wrong."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk.bundle.bundle import labels_path, manifest_path, write_thresholds
from pvlr_sdk.errors import LabelBankError
from pvlr_sdk.models.find import load_bundle
from tests.manifests import edit_manifest, read_raw
from tests.networks import changed, replace_payload

from .conftest import ENVIRONMENT, Runtime

pytestmark = pytest.mark.slow

OK, NOT_FOUND, INVALID, UNSUPPORTED, SELF_TEST = 0, 2, 3, 4, 5
# One in this many bytes of the tiny bundle; 1 also changes each of their 8 bits.
STEP = int(os.environ.get("PVLR_DAMAGE_STEP", "41"))
Open = Callable[[Path], tuple[int, str]]


@contextlib.contextmanager
def opener(runtime: Runtime, *plan: Path, **environment: str) -> Iterator[Open]:
    """Opens plans one after the other in one process, or sets label banks in ``plan``: status and message."""
    pipes: dict[str, Any] = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "env": ENVIRONMENT | environment,
    }
    with subprocess.Popen([runtime.programs / "open_each", *plan], text=True, **pipes) as process:

        def open_plan(plan: Path) -> tuple[int, str]:
            process.stdin.write(f"{plan}\n")
            process.stdin.flush()
            status, _, message = process.stdout.readline().partition(" ")
            return int(status), message.strip()

        yield open_plan
        process.stdin.close()
        assert process.wait() == 0


def flip(data: bytes, position: int, bit: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1 << bit]) + data[position + 1 :]


@pytest.mark.parametrize("kind", ["runtime", "sanitized"])
def test_damage_is_refused(kind: str, request: pytest.FixtureRequest, bundle: Path) -> None:
    """Flipped bits and cuts at 200 positions of the two files that have a hash."""
    choose = random.Random(0)
    with opener(request.getfixturevalue(kind)) as open_plan:
        for path in (bundle, labels_path(bundle)):
            data = path.read_bytes()
            for number in range(100):
                position, cut = choose.randrange(len(data)), number % 3 == 0
                path.write_bytes(
                    data[:position] if cut else flip(data, position, choose.randrange(8))
                )
                status, message = open_plan(bundle)
                assert (status, str(bundle.with_suffix("")) in message) == (INVALID, True), message
            path.write_bytes(data)
        assert open_plan(bundle) == (OK, "")


def test_every_byte_changed_and_every_cut(runtime: Runtime, own_plan: Path) -> None:
    """Each is refused, in the files that have a hash."""
    for path in (own_plan, labels_path(own_plan)):
        step, bits = STEP, 8 if STEP == 1 else 1
        out = runtime.run("damage", own_plan.parent, path.name, step, bits, timeout=None)
        print(path.name, out)
        positions = -(-path.stat().st_size // step)
        assert json.loads(out) == {
            "changed": {str(INVALID): positions * bits},
            "cut": {str(INVALID): positions},
        }


def test_names_and_thresholds_are_those_of_the_label_bank(runtime: Runtime, own_plan: Path) -> None:
    """libpvlr refuses what Python refuses, and reads manifests of 0.2.0, which have a checksum of themselves."""
    text = manifest_path(own_plan).read_bytes()
    other = b"expected the labels and thresholds of the manifest, got others"
    cases = [
        (text.replace(b"{", b'{"checksum": "%s",' % (b"0" * 64), 1), OK, b""),
        (text.replace(b'"threshold": 0.', b'"threshold": 0.0', 1), INVALID, other),
        (text.replace(b'"name": "rocket"', b'"name": "pocket"', 1), INVALID, other),
    ]
    with opener(runtime) as open_plan:
        for data, status, expected in cases:
            assert data != text
            manifest_path(own_plan).write_bytes(data)
            got, message = open_plan(own_plan)
            assert (got, expected.decode() in message) == (status, True), message
            with contextlib.nullcontext() if status == OK else pytest.raises(LabelBankError):
                load_bundle(own_plan)


def no_tolerance(manifest: dict[str, Any]) -> None:
    manifest["golden"]["tolerance"] = {"fp16": 0.1}


def without(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda manifest: manifest.pop(name)


def with_(value: object, *path: str | int) -> Callable[[dict[str, Any]], object]:
    def change(manifest: Any) -> None:
        for name in path[:-1]:
            manifest = manifest[name]
        manifest[path[-1]] = value

    return change


def tiled(tiles: object) -> Callable[[dict[str, Any]], object]:
    def change(manifest: dict[str, Any]) -> None:
        manifest.update(format=3, tiles=tiles)
        for label in manifest["labels"]:
            label["precise_threshold"] = label["threshold"]

    return change


OPEN = {"max_labels": 80, "width": 8, "space": "tiny", "feature_width": 8, "features": "tiny"}
MANIFESTS = [
    (lambda manifest: None, OK, ""),
    (with_(4, "format"), UNSUPPORTED, ": expected manifest format 3 or older, got format 4"),
    (tiled(None), INVALID, ".tiles: expected an object, got null"),
    (tiled({}), INVALID, ".tiles: expected a layout in format 3, got none"),
    (tiled({"2x2": {}}), INVALID, ".tiles.2x2.f1: expected a value, got none"),
    (tiled({"2x": {}}), INVALID, '.tiles: expected known members, got "2x"'),
    (with_({}, "tiles"), INVALID, ': expected known members, got "tiles"'),
    (with_("tensorrt", "backend"), INVALID, ".tensorrt: expected a value, got none"),
    (with_({}, "open"), INVALID, ".open.max_labels: expected a value, got none"),
    (
        with_(OPEN, "open"),
        INVALID,
        "engine.plan: expected one input named labels too, got other inputs",
    ),
    (
        with_({**OPEN, "max_labels": 19}, "open"),
        INVALID,
        ".open: expected at most max_labels labels, got more",
    ),
    (
        lambda manifest: manifest.update(open=OPEN, tensorrt={}, backend="tensorrt"),
        UNSUPPORTED,
        ": expected a closed plan for TensorRT, as pvlr build --bank makes it, got an open one",
    ),
    (
        with_({**OPEN, "width": 2**14}, "open"),
        INVALID,
        ".open.width: expected from 1 to 8192, got 16384",
    ),
    (
        with_({**OPEN, "space": "x" * 900}, "open"),
        INVALID,
        ".open.space: expected at most 200 characters, got more",
    ),
    (
        with_("onnxruntime", "backend"),
        INVALID,
        ".backend: expected one of openvino, tensorrt, got onnxruntime",
    ),
    (with_({}, "tensorrt"), INVALID, ".tensorrt: expected none for the backend openvino, got one"),
    (without("input"), INVALID, ".input: expected a value, got none"),
    (with_(1, "surprise"), INVALID, ': expected known members, got "surprise"'),
    (with_(1, "input", "surprise"), INVALID, '.input: expected known members, got "surprise"'),
    (with_(0, "input", "width"), INVALID, ".input.width: expected from 1 to 8192, got 0"),
    (with_(2**63, "input", "width"), INVALID, ".input.width: expected an integer, got 9.22337e+18"),
    (with_(288.5, "input", "height"), INVALID, ".input.height: expected an integer, got 288.5"),
    (
        with_("crop", "input", "resize"),
        INVALID,
        ".input.resize: expected one of stretch, letterbox, got crop",
    ),
    (with_([1, 2], "input", "mean"), INVALID, ".input.mean: expected 3 numbers, got 2"),
    (
        with_([1, 2, 0], "input", "std"),
        INVALID,
        ".input.std: expected numbers from 0.001 to 100000, got 0",
    ),
    (with_([], "labels"), INVALID, ".labels: expected 1 to 100000 labels, got 0"),
    (with_({}, "labels"), INVALID, ".labels: expected a list, got object"),
    (
        with_("cat", "labels", 0, "name"),
        INVALID,
        ".labels: expected distinct names, got 'cat' twice",
    ),
    (
        with_("\x1b[31m", "labels", 3, "name"),
        INVALID,
        ".json: expected texts without control characters, got one",
    ),
    (
        with_("\x00", "labels", 3, "name"),
        INVALID,
        ".json: expected texts without control characters, got one",
    ),
    (
        with_("\x85", "labels", 3, "name"),
        INVALID,
        ".json: expected texts without control characters, got one",
    ),
    (
        with_("\u202e", "labels", 3, "name"),
        INVALID,
        ".json: expected texts without control characters, got one",
    ),
    (
        with_("\u2066", "labels", 3, "name"),
        INVALID,
        ".json: expected texts without control characters, got one",
    ),
    (
        with_("unicorn", "labels", 0, "name"),
        INVALID,
        ": expected the labels and thresholds of the manifest",
    ),
    (
        with_(1, "labels", 0, "threshold"),
        INVALID,
        ".labels.0.threshold: expected between 0 and 1, got 1",
    ),
    (
        with_(0.9, "labels", 0, "precise_threshold"),
        INVALID,
        ".labels.0.precise_threshold: expected none in format 1",
    ),
    (with_(2, "format"), INVALID, ".labels.0.precise_threshold: expected a value, got none"),
    (
        with_("0" * 63 + "G", "files", "plan", "sha256"),
        INVALID,
        ".files.plan.sha256: expected 64 digits",
    ),
    (with_([0], "golden", "logits"), INVALID, ".golden.logits: expected 80 numbers, got 1"),
    (with_([9, -9] * 40, "golden", "logits"), SELF_TEST, ": expected golden logits within "),
    (
        with_(0.2, "golden", "tolerance", "fp32"),
        INVALID,
        ".golden.tolerance.fp32: expected from 0 to 0.1, got 0.2",
    ),
    (no_tolerance, SELF_TEST, ": expected a tolerance of the golden logits for "),
    (
        with_("?", "golden", "frame_png"),
        INVALID,
        ".golden.frame_png: expected a PNG in base64, got invalid base64",
    ),
    (with_("aGVsbG8h", "golden", "frame_png"), INVALID, ".golden.frame_png: expected a PNG, got "),
    (
        with_("conv_9", "fp32_until"),
        INVALID,
        "engine.plan: expected a tensor named conv_9, got none",
    ),
    (
        with_(8, "attention", "rows"),
        INVALID,
        "engine.plan: expected similarity of shape [1,72,80], got [1,81,80]",
    ),
]


def test_each_invalid_manifest_has_its_message(runtime: Runtime, bundle: Path) -> None:
    opened = load_bundle(bundle)
    write_thresholds(opened, opened.labels.thresholds)  # format 1
    original, deep = manifest_path(bundle).read_text(), read_raw(bundle)
    with opener(runtime) as open_plan:
        for change, status, expected in MANIFESTS:
            manifest_path(bundle).write_text(original)
            edit_manifest(bundle, change)
            got, message = open_plan(bundle)
            assert (got, expected in message) == (status, True), message
        deep["input"]["mean"] = ["deep", 1, 2]
        nested = json.dumps(deep).replace('"deep"', "[" * 1_000_000 + "]" * 1_000_000)
        for text in (
            "",
            "[]",
            "{",
            "nan",
            "[" * 100_000,
            nested,
            '{"format": 1e999}',
            '{"name": "\\ud800"}',
        ):
            manifest_path(bundle).write_text(text)
            assert open_plan(bundle)[0] == INVALID


def test_files_that_are_missing_or_of_another_kind(runtime: Runtime, bundle: Path) -> None:
    with opener(runtime) as open_plan:
        assert open_plan(bundle.parent) == (OK, "")
        for path in (bundle, manifest_path(bundle), labels_path(bundle)):
            data = path.read_bytes()
            path.unlink()
            what = "a plan, or a folder with engine.plan" if path == bundle else "a readable file"
            assert open_plan(bundle) == (
                NOT_FOUND,
                f"{path}: expected {what}, got No such file or directory",
            )
            path.mkdir()
            assert open_plan(bundle)[0] == NOT_FOUND
            path.rmdir()
            os.mkfifo(path)
            assert open_plan(bundle) == (
                NOT_FOUND,
                f"{path}: expected a regular file, got another kind of file",
            )
            path.unlink()
            path.write_bytes(data)


def test_networks_that_are_not_those_of_a_plan(runtime: Runtime, bundle: Path) -> None:
    """With hashes that fit: what a builder of bundles could have made."""

    def renamed(model: Any) -> None:
        for node in model.graph.node:
            node.input[:] = ["picture" if name == "image" else name for name in node.input]
        model.graph.input[0].name = "picture"

    plain = "an ONNX network as pvlr export writes it, with its weights inside"
    original = bundle.read_bytes()
    cases = [
        (b"\x08", "an ONNX network, got other or incomplete data"),
        (original[:-100], f"{plain}, got a Model that ends early"),
        (changed(original, renamed), "one input named image, got other inputs"),
        (
            changed(original, lambda model: model.graph.output.pop()),
            "an output named similarity, got others",
        ),
    ]
    with opener(runtime) as open_plan:
        for data, message in cases:
            replace_payload(bundle, data)
            assert open_plan(bundle) == (INVALID, f"{bundle}: expected {message}")
