"""The doctor: its report on this machine and on a damaged plan; a probe that fails does not stop it."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pvlr_sdk
from pvlr_sdk._util.cores import available_cores
from pvlr_sdk.backends.openvino import open_core, supports_bf16
from pvlr_sdk.cli.screen import precision_row
from pvlr_sdk.workshop.diagnostics import doctor
from tests.manifests import edit_manifest


@pytest.fixture(scope="module")
def report(plan: Path):
    return doctor.examine(plan)


@pytest.mark.slow
def test_a_machine_and_plan_that_work(report, plan):
    assert report["problems"] == []
    assert report["plan"]["runs"] is True
    assert report["plan"]["path"] == str(plan)
    assert report["pvlr_sdk"]["core"] == "ok"
    assert report["pvlr_sdk"]["folder"] == str(Path(pvlr_sdk.__file__).parent)
    assert report["packages"]["numpy"] == np.__version__
    assert report["system"]["machine"] == platform.machine()
    assert report["cpu"]["usable_cores"] == available_cores()
    assert "CPU" in report["openvino"]["devices"]


def test_the_report_is_json(report):
    assert json.loads(json.dumps(report)) == report


@pytest.mark.skipif(not Path("/proc/meminfo").is_file(), reason="needs /proc/meminfo")
def test_memory_is_plausible(report):
    memory = report["memory_mib"]
    assert 0 < memory["available"] <= memory["total"]


def test_the_memory_limit_is_that_of_the_cgroup(monkeypatch):
    monkeypatch.setattr(doctor, "memory_limit", lambda: 64 << 20)
    assert doctor._memory()["container_limit"] == 64
    monkeypatch.setattr(doctor, "memory_limit", lambda: 2**63 - 4096)
    assert doctor._memory()["container_limit"] is None


@pytest.mark.slow
def test_a_broken_plan_is_a_problem_with_its_reason(own_plan):
    data = own_plan.read_bytes()
    own_plan.write_bytes(data[:-1])
    report = doctor.examine(own_plan)
    assert report["plan"]["runs"] is False
    assert report["plan"]["why"].startswith("FileSizeError")
    assert report["plan"]["help"] == "docs/errors.md#filesizeerror"
    assert len(report["problems"]) == 1
    assert "FileSizeError" in report["problems"][0]


@pytest.mark.slow
def test_the_precisions_of_a_plan_by_their_time_and_what_they_cost(own_plan):
    gate = {
        "inference_ms": 1.0,
        "photos": 40,
        "tag_sets": 0.95,
        "mAP": 60.5,
        "mAP_fp32": 60.75,
        "other": 1,
    }
    edit_manifest(own_plan, lambda manifest: manifest["measured"].update(precisions={"fp32": gate}))
    found = doctor.examine(own_plan)["plan"]["precisions"]
    assert set(found) == ({"fp32", "bf16"} if supports_bf16(open_core()) else {"fp32"})
    times = [measured["inference_ms"] for measured in found.values()]
    assert times == sorted(times)
    assert {key: found["fp32"][key] for key in found["fp32"] if key != "inference_ms"} == {
        key: gate[key] for key in ("photos", "tag_sets", "mAP", "mAP_fp32")
    }
    assert precision_row({**gate, "inference_ms": 2.0}) == (
        "2.00 ms, same tags as the exported network on 95.0 % of 40 images, mAP 60.50 (fp32 60.75)"
    )
    assert precision_row({"inference_ms": 2.0}) == "2.00 ms"


@pytest.mark.slow
def test_a_probe_that_fails_leaves_its_reason_and_the_rest(monkeypatch, plan):
    def broken() -> None:
        raise OSError("no such thing here")

    monkeypatch.setattr(doctor, "_memory", broken)
    report = doctor.examine(plan)
    assert report["memory_mib"] == {"error": "OSError: no such thing here"}
    assert report["plan"]["runs"] is True


@pytest.fixture
def without_slow_probes(monkeypatch):
    monkeypatch.setattr(doctor, "_plan", lambda plan: {})
    monkeypatch.setattr(doctor.video, "gstreamer", lambda: None)
    monkeypatch.setattr(doctor, "_openvino", lambda: {"devices": {"CPU": {}}})


@pytest.mark.usefixtures("without_slow_probes")
@pytest.mark.parametrize(
    ("package", "driver", "said"),
    [
        ("tensorrt-cu13", "12.6", "driver for CUDA 13 or later, not for CUDA 12.6"),
        ("tensorrt-cu12", "11.8", "driver for CUDA 12 or later, not for CUDA 11.8"),
        ("tensorrt-cu12", "12.0", None),
        ("tensorrt-cu12", "13.0", None),
        ("tensorrt", "11.8", None),  # JetPack's: its package does not say which driver it needs
        ("tensorrt-cu13", None, None),
    ],
)
def test_a_driver_that_is_older_than_tensorrt(monkeypatch, package, driver, said):
    monkeypatch.setattr(
        doctor.gpu, "devices", lambda: driver and {"driver_cuda": driver, "gpus": []}
    )
    monkeypatch.setattr(doctor, "_packages", lambda: {package: "10.13.0"})
    problems = doctor.examine()["problems"]
    assert [line.partition(";")[0] for line in problems] == (
        [f"{package} needs NVIDIA's {said}"] if said else []
    )


@pytest.mark.usefixtures("without_slow_probes")
@pytest.mark.parametrize(
    ("kernels", "plugins", "nvcc", "said"),
    [
        (
            False,
            None,
            None,
            "preprocessing on the GPU and fused attention: .*run sudo apt-get .* && PVLR_CUDA=1 pip",
        ),
        (
            True,
            None,
            "12.6",
            "fused attention: in a clone of the repository, run PVLR_CUDA=1 pip install",
        ),
        (True, "1", "12.6", None),
    ],
)
def test_what_a_plain_installation_lacks_on_a_jetson(
    monkeypatch, tmp_path, kernels, plugins, nvcc, said
):
    monkeypatch.setattr(
        doctor.board, "jetson", lambda: {"l4t": "36.4.3", "jetpack": "6.2", "power_mode": None}
    )
    monkeypatch.setattr(doctor.gpu, "toolkit", lambda: nvcc)
    monkeypatch.setattr(doctor, "_CUDA", tmp_path)
    built = {"core": "ok", "cuda_kernels": kernels, "tensorrt_plugins": plugins}
    monkeypatch.setattr(doctor, "_components", lambda: built)
    report = doctor.examine()
    assert report["problems"] == []
    if said is None:
        assert report["advice"] == []
    else:
        (line,) = report["advice"]
        assert re.fullmatch(f"this Jetson runs without {said}.*", line)


def test_other_machines_get_no_advice_on_jetsons(report):
    assert report["jetson"] is not None or report["advice"] == []


@pytest.mark.slow
def test_nothing_heavy_is_imported():
    code = (
        "import sys; from pvlr_sdk.workshop.diagnostics import doctor; doctor._plan = dict; doctor.examine(); "
        "print([name for name in ('torch', 'tensorrt', 'pycuda', 'onnx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
