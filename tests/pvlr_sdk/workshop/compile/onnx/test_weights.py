"""Plans for every CPU: what the rounding promises, what is stored, and how each reader and precision uses it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from pvlr_sdk import Tagger
from pvlr_sdk.backends.openvino import open_core, supports_bf16
from pvlr_sdk.models.find import load_bundle
from pvlr_sdk.workshop.compile.build import build
from pvlr_sdk.workshop.compile.calibration import CalibrationImages
from pvlr_sdk.workshop.compile.onnx import edit
from pvlr_sdk.workshop.compile.onnx.convert import convert
from pvlr_sdk.workshop.compile.onnx.weights import fit
from tests.manifests import edit_manifest
from tests.pvlr_sdk.labels import tiny_open
from tests.pvlr_sdk.workshop.compile.pictures import smooth_images


class TestFit:
    """The rounding of one layer."""

    def moments(
        self, groups: int, inputs: int, samples: int = 400
    ) -> tuple[np.ndarray, np.ndarray]:
        """Second moments of correlated inputs with a mean, and the inputs (groups, inputs, samples)."""
        random = np.random.default_rng(1)
        mixing = random.normal(size=(groups, inputs, inputs)) * np.geomspace(1, 0.01, inputs)
        values = mixing @ random.normal(size=(groups, inputs, samples)) + 1
        return values @ values.swapaxes(1, 2), values

    @pytest.mark.parametrize(("groups", "outputs", "inputs"), [(1, 24, 200), (6, 1, 9), (3, 4, 7)])
    def test_outputs_differ_less_than_with_nearest_integers(
        self, groups: int, outputs: int, inputs: int
    ) -> None:
        rows = np.random.default_rng(0).normal(size=(groups, outputs, inputs))
        moments, values = self.moments(groups, inputs)
        integers, scales = fit(rows, moments)
        nearest = np.clip(np.rint(rows / scales[:, :, None]), -127, 127)
        fitted, plain = (
            np.square((found * scales[:, :, None] - rows) @ values).sum()
            for found in (integers, nearest)
        )
        assert fitted < 0.7 * plain
        assert np.abs(integers).max() <= 127

    def test_two_neighbours_do_not_saturate_16_bits_except_in_depthwise_convolutions(self) -> None:
        rows = np.random.default_rng(0).uniform(0.9, 1, (1, 8, 64))
        moments, _ = self.moments(1, 64)
        sums = fit(rows, moments)[0].reshape(8, 32, 2).sum(2)
        assert 120 < sums.max() <= 128
        depthwise = fit(rows.reshape(8, 1, 64), moments.repeat(8, 0))[0]
        assert depthwise.max() == 127

    def test_inputs_that_were_always_0_and_rows_of_0(self) -> None:
        rows = np.random.default_rng(0).normal(size=(1, 3, 8))
        rows[0, 1] = 0
        integers, scales = fit(rows, np.zeros((1, 8, 8)))
        assert np.abs(integers * scales[:, :, None] - rows).max() <= scales.max() * 0.51
        assert not integers[0, 1].any()


@pytest.fixture(scope="module")
def compact(exported: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network's plan with weights of 8 bits."""
    pytest.importorskip("nncf", reason="8-bit weights need the extra [int8]")
    path = tmp_path_factory.mktemp("compact") / "engine.plan"
    build(
        exported.onnx,
        path,
        calibration_images=CalibrationImages(smooth_images(80)),
        min_agreement=0.8,
    )
    return path


@pytest.mark.slow
def test_build_stores_weights_in_8_bits(compact: Path, exported: Any) -> None:
    network = onnx.load(compact)
    stored = {tensor.name: tensor for tensor in network.graph.initializer}
    assert {stored[f"{name}_int8"].data_type for name in ("kernel", "labels")} == {
        onnx.TensorProto.INT8
    }
    assert len(stored["kernel_scale"].float_data or edit.numpy(stored["kernel_scale"])) == 8
    restored = edit.initializers(edit.load(compact.read_bytes(), "compact").graph)
    for name, weights, axis in (
        ("kernel", exported.weights.kernel, 0),
        ("labels", exported.weights.labels, 1),
    ):
        error = np.abs(edit.numpy(restored[name]) - weights)
        scale = edit.numpy(stored[f"{name}_scale"])
        assert error.max() < 3 * scale.max()
        assert scale.shape == (weights.shape[axis],)


