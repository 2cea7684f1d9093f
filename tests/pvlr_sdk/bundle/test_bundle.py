"""Bundles: each kind of damage raises its own error, and a failed write leaves no partial files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import errors
from pvlr_sdk.bundle.bundle import labels_path, manifest_path, read_manifest, write_bundle
from pvlr_sdk.bundle.label_bank import LabelBank
from pvlr_sdk.bundle.manifest import Manifest
from pvlr_sdk.models.find import default_plan, load_bundle
from tests.manifests import edit_manifest


def describe_anew(plan: Path, role: str, path: Path) -> None:
    """Update the manifest's size and hash of a file, so that only its contents are wrong."""
    data = path.read_bytes()
    spec = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    edit_manifest(plan, lambda manifest: manifest["files"].update({role: spec}))


def contents(plan: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in plan.parent.iterdir()}


def replace_bank(plan: Path, **changes: Any) -> None:
    bank = LabelBank.load(labels_path(plan))
    for name, value in changes.items():
        setattr(bank, name, value)
    labels_path(plan).write_bytes(bank.to_bytes())
    describe_anew(plan, "labels", labels_path(plan))


class TestOpen:
    def test_a_good_one(self, plan: Path, exported: Any) -> None:
        bundle = load_bundle(plan)
        assert bundle.payload == exported.onnx.read_bytes() == plan.read_bytes()
        assert bundle.labels.names == [label.name for label in bundle.manifest.labels]
        assert load_bundle(str(plan)).manifest == read_manifest(plan)

    def test_missing_plan(self, own_plan: Path) -> None:
        own_plan.unlink()
        for path in (own_plan, own_plan.parent):
            with pytest.raises(errors.PlanNotFoundError):
                load_bundle(path)

    @pytest.mark.parametrize(
        ("file", "error"),
        [(manifest_path, errors.ManifestNotFoundError), (labels_path, errors.LabelBankError)],
    )
    def test_missing_part(
        self, own_plan: Path, file: Callable[[Path], Path], error: type[errors.BundleError]
    ) -> None:
        file(own_plan).unlink()
        with pytest.raises(error):
            load_bundle(own_plan)

    def test_newer_manifest(self, own_plan: Path) -> None:
        # A newer format may have fields that this version does not know: the error is "newer", not "unknown field".
        edit_manifest(own_plan, lambda manifest: manifest.update(format=4, signature="..."))
        with pytest.raises(errors.ManifestVersionError, match="format 4"):
            load_bundle(own_plan)

    @pytest.mark.parametrize(
        "change",
        [
            lambda manifest: manifest.pop("labels"),
            lambda manifest: manifest.pop("golden"),
            lambda manifest: manifest.update(unknown=1),
            lambda manifest: manifest.update(format=0),
            lambda manifest: manifest.update(format="1.5"),
            lambda manifest: manifest.update(backend="onnxruntime"),
            lambda manifest: manifest["input"].update(std=[0, 1, 1]),
            lambda manifest: manifest["input"].update(std=[float("nan"), 1, 1]),
            lambda manifest: manifest["input"].update(width=-1),
            lambda manifest: manifest["labels"].append(manifest["labels"][0]),
            lambda manifest: manifest["labels"][0].update(threshold=1.5),
            lambda manifest: manifest["golden"]["logits"].pop(),
            lambda manifest: manifest["files"].pop("labels"),
            lambda manifest: manifest["files"]["plan"].update(sha256="short"),
        ],
    )
    def test_invalid_manifest(
        self, own_plan: Path, change: Callable[[dict[str, Any]], object]
    ) -> None:
        edit_manifest(own_plan, change)
        with pytest.raises(errors.ManifestError):
            load_bundle(own_plan)

    @pytest.mark.parametrize(
        "text", [b"", b"{", b"\xff\xfe\x00", b"[]", b"null", b"[" * 200_000, b'"text"']
    )
    def test_manifest_that_is_no_manifest(self, own_plan: Path, text: bytes) -> None:
        manifest_path(own_plan).write_bytes(text)
        with pytest.raises(errors.ManifestError):
            load_bundle(own_plan)

    @pytest.mark.parametrize("file", [Path, labels_path])
    @pytest.mark.parametrize(
        "change", [lambda data: data[:-1], lambda data: data + b"\0", lambda data: b""]
    )
    def test_wrong_size(
        self, own_plan: Path, file: Callable[[Path], Path], change: Callable[[bytes], bytes]
    ) -> None:
        path = file(own_plan)
        path.write_bytes(change(path.read_bytes()))
        with pytest.raises(errors.FileSizeError):
            load_bundle(own_plan)

    @pytest.mark.parametrize("file", [Path, labels_path])
    @pytest.mark.parametrize("position", [0, -1, 0.5])
    def test_one_flipped_bit(
        self, own_plan: Path, file: Callable[[Path], Path], position: float
    ) -> None:
        path = file(own_plan)
        data = bytearray(path.read_bytes())
        data[int(position * len(data)) if position == 0.5 else int(position)] ^= 1
        path.write_bytes(data)
        with pytest.raises(errors.FileHashError):
            load_bundle(own_plan)


