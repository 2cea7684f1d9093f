"""Building TensorRT plans, on the fake TensorRT, and really on TensorRT-RTX, whose builder needs no GPU."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from pvlr_sdk import Tagger, errors
from pvlr_sdk.backends.tensorrt.fit import build_command
from pvlr_sdk.build import build
from pvlr_sdk.cli import app
from pvlr_sdk.cli.phases import Phases
from pvlr_sdk.tensorrt.library import Messages
from pvlr_sdk.tensorrt.options import Batch, BuildOptions

NATIVE = BuildOptions(attention="native")


class Seen:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def begin(self, *arguments: Any) -> None:
        self.calls.append(("begin", *arguments))

    def step(self, *arguments: Any) -> None:
        self.calls.append(("step", *arguments))

    def end(self, *arguments: Any) -> None:
        self.calls.append(("end", *arguments))


@pytest.mark.parametrize(
    ("text", "batch"), [("1", (1, 1, 1)), ("8", (8, 8, 8)), ("1:1:8", (1, 1, 8)), ("1:4:1024", (1, 4, 1024))]
)
def test_batches_that_are_some(text, batch):
    parsed = Batch.parse(text)
    assert (parsed.least, parsed.usual, parsed.most) == batch
    assert Batch.parse(str(parsed)) == parsed


@pytest.mark.parametrize("text", ["", "0", "1:2", "2:1:4", "1:8:4", "1:1:1025", "a", "1:-1:4", "1::4", "1:1:4:8", "²"])
def test_batches_that_are_none(text):
    with pytest.raises(errors.OptionError, match="LEAST:USUAL:MOST"):
        Batch.parse(text)


@pytest.mark.parametrize(
    "change",
    [{"attention": "both"}, {"hardware": "all"}, {"workspace": 0}, {"dla": -1}, {"dla": 0, "batch": Batch(1, 1, 8)}],
)
def test_options_that_cannot_be(change):
    with pytest.raises(errors.OptionError):
        BuildOptions(**change)


def test_a_built_plan_tags(trt, exported, tmp_path):
    out = tmp_path / "engine.plan"
    manifest = build(exported.onnx, out, device="tensorrt", options=NATIVE)
    assert (manifest.backend, manifest.precision) == ("tensorrt", "fp16")
    section = manifest.tensorrt
    assert section is not None
    assert (section.version, section.capability, section.gpu) == ("10.3.0", "8.7", "Fake Orin")
    assert section.multiprocessors == 16
    assert manifest.measured["precisions"]["fp16 native"]["tag_sets"] == 1.0
    assert "Engine generation completed" in (tmp_path / "engine.build.log").read_text()
    frame = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    with Tagger(out) as tagger:
        expected = exported.weights.forward(tagger._inference.preprocess(frame, "bgr"))[0]
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
    (profile,) = config.profiles
    assert profile.shapes == {"image": [[1, 3, 32, 40], [2, 3, 32, 40], [8, 3, 32, 40]]}
    assert manifest.tensorrt.batch == (1, 2, 8)
    assert manifest.tensorrt.hardware == "ampere+"
    assert manifest.tensorrt.version_compatible


@pytest.fixture(scope="module")
def shipped() -> Path:
    """The network of a model that ships: with dual-modal attention, which the tiny one lacks."""
    path = Path(__file__).parents[3] / "models" / "pvlr-lite2-voc20" / "engine.plan"
    if not path.is_file():
        pytest.skip("this checkout has no models/")
    return path


def test_auto_builds_both_and_keeps_the_faster_one(trt, shipped, plugin_library, tmp_path):
    out = tmp_path / "engine.plan"
    manifest = build(shipped, out, device="tensorrt")
    figures = manifest.measured["precisions"]
    assert set(figures) == {"fp16 native", "fp16 fused"}
    assert all(item["tag_sets"] == 1.0 for item in figures.values())
    fastest = min(figures, key=lambda name: figures[name]["inference_ms"])
    assert f"fp16 {manifest.tensorrt.attention}" == fastest
    assert manifest.tensorrt.plugins == ("1" if fastest == "fp16 fused" else None)
    # The network has the plan's name: the command that builds it again must not name the plan itself.
    assert build_command(manifest, out).startswith("pvlr build pvlr-lite2-voc20/engine.plan -o engine.plan ")


def test_the_check_of_a_gpu_measures_every_plan(trt, exported, tmp_path, monkeypatch, capsys):
    import trt_check

    monkeypatch.setattr(trt_check, "MODELS", {"tiny": exported.onnx})
    options = ["--models", "tiny", "--precisions", "fp16", "--attentions", "native", "fused", "--seconds", "0.2"]
    monkeypatch.setattr(sys, "argv", ["trt_check", "--out", str(tmp_path), *options])
    assert trt_check.main() == 1  # there is no plugin library for the fused one
    report = json.loads((tmp_path / "trt_check.json").read_text())
    assert report["conditions"]["gpu"]["name"] == "Fake Orin"
    assert report["plans"]["tiny-fp16-fused"]["error"].startswith("MissingPartError")
    figures = report["plans"]["tiny-fp16-native"]
    assert figures["agreement"]["tag_sets"] >= 0.98
    assert figures["agreement"]["photos"] == 32
    assert figures["gpu_ms"]["p50"] == 1.5
    assert figures["gpu_memory_mb"] > 0
    assert "1.500" in capsys.readouterr().out


def test_the_check_refuses_without_a_gpu(monkeypatch, tmp_path, capsys):
    import trt_check

    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setattr(sys, "argv", ["trt_check", "--out", str(tmp_path)])
    assert trt_check.main() == 3
    assert "JetPack" in capsys.readouterr().err


def test_auto_does_without_what_is_not_here(trt, exported, tmp_path):
    manifest = build(exported.onnx, tmp_path / "engine.plan", device="tensorrt")
    assert manifest.tensorrt.attention == "native"
    assert "plugins" in manifest.measured["refused"]["fused"]
    with pytest.raises(errors.MissingPartError, match="native attention"):
        build(exported.onnx, tmp_path / "engine.plan", device="tensorrt", options=BuildOptions(attention="fused"))


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

    def fail(self: Any, attention: str, watcher: Any) -> None:
        assert not held or held[0]() is None
        load()

    monkeypatch.setattr("pvlr_sdk.tensorrt.plan._Work._build", fail)
    with pytest.raises(errors.DeviceMemoryError):
        build(exported.onnx, tmp_path / "engine.plan", device="tensorrt")
    assert len(held) == 2


def test_the_dla_where_there_is_one(trt, exported, tmp_path):
    options = BuildOptions(Batch(), attention="native", dla=1)
    trt.world.dla_cores = 1
    with pytest.raises(errors.BuildError, match="a device with 1 of them"):
        build(exported.onnx, tmp_path / "engine.plan", device="tensorrt", options=options)
    trt.world.dla_cores = 2
    build(exported.onnx, tmp_path / "engine.plan", device="tensorrt", options=options)
    config = trt.world.seen.config
    assert (config.default_device_type, config.DLA_core) == (trt.DeviceType.DLA, 1)
    assert config.get_flag(trt.BuilderFlag.GPU_FALLBACK)
    trt.world.dla_layers = False
    with pytest.raises(errors.BuildError, match="layers that DLA core 1 can run, got none"):
        build(exported.onnx, tmp_path / "idle.plan", device="tensorrt", options=options)
    assert not (tmp_path / "idle.plan").exists()


def test_timings_are_kept_for_the_next_build(trt, exported, tmp_path):
    build(exported.onnx, tmp_path / "a.plan", device="tensorrt", options=NATIVE)
    build(exported.onnx, tmp_path / "b.plan", device="tensorrt", options=NATIVE)
    assert trt.world.seen.given[-1].startswith(b"timings")
    trt.world.cuda._gpu = type(trt.world.cuda._gpu)("Other", (8, 9), 1 << 30, "12.6", 58)
    build(exported.onnx, tmp_path / "c.plan", device="tensorrt", options=NATIVE)
    assert trt.world.seen.given[-1] == b""  # times of another GPU are worth nothing


@pytest.mark.parametrize("where", ["create", "set"])
def test_timings_that_tensorrt_refuses_are_left_out(where, trt, exported, tmp_path):
    build(exported.onnx, tmp_path / "a.plan", device="tensorrt", options=NATIVE)
    trt.world.timings_refused = where
    build(exported.onnx, tmp_path / "b.plan", device="tensorrt", options=NATIVE)
    assert trt.world.seen.given[-2].startswith(b"timings")
    assert trt.world.seen.given[-1] == b""


def test_a_gpu_that_tensorrt_does_not_build_for(trt, exported, tmp_path):
    trt.world.start_error = (
        "Error Code 6: API Usage Error (Target GPU SM 61 is not supported by this TensorRT release.)"
    )
    with pytest.raises(errors.BackendError, match=r"SM 61 is not supported.*support matrix"):
        build(exported.onnx, tmp_path / "engine.plan", device="tensorrt", options=NATIVE)


def test_progress_is_passed_on(trt, exported, tmp_path):
    seen = Seen()
    build(exported.onnx, tmp_path / "engine.plan", device="tensorrt", options=NATIVE, watcher=seen)
    assert seen.calls[:4] == [
        ("begin", "Building", None, 2),
        ("step", "Building", 1),
        ("step", "Building", 2),
        ("end", "Building"),
    ]


def test_a_build_that_fails_says_why_and_leaves_the_log(trt, exported, tmp_path):
    trt.world.build_error = "Error Code 10: Could not find any implementation for node /head/attention."
    with pytest.raises(errors.BuildError, match="implementation for node /head/attention"):
        build(exported.onnx, tmp_path / "engine.plan", device="tensorrt", options=NATIVE)
    assert [path.name for path in tmp_path.iterdir()] == ["engine.build.log"]
    assert "implementation for node" in (tmp_path / "engine.build.log").read_text()


def test_a_node_that_tensorrt_lacks(trt, exported, tmp_path):
    import onnx

    model = onnx.load(exported.onnx)
    model.graph.node[1].op_type, model.graph.node[1].name = "Unheard", "middle"
    with pytest.raises(errors.UnsupportedNodeError, match=r"Unheard 'middle'.*no importer registered"):
        _compile(model.SerializeToString())


def test_a_plan_that_says_something_else_is_not_written(trt, exported, make_network, tmp_path, monkeypatch):
    other = make_network(tmp_path / "other", seed=3).onnx.read_bytes()
    monkeypatch.setattr(trt, "plan", lambda _: trt.MAGIC + other)
    out = tmp_path / "plans" / "engine.plan"
    with pytest.raises(errors.AccuracyError, match="golden logits"):
        build(exported.onnx, out, device="tensorrt", options=NATIVE)
    assert not out.exists()


def test_ctrl_c_ends_the_build_and_leaves_nothing(trt, exported, tmp_path):
    steps = []

    def during() -> None:
        steps.append(threading.current_thread())
        if len(steps) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        assert threading.main_thread() is not threading.current_thread()
        threading.Event().wait(0.5)

    trt.world.during_build = during
    trt.world.phases = [("Building", 50)]
    with pytest.raises(KeyboardInterrupt):
        build(exported.onnx, tmp_path / "engine.plan", device="tensorrt", options=NATIVE)
    assert len(steps) < 5
    assert not list(tmp_path.iterdir())
    assert not [thread for thread in threading.enumerate() if thread.name == "pvlr-tensorrt-build"]


def test_on_the_command_line(trt, exported, tmp_path, capsys):
    out = tmp_path / "engine.plan"
    command = [str(exported.onnx), "-o", str(out), "--device", "tensorrt", "--attention", "native", "--batch", "1:2:4"]
    result = CliRunner().invoke(app, ["build", *command, "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["tensorrt"]["batch"] == [1, 2, 4]
    result = CliRunner().invoke(app, ["build", *command, "--batch", "4:2"])
    assert isinstance(result.exception, errors.OptionError)
    trt.world.dla_cores = 1
    result = CliRunner().invoke(app, ["build", *command[:-2], "--dla", "0", "--json"])
    assert json.loads(result.stdout)["tensorrt"]["batch"] == [1, 1, 1]


def test_bars_come_and_go(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Phases() as phases:
        phases.begin("Building", None, 2)
        phases.begin("Timing", "Building", 5)
        phases.step("Timing", 3)
        bars = {task.description: (task.completed, task.total) for task in phases._bars.tasks}
        assert bars == {"Building": (0, 2), "  Timing": (3, 5)}
        phases.end("Timing")
        phases.end("Timing")  # TensorRT may say so twice
        phases.end("Building")
        assert not phases._bars.tasks


def test_without_tensorrt_nothing_is_built(exported, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(errors.MissingPartError, match="JetPack"):
        build(exported.onnx, tmp_path / "engine.plan", device="tensorrt")
    assert not list(tmp_path.iterdir())


def _compile(payload: bytes) -> bytes:
    from pvlr_sdk.tensorrt.builder import compile_network

    return compile_network(payload, "model.onnx", NATIVE, Messages()).plan


RTX = """
import json, sys
import tensorrt_rtx
sys.modules["tensorrt"] = tensorrt_rtx
from pvlr_sdk import errors
from pvlr_sdk.tensorrt.builder import compile_network
from pvlr_sdk.tensorrt.library import Messages
from pvlr_sdk.tensorrt.options import Batch, BuildOptions

