"""Building TensorRT plans on the fake TensorRT: options, plan and manifest, the choice of attention, the DLA."""

from __future__ import annotations

import sys
import weakref
from enum import IntEnum
from typing import Any

import numpy as np
import onnx
import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.backends.tensorrt import TensorRtBackend
from pvlr_sdk.backends.tensorrt.compatibility import build_command
from pvlr_sdk.workshop.compile.build import build
from pvlr_sdk.workshop.compile.calibration import CalibrationImages
from pvlr_sdk.workshop.compile.tensorrt_options import Batch, BuildOptions

NATIVE = BuildOptions(attention="native")


def test_a_built_plan_tags(trt, exported, tmp_path):
    out = tmp_path / "engine.plan"
    manifest = build(exported.onnx, out, device="tensorrt", options=NATIVE)
    assert (manifest.backend, manifest.precision) == ("tensorrt", "fp16")
    section = manifest.tensorrt
    assert section is not None
    assert (section.version, section.capability, section.gpu) == ("10.3.0", "8.7", "Fake Orin")
    assert section.multiprocessors == 16
    assert manifest.measured["precisions"]["fp16 native"]["tag_sets"] == 1.0
    # by the GPU's events
    assert manifest.measured["precisions"]["fp16 native"]["inference_ms"] == 1.5
    assert "Engine generation completed" in (tmp_path / "engine.build.log").read_text()
    frame = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    with Tagger(out) as tagger:
        expected = exported.weights.forward(tagger._plan.inference.preprocess(frame, "bgr"))[0]
        np.testing.assert_allclose(tagger.predict(frame).logits, expected, atol=0.02)


def test_the_options_reach_tensorrt(trt, exported, tmp_path):
    options = BuildOptions(Batch(1, 2, 8), "native", 64, "ampere+", version_compatible=True)
    manifest = build(exported.onnx, tmp_path / "engine.plan", device="tensorrt", options=options)
    config = trt.world.seen.config
    assert config.pools == {trt.MemoryPoolType.WORKSPACE: 64 << 20}
    assert config.hardware_compatibility_level == trt.HardwareCompatibilityLevel.AMPERE_PLUS
    assert config.get_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    assert config.get_flag(trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)  # no native code inside the plan
    assert not config.get_flag(trt.BuilderFlag.TF32)  # float32 is float32
    # TensorRT selects kernels for one size of a profile: those that a plan runs.
    assert [profile.shapes for profile in config.profiles] == [
        {"image": [[n, 3, 32, 40]] * 3} for n in (1, 8)
    ]
    assert manifest.tensorrt.batch == (1, 2, 8)
    assert manifest.tensorrt.hardware == "ampere+"
    assert manifest.tensorrt.version_compatible


def test_one_batch_size_is_static(trt, exported, tmp_path):
    """So that execution contexts share no optimisation profile."""
    build(
        exported.onnx,
        tmp_path / "engine.plan",
        device="tensorrt",
        options=BuildOptions(Batch(4, 4, 4), "native"),
    )
    assert not trt.world.seen.config.profiles
    assert list(trt.world.seen.network.inputs[0].shape) == [4, 3, 32, 40]


@pytest.mark.slow
def test_auto_builds_both_and_keeps_the_faster_one(
    trt, gpu, closed, plugin_library, tmp_path, monkeypatch
):
    out, engines = tmp_path / closed.name, []
    make = trt.ICudaEngine.__init__

    def made(self: Any, *arguments: Any) -> None:
        assert not any(earlier() for earlier in engines), "two plans in the GPU's memory"
        engines.append(weakref.ref(self))
        make(self, *arguments)

    monkeypatch.setattr(trt.ICudaEngine, "__init__", made)
    monkeypatch.setattr(gpu, "milliseconds", lambda start, end: 10.0 if trt.world.loaded else 20.0)
    manifest = build(closed, out, device="tensorrt")
    assert len(engines) == 2
    figures = manifest.measured["precisions"]
    assert {name: item["inference_ms"] for name, item in figures.items()} == {
        "fp16 native": 2.0,
        "fp16 fused": 1.0,
    }
    assert set(figures) == {"fp16 native", "fp16 fused"}
    assert all(item["tag_sets"] == 1.0 for item in figures.values())
    fastest = min(figures, key=lambda name: figures[name]["inference_ms"])
    assert f"fp16 {manifest.tensorrt.attention}" == fastest
    assert manifest.tensorrt.plugins == ("1" if fastest == "fp16 fused" else None)
    # The network has the plan's name: the command that builds it again must not name the plan itself.
    assert build_command(manifest, out).startswith("pvlr build closed/model.onnx -o model.onnx ")


def test_without_maps_the_plan_has_one_output(trt, exported, tmp_path):
    out, options = tmp_path / "engine.plan", BuildOptions(attention="native", maps=False)
    manifest = build(exported.onnx, out, device="tensorrt", options=options)
    assert not manifest.tensorrt.maps
    graph = onnx.load_from_string(trt.world.seen.network.onnx).graph
    assert [one.name for one in graph.output] == ["logits"]
    assert "--no-maps" in build_command(manifest, out)
    with Tagger(out) as tagger:
        result = tagger.predict(np.zeros((50, 70, 3), np.uint8))
        with pytest.raises(errors.OptionError, match="--no-maps"):
            result.attention(tagger.labels[0])