class TestLabelBank:
    @pytest.mark.parametrize(
        "changes",
        [
            {"embeddings": np.zeros((4, 16), np.float16)},
            {"embeddings": np.zeros((5, 16, 1), np.float16)},
            {"thresholds": np.full(4, 0.5, np.float32)},
            {"thresholds": np.full((5, 1), 0.5, np.float32)},
            {"thresholds": np.full(5, np.nan, np.float32)},
            {"names": ["a", "b", "c", "d"]},
            {"names": ["a", "b", "c", "d", "d"]},
            {"names": ["person", "cat", "rocket", "coffee cup", "dining table"]},
            {
                "names": ["a", "b"],
                "embeddings": np.zeros((2, 16), np.float16),
                "thresholds": np.full(2, 0.5, np.float32),
            },
        ],
    )
    def test_wrong_contents_with_the_right_hash(
        self, own_plan: Path, changes: dict[str, Any]
    ) -> None:
        replace_bank(own_plan, **changes)
        with pytest.raises(errors.LabelBankError):
            load_bundle(own_plan)

    @pytest.mark.parametrize("precise", [0.4, 1.0, 1.5, np.nan])
    def test_precise_thresholds_are_from_the_threshold_to_below_1(self, precise: float) -> None:
        embeddings = np.ones((2, 16), np.float16)
        thresholds = np.full(2, 0.5, np.float32)
        for row, valid in ((0, 0.5), (1, 0.99)):
            both = np.full(2, valid, np.float32)
            LabelBank(["a", "b"], embeddings, thresholds, precise_thresholds=both)
            both[row] = precise
            with pytest.raises(errors.LabelBankError, match="precise_thresholds"):
                LabelBank(["a", "b"], embeddings, thresholds, precise_thresholds=both)

    def test_labels_of_two_banks_are_the_same_if_all_their_values_are(self) -> None:
        def bank(weight: float | None) -> LabelBank:
            weights = None if weight is None else np.full((1, 3), weight, np.float16)
            return LabelBank(
                ["a"], np.ones((1, 16), np.float16), np.full(1, 0.5, np.float32), weights=weights
            )

        assert bank(None).join(bank(0)).names == ["a"]
        for first, second in ((None, 1), (0, 1), (1, 2)):
            with pytest.raises(errors.LabelBankError, match="other values of 'a'"):
                bank(first).join(bank(second))

    def test_wrong_dtype_with_the_right_hash(self, own_plan: Path) -> None:
        from safetensors.numpy import save

        names = json.dumps(LabelBank.load(labels_path(own_plan)).names)
        tensors = {
            "embeddings": np.zeros((5, 16), np.float32),
            "thresholds": np.full(5, 0.5, np.float32),
        }
        labels_path(own_plan).write_bytes(save(tensors, {"names": names}))
        describe_anew(own_plan, "labels", labels_path(own_plan))
        with pytest.raises(errors.LabelBankError, match="float16"):
            load_bundle(own_plan)

    @pytest.mark.parametrize(
        "data", [b"x", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{}", b"\x08\0\0\0\0\0\0\0garbage!"]
    )
    def test_no_label_bank_with_the_right_hash(self, own_plan: Path, data: bytes) -> None:
        labels_path(own_plan).write_bytes(data)
        describe_anew(own_plan, "labels", labels_path(own_plan))
        with pytest.raises(errors.LabelBankError):
            load_bundle(own_plan)

    def test_written_and_read_again(self, tmp_path: Path) -> None:
        from safetensors import safe_open

        random = np.random.default_rng(0)
        names = ["café", 'a "quoted" one', "日本"]
        thresholds = np.array([0.1, 0.5, 0.9], np.float32)
        bank = LabelBank(
            names, random.normal(size=(3, 7)).astype(np.float16), thresholds, {"encoder": "x"}
        )
        bank.save(tmp_path / "a.labels.safetensors")
        again = LabelBank.load(tmp_path / "a.labels.safetensors")
        assert (again.names, again.text) == (names, {"encoder": "x"})
        np.testing.assert_array_equal(again.embeddings, bank.embeddings)
        np.testing.assert_array_equal(again.thresholds, thresholds)
        assert again.to_bytes() == bank.to_bytes()
        # The safetensors package itself must agree that this is its format.
        with safe_open(tmp_path / "a.labels.safetensors", "numpy") as file:
            np.testing.assert_array_equal(file.get_tensor("embeddings"), bank.embeddings)
            assert json.loads(file.metadata()["names"]) == names

    @pytest.mark.slow
    def test_each_bit_of_the_labels_in_the_manifest(self, own_plan: Path) -> None:
        """Names and thresholds are in the label bank too, whose hash is in the manifest."""
        data, before = manifest_path(own_plan).read_bytes(), load_bundle(own_plan).manifest
        start = data.index(b'"labels": [')
        for position in range(start, data.index(b"]", start)):
            for bit in range(8):
                changed = bytes([data[position] ^ 1 << bit])
                manifest_path(own_plan).write_bytes(
                    data[:position] + changed + data[position + 1 :]
                )
                with contextlib.suppress(errors.BundleError):
                    assert load_bundle(own_plan).manifest == before  # white space

    def test_a_manifest_of_version_0_2_0_has_a_checksum_of_itself(self, own_plan: Path) -> None:
        before = read_manifest(own_plan)
        edit_manifest(own_plan, lambda raw: raw.update(checksum="0" * 64))
        assert read_manifest(own_plan) == before

    def test_index_suggests_the_closest_name(self, plan: Path) -> None:
        bank = LabelBank.load(labels_path(plan))
        assert bank.index("coffee cup") == 2
        with pytest.raises(errors.UnknownLabelError, match="Did you mean 'rocket'"):
            bank.index("rockets")
        with pytest.raises(errors.UnknownLabelError):
            bank.index("zzzzzz")


WRITE_WITH_LITTLE_ROOM = """
import resource, signal, sys
from pvlr_sdk import errors
from dataclasses import replace
from pvlr_sdk.bundle.bundle import write_bundle
from pvlr_sdk.models.find import load_bundle

bundle = load_bundle(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # past the limit, write() then fails as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    write_bundle(replace(bundle, payload=bundle.payload * 2))
except errors.PvlrError as error:
    print(type(error).__name__)
"""


class TestWrite:
    @pytest.mark.slow
    @pytest.mark.parametrize("limit", [100, 4000, 9000])
    def test_full_disk_leaves_the_old_bundle(self, own_plan: Path, limit: int) -> None:
        before = contents(own_plan)
        assert limit < 2 * len(before[own_plan.name])
        command = [sys.executable, "-c", WRITE_WITH_LITTLE_ROOM, str(own_plan), str(limit)]
        assert (
            subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
            == "OutputError\n"
        )
        assert contents(own_plan) == before
        load_bundle(own_plan)

    def test_folder_that_cannot_be(self, plan: Path, tmp_path: Path) -> None:
        bundle = load_bundle(plan)
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(errors.OutputError):
            write_bundle(replace(bundle, path=tmp_path / "file" / "engine.plan"))
        (tmp_path / "engine.plan").mkdir()
        with pytest.raises(errors.OutputError):
            write_bundle(replace(bundle, path=tmp_path / "engine.plan"))
        assert not list(tmp_path.glob(".*.tmp"))

    def test_invalid_manifest_is_not_written(self, own_plan: Path) -> None:
        bundle = load_bundle(own_plan)
        before = contents(own_plan)
        with pytest.raises(errors.ManifestError):
            write_bundle(replace(bundle, manifest=Manifest.model_construct(name="half a manifest")))
        assert contents(own_plan) == before


def test_without_the_bundled_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pvlr_sdk.models.find._DEFAULT_MODEL", "no-such-model")
    with pytest.raises(errors.PlanNotFoundError, match="Tagger"):
        default_plan()


@pytest.mark.parametrize(
    "kind", [errors.FileHashError, errors.UnknownLabelError, errors.PlanNotFoundError]
)
def test_errors_survive_pickling(kind: type[errors.PvlrError]) -> None:
    import pickle

    error = kind("plan", expected="this", got="that", hint="Do it.")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error) == "plan: expected this, got that. Do it."
