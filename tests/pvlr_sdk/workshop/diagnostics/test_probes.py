"""The doctor's probes, on outputs and files of other machines and on this one."""

from __future__ import annotations

import ctypes
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk.workshop.diagnostics import doctor
from pvlr_sdk.workshop.diagnostics.probes import board, gpu, programs, video
from tests.manifests import edit_manifest

JETSON = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 2025"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a shell script of that name on the path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def put(name: str, script: str) -> None:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    return put


def test_a_jetson(tmp_path, monkeypatch, program):
    release = tmp_path / "nv_tegra_release"
    release.write_text(JETSON)
    monkeypatch.setattr(board, "_TEGRA_RELEASE", release)
    program("nvpmodel", "echo 'NV Power Mode: MAXN_SUPER\n2'")
    program("dpkg-query", "[ $3 = nvidia-jetpack ] && printf 6.2+b77")
    assert board.jetson() == {"l4t": "36.4.3", "jetpack": "6.2+b77", "power_mode": "MAXN_SUPER (2)"}


def test_no_jetson(tmp_path, monkeypatch):
    monkeypatch.setattr(board, "_TEGRA_RELEASE", tmp_path / "nothing")
    assert board.jetson() is None


def test_clocks_and_heat(tmp_path, monkeypatch):
    monkeypatch.setattr(board, "_SYS", tmp_path)
    files = {
        "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "729600",
        "devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "1984000",
        "devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil",
        "class/devfreq/17000000.ga10b/cur_freq": "306000000",
        "class/devfreq/17000000.ga10b/max_freq": "918000000",
        "class/devfreq/15340000.vic/cur_freq": "115200000",
        "class/thermal/thermal_zone0/type": "cpu-thermal",
        "class/thermal/thermal_zone0/temp": "51250",
        "class/thermal/thermal_zone1/type": "gpu-thermal",
        "class/thermal/thermal_zone1/temp": "66031",
        "class/thermal/cooling_device0/type": "pwm-fan",
        "class/thermal/cooling_device0/cur_state": "2",
        "class/thermal/cooling_device1/type": "gpu-throttle-alert",
        "class/thermal/cooling_device1/cur_state": "1",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert board.clocks() == {
        "cpu_mhz": "729 of 1984",
        "governor": "schedutil",
        "17000000.ga10b_mhz": "306 of 918",
    }
    # A running fan does not count as throttling.
    assert board.heat() == {"hottest": "gpu-thermal 66", "throttling": "gpu-throttle-alert"}


def test_a_machine_without_sensors(tmp_path, monkeypatch):
    monkeypatch.setattr(board, "_SYS", tmp_path)
    assert board.clocks() == {}
    assert board.heat() == {"hottest": None, "throttling": "none"}


def test_nvidia_smi(program):
    program(
        "nvidia-smi",
        """case "$1" in
*throttle*) echo 0x0000000000000024;;
*event*) echo 'Field "clocks_event_reasons.active" is not a valid field to query.'; exit 2;;
*) echo "NVIDIA L4, 550.90.07, 23034 MiB, 22500 MiB, 41, 210 MHz, 2040 MHz, 16.5 W, 72.00 W, [N/A]";;
esac""",
    )
    (found,) = gpu.now()
    assert found["name"] == "NVIDIA L4"
    assert found["clock_max"] == "2040 MHz"
    assert found["throttling"] == "software power cap, software thermal slowdown"
    assert "power_state" not in found


DRIVER = """
#include <cstring>
extern "C" {
int cuInit(unsigned) { return FAILS; }
int cuDriverGetVersion(int* version) { *version = 12060; return 0; }
int cuDeviceGetCount(int* count) { *count = 2; return 0; }
int cuDeviceGet(int* device, int index) { *device = index; return 0; }
int cuDeviceGetName(char* name, int size, int device) {
  std::strncpy(name, device ? "NVIDIA L4" : "Orin", size);
  return 0;
}
int cuDeviceGetAttribute(int* value, int attribute, int device) {
  *value = attribute == 75 ? 8 : attribute == 76 ? (device ? 9 : 7) : attribute == 16 ? (device ? 58 : 16) : -1;
  return 0;
}
}
"""


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a library with the driver's calls in its place; ``fails`` is the CUDA error that it starts with."""
    if shutil.which("g++") is None:
        pytest.skip("no g++ on this machine")
    load = ctypes.CDLL

    def put(fails: int) -> None:
        path = tmp_path / f"libcuda{fails}.so"
        command = ["g++", "-x", "c++", "-shared", "-fPIC", f"-DFAILS={fails}", "-", "-o", str(path)]
        subprocess.run(command, input=DRIVER, text=True, check=True)
        monkeypatch.setattr(
            ctypes, "CDLL", lambda name: load(str(path) if name == "libcuda.so.1" else name)
        )

    return put


def test_gpus_by_the_driver(driver):
    driver(0)
    assert gpu.devices() == {
        "driver_cuda": "12.6",
        "gpus": [
            {"name": "Orin", "capability": "8.7", "multiprocessors": 16},
            {"name": "NVIDIA L4", "capability": "8.9", "multiprocessors": 58},
        ],
    }
    driver(100)
    with pytest.raises(RuntimeError, match="cuInit gave CUDA error 100"):
        gpu.devices()


def test_a_program_that_fails_says_so(program):
    program(
        "nvidia-smi",
        "echo 'NVIDIA-SMI has failed because it could not communicate with the driver.'; exit 9",
    )
    with pytest.raises(RuntimeError, match="could not communicate"):
        gpu.now()
    assert programs.output_of("no-such-program") is None


def test_tensorrt_by_the_system_s_packages(program, monkeypatch):
    import importlib.metadata

    def none(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", none)
    program("dpkg-query", '[ "$3" = libnvinfer10 ] && printf 10.3.0.30-1+cuda12.5')
    assert gpu.tensorrt() == "10.3.0.30 (library libnvinfer10; Python can't import it)"


def test_decoders(program):
    program(
        "gst-inspect-1.0",
        """[ "$1" = --version ] && echo "gst-inspect-1.0 version 1.20.3
GStreamer 1.20.3" && exit
echo "libav:  avdec_h264: libav H.264 decoder
nvvideo4linux2:  nvv4l2decoder: NVIDIA v4l2 video decoder
typefindfunctions: image/jpeg: jpg" """,
    )
    found = video.gstreamer()
    assert found["version"] == "1.20.3"
    assert found["decoders"] == ["nvv4l2decoder", "avdec_h264"]
    assert video.opencv()["FFMPEG"] is True


@pytest.mark.slow
def test_a_plan_for_another_gpu_lists_every_reason(gpu_manifest, monkeypatch):
    monkeypatch.setattr(gpu, "tensorrt", lambda: "10.13.0")
    seen = {
        "driver_cuda": "12.6",
        "gpus": [{"name": "NVIDIA L4", "capability": "8.9", "multiprocessors": 58}],
    }
    monkeypatch.setattr(gpu, "devices", lambda: seen)
    report = doctor.examine(gpu_manifest)
    assert report["plan"]["runs"] is False
    reasons = report["plan"]["does_not_fit"]
    assert "TensorRT: built for 10.3.0, here is 10.13.0" in reasons
    assert any(
        reason.startswith("GPU: built for Orin, compute capability 8.7, here is NVIDIA L4")
        for reason in reasons
    )
    assert reasons[-1].startswith(
        "build it here: pvlr build model.onnx -o engine.plan --device tensorrt"
    )


@pytest.mark.slow
def test_a_plan_for_a_gpu_on_a_bare_laptop(gpu_manifest, monkeypatch):
    monkeypatch.setattr(gpu, "tensorrt", lambda: None)
    monkeypatch.setattr(gpu, "devices", lambda: None)
    reasons = doctor.examine(gpu_manifest)["plan"]["does_not_fit"]
    assert "TensorRT: built for 10.3.0, here is none" in reasons
    assert any(
        reason.startswith("GPU: built for Orin") and "here is none" in reason for reason in reasons
    )


@pytest.fixture
def gpu_manifest(own_plan: Path) -> Path:
    """A plan whose manifest is for an Orin."""
    import platform

    section = {
        "version": "10.3.0",
        "capability": "8.7",
        "gpu": "Orin",
        "machine": platform.machine(),
    }
    edit_manifest(
        own_plan, lambda raw: raw.update(backend="tensorrt", precision="fp16", tensorrt=section)
    )
    return own_plan