@pytest.mark.slow
def test_the_self_test_is_of_the_plan_and_the_scores_are_nearly_those_of_fp32(
    compact: Path, plan: Path
) -> None:
    manifest = load_bundle(compact).manifest
    assert set(manifest.golden.tolerance) >= {"fp32", "bf16"}
    assert manifest.built["onnx_sha256"] == load_bundle(plan).manifest.built["onnx_sha256"]
    for optimize in ("latency", "throughput"):
        with (
            Tagger(compact, precision="fp32", optimize=optimize) as stored,
            Tagger(plan, precision="fp32") as exact,
        ):
            assert stored.info["precision"] == "fp32"
            for image in smooth_images(4):
                difference = np.abs(stored.predict(image).logits - exact.predict(image).logits)
                assert 0 < difference.max() < 0.2


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_networks_for_tensorrt_come_from_the_expanded_weights(
    compact: Path, precision: Any
) -> None:
    frames = smooth_images(2)
    converted = onnx.load_from_string(
        convert(compact.read_bytes(), precision=precision, frames=frames)
    )
    weights_in_8_bits = [
        t.name for t in converted.graph.initializer if t.data_type == 3 and len(t.dims) > 1
    ]
    assert bool(weights_in_8_bits) == (precision == "int8")


@pytest.mark.slow
def test_weights_stay_where_8_bits_change_the_tags(exported: Any, tmp_path: Path) -> None:
    path = tmp_path / "engine.plan"
    build(
        exported.onnx,
        path,
        calibration_images=CalibrationImages(smooth_images(80)),
        min_agreement=1.0,
    )
    manifest = load_bundle(path).manifest
    assert manifest.measured["precisions"]["fp32"]["tag_sets"] == 1


_CHOSEN = """
import sys
from pvlr_sdk import Tagger
from pvlr_sdk.backends.openvino import open_core, supports_bf16
print(*(Tagger(plan, precision="auto").info["precision"] for plan in sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="limits oneDNN's instruction set")
def test_auto_is_int8_without_bf16_if_int8_passed(
    compact: Path, plan: Path, tmp_path: Path
) -> None:
    failed = tmp_path / "engine.plan"
    for path in compact.parent.iterdir():
        shutil.copy(path, tmp_path)
    edit_manifest(failed, lambda manifest: manifest["golden"]["tolerance"].pop("int8"))
    command = [sys.executable, "-c", _CHOSEN, *map(str, (compact, plan, failed))]
    limited = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run(command, env=limited, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["int8", "fp32", "fp32"]
    if supports_bf16(open_core()):
        assert Tagger(compact, precision="auto").info["precision"] == "bf16"


def test_a_plan_for_every_precision_becomes_a_plain_network_again(
    compact: Path, exported: Any
) -> None:
    network = edit.load(compact.read_bytes(), "plan")
    original = onnx.load(exported.onnx)
    assert [node.op_type for node in network.graph.node] == [
        node.op_type for node in original.graph.node
    ]
    assert {tensor.data_type for tensor in network.graph.initializer} <= {1, 7}  # float32 and int64


@pytest.mark.slow
def test_an_open_network_is_quantised_before_it_reads_labels(tmp_path: Path) -> None:
    open_plan, path = tiny_open.build_plan(tmp_path / "open"), tmp_path / "engine.plan"
    manifest = build(
        open_plan, path, calibration_images=CalibrationImages(smooth_images(80)), min_agreement=0.0
    )
    assert manifest.open is not None
    frame = smooth_images(1)[0]
    with Tagger(path, precision="int8") as quantised, Tagger(open_plan, precision="fp32") as exact:
        assert quantised.info["precision"] == "int8"
        difference = np.abs(quantised.predict(frame).logits - exact.predict(frame).logits)
    assert 0 < difference.max() < 0.5
