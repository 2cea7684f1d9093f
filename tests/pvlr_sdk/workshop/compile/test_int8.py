"""int8 plans: quantised weights in plain ONNX, compared with fp32 on images that the quantisation did not use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from pvlr_sdk import Tagger, errors
from pvlr_sdk.bundle.bundle import labels_path
from pvlr_sdk.bundle.label_bank import LabelBank
from pvlr_sdk.bundle.manifest import InputSpec
from pvlr_sdk.cli import app
from pvlr_sdk.frames.preprocess import Preprocessor
from pvlr_sdk.models.find import load_bundle
from pvlr_sdk.workshop.compile.build import build
from pvlr_sdk.workshop.compile.calibration import CalibrationImages
from pvlr_sdk.workshop.compile.gate import compare
from pvlr_sdk.workshop.compile.onnx.convert import convert
from pvlr_sdk.workshop.compile.onnx.quantize import join_residuals, quantize
from tests.pvlr_sdk.workshop.compile.pictures import smooth_images

onnx = pytest.importorskip("onnx")
pytest.importorskip("nncf")


def quantised(network: Any, fp32_until: str | None = None, **how: bool) -> Any:
    """The graph of a network of 40 x 32 pixels after quantisation."""
    prepare = Preprocessor(InputSpec(width=40, height=32, mean=(127,) * 3, std=(128,) * 3))
    frames = smooth_images(20)
    payload = quantize(
        network.SerializeToString(), frames, lambda f: prepare(f, "bgr"), fp32_until, **how
    )
    return onnx.load_from_string(payload).graph


@pytest.fixture(scope="module")
def int8_plan(exported: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("int8") / "engine.plan"
    images = CalibrationImages(smooth_images(80))
    build(exported.onnx, path, precision="int8", calibration_images=images, min_agreement=0.3)
    return path


@pytest.mark.slow
def test_weights_are_stored_in_8_bit_and_the_metadata_is_kept(
    int8_plan: Path, exported: Any
) -> None:
    network = onnx.load(int8_plan)
    kinds = {tensor.data_type for tensor in network.graph.initializer if len(tensor.dims) == 4}
    assert kinds == {onnx.TensorProto.INT8}
    original = onnx.load(exported.onnx)
    assert [(p.key, p.value) for p in network.metadata_props] == [
        (p.key, p.value) for p in original.metadata_props
    ]
    assert network.graph.input[0] == original.graph.input[0]  # still any batch


def test_it_tags_nearly_as_fp32_does(int8_plan: Path, plan: Path) -> None:
    frames = smooth_images(100)[80:]
    with Tagger(int8_plan) as quantised, Tagger(plan, precision="fp32") as exact:
        assert quantised.info["precision"] == "int8"
        logits = np.stack(
            [[tagger.predict(frame).logits for frame in frames] for tagger in (quantised, exact)]
        )
    difference = np.abs(logits[0] - logits[1])
    assert 0 < difference.mean() < 0.05 * np.ptp(logits[1])


def test_onnx_runtime_runs_the_payload_too(int8_plan: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(int8_plan), providers=["CPUExecutionProvider"])
    preprocess = Preprocessor(load_bundle(int8_plan).manifest.input)
    with Tagger(int8_plan) as tagger:
        for frame in smooth_images(5):
            theirs = session.run(["logits"], {"image": preprocess(frame, "bgr")[None]})[0][0]
            np.testing.assert_allclose(
                tagger.predict(frame).logits, theirs, atol=0.1 * np.ptp(theirs)
            )


def test_manifest_says_what_was_measured(int8_plan: Path) -> None:
    manifest = load_bundle(int8_plan).manifest
    assert manifest.precision == "int8"
    assert set(manifest.golden.tolerance) == {"fp32", "bf16", "int8"}
    figures = manifest.measured["precisions"]
    assert 0.3 <= figures["fp32"]["tag_sets"] <= 1.0  # its weights have 8 bits too
    assert figures["int8"]["photos"] == 40  # of 80: the other half set the ranges
    assert figures["int8"]["largest_logit_difference"] > 0
    assert all(figure["inference_ms"] > 0 for figure in figures.values())


def test_one_plan_runs_in_every_precision_that_passed_the_gate(int8_plan: Path, plan: Path) -> None:
    frame = smooth_images(1)[0]
    with (
        Tagger(int8_plan, precision="fp32") as stored,
        Tagger(int8_plan) as quantised,
        Tagger(plan) as exact,
    ):
        logits = [tagger.predict(frame).logits for tagger in (stored, quantised, exact)]
    assert 0 < np.abs(logits[0] - logits[2]).max() < 0.2
    assert np.abs(logits[1] - logits[0]).max() > 1e-4
    with pytest.raises(errors.OptionError, match="--calibration-images"):
        Tagger(plan, precision="int8")


@pytest.mark.slow
def test_below_the_gate_no_plan_is_written(exported: Any, tmp_path: Path) -> None:
    frames = smooth_images(200)
    build(exported.onnx, tmp_path / "float.plan", precision="fp32")
    scores = np.stack(
        [Tagger(tmp_path / "float.plan").predict(frame).scores for frame in frames[:60]]
    )
    bank = LabelBank.load(labels_path(exported.onnx))
    close = LabelBank(
        bank.names, bank.embeddings, np.median(scores, 0).astype(np.float32), bank.text
    )
    # half of the images lie on either side of each threshold
    close.save(tmp_path / "close.safetensors")
    options: dict[str, Any] = {
        "bank": tmp_path / "close.safetensors",
        "calibration_images": CalibrationImages(frames),
        "precision": "int8",
    }
    with pytest.raises(errors.AccuracyError, match="precision int8"):
        build(exported.onnx, tmp_path / "engine.plan", min_agreement=1.0, **options)
    assert not (tmp_path / "engine.plan").exists()
    build(exported.onnx, tmp_path / "engine.plan", min_agreement=0.0, **options)


@pytest.mark.slow
def test_depthwise_filters_get_a_scale_for_each_channel(make_network: Any, tmp_path: Path) -> None:
    """Stored as float16 behind a Cast, as the exporter does; NNCF alone uses one scale for each column."""
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    network = onnx.load(make_network(tmp_path).onnx)
    filters = np.random.default_rng(0).normal(size=(3, 1, 5, 5)).astype(np.float16)
    network.graph.initializer.append(numpy_helper.from_array(filters, "filters_half"))
    network.graph.node.insert(
        0, helper.make_node("Cast", ["filters_half"], ["filters"], "cast", to=1)
    )
    depthwise = helper.make_node(
        "Conv", ["image", "filters"], ["blurred"], "dw", group=3, pads=[2, 2, 2, 2]
    )
    network.graph.node.insert(1, depthwise)
    network.graph.node[2].input[0] = "blurred"
    graph = quantised(network, for_tensorrt=True)
    conv = next(node for node in graph.node if node.name == "dw")
    weights = next(node for node in graph.node if conv.input[1] in node.output)
    scale = next(tensor for tensor in graph.initializer if tensor.name == weights.input[1])
    assert weights.op_type == "DequantizeLinear"
    assert numpy_helper.to_array(scale).shape == (3,)


@pytest.mark.slow
def test_for_tensorrt_activations_are_signed_and_have_one_scale(
    make_network: Any, tmp_path: Path
) -> None:
    """NNCF uses unsigned numbers behind a ReLU and per-channel scales before a depthwise convolution."""
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    network = onnx.load(make_network(tmp_path).onnx)
    filters = np.random.default_rng(0).normal(size=(3, 1, 5, 5)).astype(np.float32)
    network.graph.initializer.append(numpy_helper.from_array(filters, "filters"))
    network.graph.node.insert(0, helper.make_node("Relu", ["image"], ["positive"], "relu0"))
    depthwise = helper.make_node(
        "Conv", ["positive", "filters"], ["blurred"], "dw", group=3, pads=[2, 2, 2, 2]
    )
    network.graph.node.insert(1, depthwise)
    network.graph.node[2].input[0] = "blurred"

    def activations(for_tensorrt: bool) -> list[tuple[np.ndarray, np.ndarray]]:
        """Scale and zero point of every activation."""
        graph = quantised(network, for_tensorrt=for_tensorrt)
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        nodes = [node for node in graph.node if node.op_type == "QuantizeLinear"]
        return [(constants[node.input[1]], constants[node.input[2]]) for node in nodes]

    before, after = activations(False), activations(True)
    assert {zero.dtype for _, zero in before} >= {np.dtype(np.uint8)}
    assert {zero.dtype for _, zero in after} == {np.dtype(np.int8)}
    assert {zero.shape for _, zero in after} == {()}
    assert all(zero == 0 for _, zero in after)
    widest = max(float(255 * scale.max()) for scale, zero in before if zero.dtype == np.uint8)
    assert any(float(127 * scale) == pytest.approx(widest, rel=0.01) for scale, _ in after)


@pytest.mark.slow
def test_first_layers_and_head_stay_as_they_are(make_network: Any, tmp_path: Path) -> None:
    network = onnx.load(make_network(tmp_path).onnx)
    for node, name in zip(
        network.graph.node, ("conv", "relu", "shape", "turn", "/head/similarity"), strict=False
    ):
        node.name = name

    def kinds(fp32_until: str | None) -> set[str]:
        nodes = quantised(network, fp32_until).node
        stored = {
            name for node in nodes if node.op_type == "DequantizeLinear" for name in node.output
        }
        return {node.op_type for node in nodes if stored & set(node.input)}

    assert "MatMul" not in kinds(None)
    assert "Conv" in kinds(None)
    assert "Conv" not in kinds("convolved")


def test_agreement_against_hand_counted_cases() -> None:
    reference = np.array([[1.0, -1.0], [2.0, 2.0], [-3.0, 0.5], [0.1, -0.1]], np.float32)
    changed = reference + np.float32([[0, 0], [0, 0], [0, -1], [-0.2, 0]])
    agreement = compare(
        changed,
        reference,
        np.array([0.5, 0.5], np.float32),
        np.array([[1, -1]] * 2 + [[-1, 1]] * 2),
    )
    assert (agreement.photos, agreement.tag_sets) == (4, 0.5)
    assert agreement.largest_logit_difference == pytest.approx(1)
    assert agreement.mean_logit_difference == pytest.approx(1.2 / 8)
    assert agreement.mAP_fp32 == pytest.approx(100 * (1 + (1 / 2 + 2 / 3) / 2) / 2)
    assert compare(reference, reference, np.array([0.5, 0.5], np.float32)).to_dict() == {
        "photos": 4, "tag_sets": 1.0, "largest_logit_difference": 0.0, "mean_logit_difference": 0.0
    }  # fmt: skip


def test_wrong_options(exported: Any, tmp_path: Path) -> None:
    for options, match in (
        ({"precision": "int8"}, "--calibration-images"),
        ({"calibration_images": CalibrationImages(smooth_images(31))}, "at least 32 images"),
        ({"min_agreement": 1.5}, "min_agreement"),
    ):
        with pytest.raises(errors.OptionError, match=match):
            build(exported.onnx, tmp_path / "engine.plan", **options)  # type: ignore[arg-type]
    with pytest.raises(errors.ImageNotFoundError):
        CalibrationImages.below(tmp_path / "nothing")


@pytest.mark.slow
def test_the_command_reads_a_folder_and_a_csv(exported: Any, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    photos = tmp_path / "photos"
    photos.mkdir()
    rows = ["file,split,cat,rocket"]
    for number, image in enumerate(smooth_images(40)):
        cv2.imwrite(str(photos / f"{number}.png"), image)
        rows.append(f"{number}.png,val,{1 if number % 3 else -1},-1")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    command = [
        "build",
        str(exported.onnx),
        "--out",
        str(tmp_path / "a.plan"),
        "--precision",
        "int8",
        "--json",
    ]
    command += [
        "--calibration-images",
        str(photos),
        "--labels",
        str(tmp_path / "labels.csv"),
        "--min-agreement",
        "0",
    ]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)["measured"]["precisions"]["int8"]
    assert figures["photos"] == 20
    assert 0 < figures["mAP"] <= 100
    assert CalibrationImages.below(photos).frames == CalibrationImages.below(photos).frames


def test_ranges_and_gate_are_spread_over_all_listed_images() -> None:
    """Listed images are in the order of their data sets, all of which count."""
    images = CalibrationImages([str(number) for number in range(2000)], np.arange(2000)[:, None])
    (frames, targets), ranges = images.gate(), [int(str(frame)) for frame in images.ranges]
    assert targets is not None
    gate = targets[:, 0].tolist()
    assert [int(str(frame)) for frame in frames] == gate
    assert not {*ranges} & {*gate}
    assert np.histogram(ranges, 4, (0, 2000))[0].tolist() == [50] * 4
    assert np.histogram(gate, 4, (0, 2000))[0].tolist() == [125] * 4


@pytest.mark.parametrize(
    ("skip", "joined"),
    [
        ("block", True),  # the usual residual: the skip also feeds the block
        ("conv", True),  # a downsampling convolution in the skip: one of the two stays quantised
        ("float", False),  # the skip is not quantised: TensorRT has nothing to fuse
    ],
)
def test_tensorrt_can_fuse_a_convolution_with_its_residual(skip: str, joined: bool) -> None:
    helper = onnx.helper

    def quantised(name: str) -> list[Any]:
        return [
            helper.make_node("QuantizeLinear", [name, "scale", "zero"], [f"{name}_q"]),
            helper.make_node("DequantizeLinear", [f"{name}_q", "scale", "zero"], [f"{name}_dq"]),
        ]

    nodes = [*quantised("x")]
    if skip == "conv":
        nodes += [helper.make_node("Conv", ["x_dq", "w"], ["side"]), *quantised("side")]
    nodes += [helper.make_node("Conv", ["x_dq", "w"], ["main"]), *quantised("main")]
    other = {"block": "x_dq", "conv": "side_dq", "float": "x"}[skip]
    nodes += [helper.make_node("Add", ["main_dq", other], ["sum"]), *quantised("sum")]
    nodes.append(helper.make_node("Conv", ["sum_dq", "w"], ["y"]))
    values = {
        "w": np.full((2, 2, 1, 1), 0.5, np.float32),
        "scale": np.float32(0.1),
        "zero": np.int8(0),
    }
    constants = [
        onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()
    ]
    ports = [helper.make_tensor_value_info(name, 1, (1, 2, 4, 4)) for name in "xy"]
    graph = helper.make_graph(nodes, "block", ports[:1], ports[1:], constants)
    join_residuals(graph)
    onnx.checker.check_graph(graph)
    (add,) = (node for node in graph.node if node.op_type == "Add")
    assert list(add.input) == ["main" if joined else "main_dq", other]
    assert ("main_q" in {node.output[0] for node in graph.node}) is not joined


@pytest.mark.slow
def test_every_residual_of_a_shipped_network_can_be_fused(closed: Path) -> None:
    payload = closed.read_bytes()
    graph = onnx.load_from_string(convert(payload, precision="int8", frames=smooth_images(2))).graph
    made = {name: node.op_type for node in graph.node for name in node.output}
    constants = {tensor.name for tensor in graph.initializer}
    sums = [node for node in graph.node if node.op_type == "Add" and "/blocks/" in node.name]
    residuals = [
        sorted(made[name] for name in node.input)
        for node in sums
        if not constants & set(node.input)
    ]
    assert residuals == [["Conv", "DequantizeLinear"]] * 14
