"""``pvlr export MODEL.onnx``: another precision, written only if it keeps the tags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from pvlr_sdk import errors
from pvlr_sdk.bundle.bundle import labels_path
from pvlr_sdk.bundle.label_bank import LabelBank
from pvlr_sdk.cli import app
from pvlr_sdk.frames.preprocess import Preprocessor
from pvlr_sdk.workshop.compile.calibration import CalibrationImages
from pvlr_sdk.workshop.compile.export import export_as, outputs_of, synthetic
from pvlr_sdk.workshop.compile.onnx import edit
from pvlr_sdk.workshop.compile.onnx.convert import convert, spec_of
from tests.pvlr_sdk.workshop.compile.pictures import smooth_images

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def invoke(*arguments: object) -> Any:
    result = CliRunner().invoke(app, ["export", *map(str, arguments)])
    if isinstance(result.exception, errors.PvlrError):
        raise result.exception
    assert result.exit_code == 0
    return result


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_from_the_command_line(exported: Any, tmp_path: Path, precision: str) -> None:
    result = invoke(exported.onnx, "--precision", precision, "--out", tmp_path)
    path = tmp_path / f"model-{precision}.onnx"
    assert result.stdout == f"{path}\n"
    assert f"{precision}: same tags as fp32 on 100.0 % of 8 images" in result.stderr
    assert labels_path(path).read_bytes() == labels_path(exported.onnx).read_bytes()
    assert sorted(tmp_path.iterdir()) == [labels_path(path), path]
    assert f'"precision":"{precision}"' in onnx.load(path).metadata_props[0].value


def test_a_plan_for_a_cpu_is_a_network_too(plan: Path, tmp_path: Path) -> None:
    result = invoke(plan, "--precision", "fp16", "--out", tmp_path / "out")
    assert result.stdout == f"{tmp_path / 'out' / 'engine-fp16.onnx'}\n"


@pytest.mark.slow
def test_int8_with_labelled_photos(make_network: Any, tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    source = make_network(tmp_path / "network").onnx
    network = onnx.load(source)
    for node, name in zip(
        network.graph.node, ("conv", "relu", "shape", "turn", "/head/similarity"), strict=False
    ):
        node.name = name
    onnx.save(network, source)
    lines = ["file,split,person,cat"]
    for index, image in enumerate(smooth_images(64)):
        cv2.imwrite(str(tmp_path / f"{index}.png"), image)
        lines.append(f"{index}.png,val,{(-1) ** index},{(-1) ** (index // 3)}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    options = [
        "--calibration-images",
        tmp_path,
        "--labels",
        tmp_path / "labels.csv",
        "--min-agreement",
        0.3,
    ]
    result = invoke(source, "--precision", "int8", *options, "--out", tmp_path)
    assert "of 32 images" in result.stderr
    assert "mAP" in result.stderr
    model = onnx.load(tmp_path / "model-int8.onnx")
    onnx.checker.check_model(model)
    weights = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    pairs = [node for node in model.graph.node if node.op_type.endswith("QuantizeLinear")]
    assert pairs
    for node in pairs:  # signed, without zero points, with scales in the type of the rest
        assert (weights[node.input[1]], weights[node.input[2]]) == (
            onnx.TensorProto.FLOAT16,
            onnx.TensorProto.INT8,
        )
    zeros = [
        tensor
        for tensor in model.graph.initializer
        if tensor.name in {node.input[2] for node in pairs}
    ]
    assert all((onnx.numpy_helper.to_array(tensor) == 0).all() for tensor in zeros)
    biases = [node for node in pairs if weights.get(node.input[0]) == onnx.TensorProto.INT32]
    assert not biases


def test_below_the_gate_nothing_is_written(exported: Any, tmp_path: Path) -> None:
    """Thresholds halfway between the fp32 and bf16 scores of the first image: all its tags change."""
    source = tmp_path / "model.onnx"
    source.write_bytes(exported.onnx.read_bytes())
    spec = spec_of(edit.load(source.read_bytes(), "network"), "network")
    image = Preprocessor(spec.input).load(synthetic()[0])
    networks = [convert(source.read_bytes(), precision=precision) for precision in ("fp32", "bf16")]
    scores = [
        1 / (1 + np.exp(-next(outputs_of(one, [image]))[0].astype(np.float64))) for one in networks
    ]
    bank = LabelBank.load(labels_path(exported.onnx))
    close = LabelBank(bank.names, bank.embeddings, np.mean(scores, 0).astype(np.float32), bank.text)
    close.save(labels_path(source))
    with pytest.raises(errors.AccuracyError, match="precision bf16"):
        export_as(source, tmp_path / "out", precision="bf16")
    assert not (tmp_path / "out").exists()
    export_as(source, tmp_path / "out", precision="bf16", min_agreement=0.0)


def test_a_network_that_overflows_is_refused(make_network: Any, tmp_path: Path) -> None:
    """Features of 1e5: fine in fp32 and bf16, infinite in fp16."""
    network = make_network(tmp_path)
    model = onnx.load(network.onnx)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for name, factor in (("kernel", 5e4), ("labels", 1 / 5e4)):
        values = onnx.numpy_helper.to_array(tensors[name]) * np.float32(factor)
        tensors[name].CopyFrom(onnx.numpy_helper.from_array(values, name))
    onnx.save(model, network.onnx)
    with pytest.raises(errors.NonFiniteError):
        export_as(network.onnx, tmp_path / "out", precision="fp16")
    export_as(network.onnx, tmp_path / "out", precision="bf16")


class TestRefused:
    @pytest.mark.parametrize(
        "options", [{"precision": "int8"}, {"precision": "fp8"}, {"attention": "none"}]
    )
    def test_options(self, exported: Any, tmp_path: Path, options: dict[str, str]) -> None:
        with pytest.raises(errors.OptionError):
            export_as(exported.onnx, tmp_path, **options)
        assert not list(tmp_path.iterdir())

    def test_few_photos(self, exported: Any, tmp_path: Path) -> None:
        with pytest.raises(errors.OptionError, match="at least"):
            export_as(
                exported.onnx, tmp_path, calibration_images=CalibrationImages(smooth_images(5))
            )

    def test_no_network(self, tmp_path: Path) -> None:
        with pytest.raises(errors.ModelError):
            export_as(tmp_path / "none.onnx", tmp_path)

    def test_a_network_as_it_is(self, exported: Any, tmp_path: Path) -> None:
        for path in (exported.onnx, tmp_path / "none.onnx"):
            with pytest.raises(errors.OptionError, match=r"exported already.*pvlr build"):
                invoke(path, "--out", tmp_path)
        assert not list(tmp_path.iterdir())

    def test_truth_without_photos(self, exported: Any, tmp_path: Path) -> None:
        with pytest.raises(errors.OptionError, match="--calibration-images"):
            invoke(exported.onnx, "--precision", "fp16", "--labels", tmp_path / "labels.csv")