class Watcher:
    phases = 0
    def begin(self, phase, parent, steps): Watcher.phases += 1
    def step(self, phase, done): pass
    def end(self, phase): pass

messages = Messages()
try:
    found = compile_network(open(sys.argv[1], "rb").read(), "model.onnx", BuildOptions(Batch(1, 1, 8), "native", 64),
                            messages, watcher=Watcher())
    print(json.dumps({"bytes": len(found.plan), "phases": Watcher.phases, "lines": len(messages.lines)}))
except errors.PvlrError as error:
    print(json.dumps({"error": type(error).__name__, "words": str(error)}))
sys.stdout.flush()
"""


def _on_rtx(onnx: Path) -> dict[str, Any]:
    """In a process of its own: whatever NVIDIA's libraries do without a GPU, the other tests live."""
    pytest.importorskip("tensorrt_rtx")
    done = subprocess.run(
        [sys.executable, "-c", RTX, str(onnx)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout.strip(), done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_the_builder_builds_for_real(exported):
    found = _on_rtx(exported.onnx)
    assert found.get("bytes", 0) > 1000, found
    assert found["lines"] > 0


def test_a_real_parser_s_refusal(exported, tmp_path):
    import onnx

    model = onnx.load(exported.onnx)
    model.graph.node[1].op_type, model.graph.node[1].name = "Unheard", "middle"
    path = tmp_path / "unheard.onnx"
    path.write_bytes(model.SerializeToString())
    found = _on_rtx(path)
    assert found["error"] == "UnsupportedNodeError"
    assert "middle" in found["words"]