@pytest.mark.slow
@pytest.mark.parametrize(("int8_ms", "chosen"), [(1.0, "int8"), (3.0, "fp16")])
def test_auto_compares_fp16_with_int8(trt, exported, tmp_path, monkeypatch, int8_ms, chosen):
    pytest.importorskip("nncf")
    monkeypatch.setattr(
        TensorRtBackend,
        "compute_times",
        lambda self, n: [int8_ms if self.precision == "int8" else 2] * n,
    )
    images = CalibrationImages(
        list(np.random.default_rng(3).integers(0, 256, (40, 30, 44, 3), np.uint8))
    )
    out = tmp_path / "engine.plan"
    manifest = build(
        exported.onnx,
        out,
        device="tensorrt",
        options=NATIVE,
        calibration_images=images,
        min_agreement=0.1,
    )
    assert manifest.precision == chosen
    assert set(manifest.measured["precisions"]) == {"fp16 native", "int8 native"}
    assert manifest.measured["calibrated_on"] == (20 if chosen == "int8" else 0)


def test_auto_does_without_what_is_not_here(trt, exported, tmp_path):
    manifest = build(exported.onnx, tmp_path / "engine.plan", device="tensorrt")
    assert manifest.tensorrt.attention == "native"
    assert "plugins" in manifest.measured["refused"]["fp16 fused"]
    with pytest.raises(errors.MissingPartError, match="native attention"):
        build(
            exported.onnx,
            tmp_path / "engine.plan",
            device="tensorrt",
            options=BuildOptions(attention="fused"),
        )


def test_a_plan_that_fails_gives_its_memory_to_the_next_one(trt, exported, tmp_path, monkeypatch):
    class Memory:
        pass

    held: list[weakref.ref[Memory]] = []

    def load() -> None:
        memory = Memory()
        held.append(weakref.ref(memory))
        try:
            raise RuntimeError("out of memory")
        except RuntimeError as error:
            raise errors.DeviceMemoryError("x", expected="x", got="y", hint="z") from error

    def fail(self: Any, precision: str, attention: str) -> None:
        assert not held or held[0]() is None
        load()

    monkeypatch.setattr("pvlr_sdk.workshop.compile.tensorrt.builder._Work._build", fail)
    with pytest.raises(errors.DeviceMemoryError):
        build(exported.onnx, tmp_path / "engine.plan", device="tensorrt")
    assert len(held) == 2


@pytest.mark.slow
def test_the_dla_where_there_is_one(trt, exported, tmp_path, monkeypatch):
    options = BuildOptions(Batch(), attention="native", dla=1)
    trt.world.dla_cores = 1
    with pytest.raises(errors.BuildError, match="a device with 1 DLA cores"):
        build(exported.onnx, tmp_path / "engine.plan", device="tensorrt", options=options)
    trt.world.dla_cores = 2
    build(exported.onnx, tmp_path / "engine.plan", device="tensorrt", options=options)
    config = trt.world.seen.config
    assert (config.default_device_type, config.DLA_core) == (trt.DeviceType.DLA, 1)
    assert config.get_flag(trt.BuilderFlag.GPU_FALLBACK)
    assert trt.world.seen.parser.flags == 0
    later = IntEnum("OnnxParserFlag", {"ADJUST_FOR_DLA": 4})
    monkeypatch.setattr(trt, "OnnxParserFlag", later)
    build(exported.onnx, tmp_path / "engine.plan", device="tensorrt", options=options)
    assert trt.world.seen.parser.get_flag(later.ADJUST_FOR_DLA)
    build(exported.onnx, tmp_path / "engine.plan", device="tensorrt", options=NATIVE)
    assert trt.world.seen.parser.flags == 0
    trt.world.dla_layers = False
    with pytest.raises(errors.BuildError, match="layers that DLA core 1 can run, got none"):
        build(exported.onnx, tmp_path / "idle.plan", device="tensorrt", options=options)
    assert not (tmp_path / "idle.plan").exists()


def test_a_plan_that_says_something_else_is_not_written(
    trt, exported, make_network, tmp_path, monkeypatch
):
    other = make_network(tmp_path / "other", seed=3).onnx.read_bytes()
    monkeypatch.setattr(trt.builder, "plan", lambda _: trt.MAGIC + other)
    out = tmp_path / "plans" / "engine.plan"
    with pytest.raises(errors.AccuracyError, match="golden logits"):
        build(exported.onnx, out, device="tensorrt", options=NATIVE)
    assert not out.exists()


def test_without_tensorrt_nothing_is_built(exported, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(errors.MissingPartError, match="JetPack"):
        build(exported.onnx, tmp_path / "engine.plan", device="tensorrt")
    assert not list(tmp_path.iterdir())
