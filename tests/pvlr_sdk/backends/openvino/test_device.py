"""OpenVINO's devices: how they are named, what they are asked for, and the error where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.backends.openvino import backend, open_core, supports_bf16

FRAME = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PVLR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PVLR_ALLOW_UNSIGNED", "1")  # no isolated load, which test_isolated.py tests


@pytest.mark.parametrize("name", ["CPU", "cpu"])
def test_the_cpu_under_either_name_gives_the_same_bits(plan: Path, name: str) -> None:
    with Tagger(plan) as own, Tagger(plan, device=name) as named:
        assert named.info["device"] == own.info["device"]
        assert named.predict(FRAME).scores.tobytes() == own.predict(FRAME).scores.tobytes()


@pytest.mark.parametrize("name", ["gpu", "npu", "GPU.7", "npu.7"])
def test_a_device_that_is_not_there_names_those_that_are(plan: Path, name: str) -> None:
    found = open_core().available_devices
    if any(device.startswith(name.upper()) for device in found):
        pytest.skip(f"this machine has {name}")
    with pytest.raises(errors.BackendError) as caught:
        Tagger(plan, device=name)
    assert caught.value.expected == f"the OpenVINO device {name.upper()}"
    assert caught.value.got == f"a machine with {', '.join(found)}"


@pytest.mark.parametrize(
    "name", ["AUTO", "HETERO:GPU,CPU", "CPU.0", "GPU.", "GPU.x", "GPU.1\n", "cuda"]
)
def test_what_is_not_one_device_is_refused(plan: Path, name: str) -> None:
    with pytest.raises(
        errors.OptionError, match="device: expected one of auto, cpu, tensorrt, gpu, npu, got"
    ):
        Tagger(plan, device=name)


class OtherDevice:
    """OpenVINO on a machine with two GPUs, which this CPU stands in for: it computes in fp32 whatever it is asked."""

    available_devices = ("CPU", "GPU.0", "GPU.1")

    def __init__(self, *capabilities: str) -> None:
        self.capabilities = ["FP32", *capabilities]
        self.asked: list[tuple[str, str, dict[str, Any]]] = []

    def get_property(self, device: str, name: str) -> Any:
        if device == "CPU":
            return open_core().get_property(device, name)
        return {
            "FULL_DEVICE_NAME": f"Intel {device}",
            "OPTIMIZATION_CAPABILITIES": self.capabilities,
        }[name]

    def compile_model(self, model: Any, device: str, options: dict[str, Any]) -> Any:
        self.asked.append(("compile", device, options))
        return open_core().compile_model(
            model, "CPU", {**options, "INFERENCE_PRECISION_HINT": "f32"}
        )

    def import_model(self, blob: bytes, device: str, options: dict[str, Any]) -> Any:
        self.asked.append(("import", device, options))
        return open_core().import_model(blob, "CPU", {**options, "INFERENCE_PRECISION_HINT": "f32"})


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> OtherDevice:
    core = OtherDevice("FP16", "EXPORT_IMPORT")
    monkeypatch.setattr(backend, "open_core", lambda: core)
    return core


def test_a_gpu_computes_in_fp16_and_its_network_is_cached(plan: Path, machine: OtherDevice) -> None:
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f16",
        "ALLOW_AUTO_BATCHING": False,
    }
    for call, from_cache in (("compile", False), ("import", True)):
        with Tagger(plan, device="GPU.1", precision="auto") as tagger:
            found = {name: tagger.info[name] for name in ("device", "precision", "from_cache")}
            assert found == {"device": "Intel GPU.1", "precision": "fp16", "from_cache": from_cache}
            scores = tagger.predict(FRAME).scores
        assert machine.asked == [(call, "GPU.1", options)]
        machine.asked.clear()
    with Tagger(plan, precision="fp32") as exact:
        assert np.abs(scores - exact.predict(FRAME).scores).max() < 1e-5


def test_a_device_that_cannot_export_has_no_cache(plan: Path, machine: OtherDevice) -> None:
    machine.capabilities.remove("EXPORT_IMPORT")
    for _ in range(2):
        with Tagger(plan, device="gpu", optimize="throughput") as tagger:
            assert (tagger.info["from_cache"], tagger.info["together"]) == (False, 1)
            assert len(list(tagger.predict_stream([FRAME] * 3))) == 3
    assert [call for call, _, _ in machine.asked] == ["compile", "compile"]
    assert all(options["PERFORMANCE_HINT"] == "THROUGHPUT" for _, _, options in machine.asked)


@pytest.mark.parametrize(
    ("capabilities", "precision", "hint"),
    [
        ((), "auto", "f32"),
        (("FP16",), "fp16", "f16"),
        (("FP16",), "fp32", "f32"),
        (("BF16",), "bf16", "bf16"),
    ],
)
def test_a_precision_that_the_device_has(
    plan: Path, machine: OtherDevice, capabilities: tuple[str, ...], precision: str, hint: str
) -> None:
    machine.capabilities[1:] = capabilities
    with Tagger(plan, device="gpu", precision=precision):
        ((_, _, options),) = machine.asked
    assert options["INFERENCE_PRECISION_HINT"] == hint


@pytest.mark.parametrize(
    ("capabilities", "precision", "hint"),
    [
        (["FP32"], "fp16", "fp32"),
        (["FP32", "FP16"], "bf16", "fp16"),
        (["FP16", "INT8"], "fp32", "fp16"),
    ],
)
def test_a_precision_that_the_device_lacks(
    plan: Path, machine: OtherDevice, capabilities: list[str], precision: str, hint: str
) -> None:
    machine.capabilities[:] = capabilities
    expected = f'a GPU that computes in {precision}, got Intel GPU.1.*or "{hint}"'
    with pytest.raises(errors.BackendError, match=expected):
        Tagger(plan, device="GPU.1", precision=precision)


def test_fp16_is_not_for_the_cpu(plan: Path) -> None:
    with pytest.raises(
        errors.OptionError, match=r"precision: .*got 'fp16'\. fp16 is for GPUs and NPUs"
    ):
        Tagger(plan, precision="fp16")


def test_the_self_test_also_guards_another_device(
    plan: Path, machine: OtherDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device whose results differ by more than the tolerance of bf16, which rounds more coarsely than fp16."""
    from pvlr_sdk.inference import golden

    real = golden.logits_of
    monkeypatch.setattr(golden, "logits_of", lambda *arguments: real(*arguments) + 100)
    with pytest.raises(errors.SelfTestError, match=r"golden logits within [0-9.e-]+ \(fp16\)"):
        Tagger(plan, device="gpu", precision="auto")


def test_an_unsigned_plan_is_loaded_on_the_cpu_first(
    plan: Path, machine: OtherDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pvlr_sdk.backends.openvino import isolated

    loaded: list[str] = []
    monkeypatch.setattr(
        isolated, "ensure", lambda _bundle, _network, precision, *_, **__: loaded.append(precision)
    )
    with Tagger(plan, device="gpu", precision="fp16", allow_unsigned=False):
        assert loaded == ["bf16" if supports_bf16(open_core()) else "fp32"]
