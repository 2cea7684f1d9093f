"""Building: the plan computes what the network computes; networks that are not PVLR's are rejected."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from pvlr_sdk import Tagger, errors
from pvlr_sdk.backends.openvino import OpenVinoBackend
from pvlr_sdk.bundle.bundle import labels_path
from pvlr_sdk.bundle.label_bank import LabelBank
from pvlr_sdk.cli import app
from pvlr_sdk.inference.golden import decode, default_frame, encode
from pvlr_sdk.models.find import load_bundle
from pvlr_sdk.workshop.compile.build import build
from pvlr_sdk.workshop.compile.builder import Reference
from pvlr_sdk.workshop.compile.calibration import CalibrationImages
from pvlr_sdk.workshop.compile.export import export_as
from pvlr_sdk.workshop.compile.exported import read_exported
from pvlr_sdk.workshop.compile.tensorrt_options import BuildOptions
from tests.preprocess_reference import preprocess_reference


def test_manifest_says_what_was_built(exported: Any, tmp_path: Path) -> None:
    plan = tmp_path / "deep" / "folder" / "engine.plan"
    manifest = build(exported.onnx, plan, precision="fp32")
    files = ["engine.json", "engine.labels.safetensors", "engine.plan"]
    assert sorted(path.name for path in plan.parent.iterdir()) == files
    assert plan.read_bytes() == exported.onnx.read_bytes()
    assert manifest == load_bundle(plan).manifest
    assert manifest.precision == "fp32"
    assert manifest.backend == "openvino"
    assert manifest.name == "tiny"
    assert [label.threshold for label in manifest.labels] == [0.3, 0.375, 0.45, 0.525, 0.6]
    assert manifest.built["onnx_sha256"] == hashlib.sha256(plan.read_bytes()).hexdigest()
    assert manifest.built["source"] == {"checkpoint": "made by the tests"}
    assert {"pvlr_sdk", "openvino", "machine", "time"} <= set(manifest.built)
    assert Tagger(plan).info["precision"] == "fp32"


def test_golden_logits_are_the_networks(exported: Any, plan: Path) -> None:
    manifest = load_bundle(plan).manifest
    image = preprocess_reference(default_frame(), "bgr", manifest.input)
    np.testing.assert_allclose(
        manifest.golden.logits, exported.weights.forward(image)[0], atol=2e-4
    )
    if "golden_bf16_difference" in manifest.measured:
        assert 0 < manifest.measured["golden_bf16_difference"] <= manifest.golden.tolerance["bf16"]


def test_golden_picture_never_changes() -> None:
    """Existing plans carry it; the same frame keeps their numbers comparable."""
    assert default_frame().shape == (64, 64, 3)
    np.testing.assert_array_equal(decode(encode(default_frame()), ""), default_frame())
    assert len({tuple(pixel) for pixel in default_frame().reshape(-1, 3)}) > 500


def test_the_same_input_gives_the_same_plan_and_label_bank(exported: Any, tmp_path: Path) -> None:
    first = build(exported.onnx, tmp_path / "a" / "engine.plan")
    second = build(exported.onnx, tmp_path / "b" / "engine.plan")
    assert first.files == second.files


def test_label_bank_elsewhere(exported: Any, tmp_path: Path) -> None:
    bank = LabelBank.load(labels_path(exported.onnx))
    renamed = LabelBank(["a", "b", "c", "d", "e"], bank.embeddings, bank.thresholds)
    renamed.save(tmp_path / "other.safetensors")
    build(exported.onnx, tmp_path / "engine.plan", bank=tmp_path / "other.safetensors")
    assert Tagger(tmp_path / "engine.plan").labels == ["a", "b", "c", "d", "e"]


class TestRefused:
    @pytest.mark.parametrize("spec", [{}, {"name": "half"}, {"format": 1}])
    def test_metadata(
        self, make_network: Callable[..., Any], tmp_path: Path, spec: dict[str, Any]
    ) -> None:
        network = make_network(tmp_path, spec=spec)
        with pytest.raises(errors.ModelError):
            build(network.onnx, tmp_path / "engine.plan")

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (lambda fields: fields.update(format=2), "format 2"),
            (lambda fields: fields["attention"].update(rows=5), "similarity"),
            (lambda fields: fields["attention"].update(columns=9), "similarity"),
            (lambda fields: fields["input"].update(width=7), None),
        ],
        ids=["newer", "rows", "columns", "an input size that the network cannot take"],
    )
    def test_metadata_of_another_network(
        self,
        make_network: Callable[..., Any],
        tmp_path: Path,
        plan: Path,
        change: Callable[..., Any],
        told: str | None,
    ) -> None:
        fields = load_bundle(plan).manifest.model_dump(
            mode="json", include={"name", "input", "attention"}
        )
        change(fields)
        network = make_network(tmp_path, spec=fields)
        with pytest.raises(errors.ModelError, match=told):
            build(network.onnx, tmp_path / "engine.plan")

    def test_no_network(self, exported: Any, tmp_path: Path) -> None:
        (tmp_path / "text.onnx").write_text("no network")
        for path in (tmp_path / "text.onnx", tmp_path / "none.onnx", tmp_path):
            with pytest.raises(errors.ModelError):
                build(path, tmp_path / "engine.plan", bank=labels_path(exported.onnx))

    def test_label_bank(
        self, exported: Any, make_network: Callable[..., Any], tmp_path: Path
    ) -> None:
        network = make_network(tmp_path)
        labels_path(network.onnx).unlink()
        with pytest.raises(errors.LabelBankError):
            build(network.onnx, tmp_path / "engine.plan")
        LabelBank(["one"], np.zeros((1, 4), np.float16), np.array([0.5], np.float32)).save(
            labels_path(network.onnx)
        )
        with pytest.raises(errors.ModelError, match="logits"):
            build(network.onnx, tmp_path / "engine.plan")

    def test_logits_that_are_not_finite(
        self, make_network: Callable[..., Any], tmp_path: Path
    ) -> None:
        network = make_network(tmp_path, broken=True)
        with pytest.raises(errors.NonFiniteError):
            build(network.onnx, tmp_path / "engine.plan")

    def test_a_precision_that_differs_too_much(
        self, exported: Any, make_network: Callable[..., Any], tmp_path: Path
    ) -> None:
        reference = Reference(read_exported(exported.onnx))
        fields: dict[str, Any] = {
            "built": {"machine": "this"},
            "measured": {},
            "backend": "openvino",
        }
        with pytest.raises(
            errors.AccuracyError, match=r"precision bf16: .*tolerance\.bf16: 1e\+03 is more than"
        ):
            reference.bundle(
                tmp_path / "a.plan", b"x", precision="bf16", tolerance={"bf16": 1e3}, **fields
            )
        broken = OpenVinoBackend(
            read_exported(make_network(tmp_path, broken=True).onnx).network, "fp32"
        )
        with pytest.raises(errors.NonFiniteError, match="precision fp32"):
            reference.difference(broken, "precision fp32")

    def test_a_precision_that_this_machine_lacks(
        self, exported: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in ("workshop.compile.openvino", "backends.openvino.precision"):
            monkeypatch.setattr(f"pvlr_sdk.{module}.supports_bf16", lambda _: False)
        images = CalibrationImages([default_frame()] * 32)
        with pytest.raises(errors.BackendError, match="a CPU that computes in bf16"):
            build(
                exported.onnx, tmp_path / "engine.plan", precision="bf16", calibration_images=images
            )
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("out", [".", "engine.json", "engine.sig"])
    def test_a_plan_in_the_place_of_another_file(
        self, exported: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(errors.OptionError, match=r"out: expected a file such as engine\.plan"):
            build(exported.onnx, out)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"device": "toaster"}, errors.OptionError),
            ({"precision": "int8"}, errors.OptionError),
            ({"options": BuildOptions(attention="native")}, errors.OptionError),
        ],
    )
    def test_options(
        self, exported: Any, tmp_path: Path, options: dict[str, Any], error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            build(exported.onnx, tmp_path / "engine.plan", **options)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            (["--dla", "0"], r"got --dla with --device cpu\. Add --device tensorrt"),
            (["--batch", "4"], "got --batch with"),
            (["--version-compatible"], "got --version-compatible with"),
            (["--precision", "fp16"], r"got 'fp16'\. fp16 is for --device tensorrt"),
            (["--precision", "fp8"], r"auto, fp32, bf16, int8, got 'fp8'\. Choose one of these"),
        ],
    )
    def test_what_only_tensorrt_can_do(
        self, exported: Any, tmp_path: Path, given: list[str], words: str
    ) -> None:
        plan = tmp_path / "engine.plan"
        result = CliRunner().invoke(app, ["build", str(exported.onnx), "-o", str(plan), *given])
        assert isinstance(result.exception, errors.OptionError)
        assert re.search(words, str(result.exception))
        assert not list(tmp_path.iterdir())

    def test_a_network_is_not_overwritten_by_its_plan(self, plan: Path) -> None:
        before = plan.read_bytes()
        for device in ("cpu", "tensorrt"):
            with pytest.raises(
                errors.OptionError,
                match=r"expected another file than the network, got .*engine\.plan",
            ):
                build(plan, plan.parent / "." / plan.name, device=device)
        assert plan.read_bytes() == before

    @pytest.mark.parametrize("device", ["cpu", "tensorrt"])
    def test_a_network_in_another_precision(
        self, exported: Any, tmp_path: Path, device: str
    ) -> None:
        pytest.importorskip("onnxruntime")
        export_as(exported.onnx, tmp_path, precision="fp16")
        with pytest.raises(
            errors.ModelError, match=r"a network in fp32, got one in fp16.*made from"
        ):
            build(tmp_path / "model-fp16.onnx", tmp_path / "engine.plan", device=device)

    def test_openvino_s_reason_is_one_sentence(self, exported: Any, tmp_path: Path) -> None:
        onnx = pytest.importorskip("onnx")
        model = onnx.load(exported.onnx)
        model.graph.node[1].op_type, model.graph.node[1].domain = "DualSoftmaxAttention", "pvlr"
        (tmp_path / "fused.onnx").write_bytes(model.SerializeToString())
        (tmp_path / "cut.onnx").write_bytes(exported.onnx.read_bytes()[:-30])
        for name, words in (
            ("fused", "operations: pvlr.DualSoftmaxAttention. Use the one"),
            ("cut", ". Export it again"),
        ):
            with pytest.raises(errors.ModelError) as caught:
                build(tmp_path / f"{name}.onnx", tmp_path / "engine.plan")
            assert words in str(caught.value)
            assert ".." not in str(caught.value)


def test_manifest_is_plain_json(plan: Path) -> None:
    text = plan.with_suffix(".json").read_text()
    assert json.loads(text)["format"] == 1
    assert "NaN" not in text
