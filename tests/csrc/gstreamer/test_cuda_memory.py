"""pvlrtag reads frames in GPU memory: GStreamer's own cudaupload, on fakes of the driver, of CUDA and of TensorRT.

Everything is built with sanitizers, which also guard the fake GPU's memory.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.csrc.runtime import tensorrt_build
from tests.csrc.runtime.conftest import ENVIRONMENT, Runtime, sanitized
from tests.csrc.runtime.tensorrt_bundle import write_plan
from tests.tensorrt_headers import NO_HEADERS, cuda_include, tensorrt_includes, tensorrt_version

from .conftest import Plugin, installed, need_gstreamer
from .test_pvlrtag import SMALL

__all__ = ["sanitized"]
"""Fixtures of other rooms."""

pytestmark = pytest.mark.slow

FRAMES = 3
CAPS = [
    "NV12,width=322,height=242,colorimetry=bt601",
    "NV12,width=322,height=242,colorimetry=bt709",
    "I420,width=321,height=241",
    "BGR,width=100,height=50",
]
UPLOAD = "cudaupload cuda-device-id={} ! video/x-raw(memory:CUDAMemory) !"


class Gpu(NamedTuple):
    """The plugin as it is installed, and the folder with the driver that GStreamer finds."""

    plugin: Plugin
    driver: Path

    def run(self, caps: str, plan: Path, upload: str = "") -> tuple[list[str], int, bool]:
        """Labels and scores of frames, the number of copies to the host, and whether the element offers its context.

        Without an upload on a machine whose driver GStreamer cannot use.
        """
        source = f"videotestsrc pattern=ball num-buffers={FRAMES} ! video/x-raw,format={caps}"
        environment = {"GST_REGISTRY": self.plugin.environment["GST_REGISTRY"] + ".host"}
        if upload:
            search = f"{self.driver}:{self.plugin.environment['LD_LIBRARY_PATH']}"
            environment = {"LD_LIBRARY_PATH": search}
        pipeline = f"{source} ! {upload} pvlrtag plan={plan} threshold=1e-30 ! fakesink"
        done = self.plugin.launch("-m", *pipeline.split(), **environment)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        tags = re.findall(r"pvlr-tags, .*(labels=.*);", done.stdout)
        assert len(set(tags)) == FRAMES, done.stdout
        offers = "Got context from element 'pvlrtag0': gst.cuda.context=" in done.stdout
        return tags, done.stderr.count("a download\n"), offers


def stubs(library: str, prefix: str) -> str:
    """A source with the functions of the driver that a library of GStreamer looks up by name; they all fail."""
    names = re.findall(rb"\0(%s[A-Z]\w+)(?=\0)" % prefix.encode(), Path(library).read_bytes())
    weak = 'extern "C" __attribute__((weak)) int {}() {{ return 801; }}\n'
    return "".join(weak.format(name.decode()) for name in sorted(set(names)))


def pkg_config(*arguments: str) -> str:
    """What pkg-config prints; empty if it does not know the package."""
    return subprocess.run(
        ["pkg-config", *arguments], capture_output=True, text=True, check=False
    ).stdout.strip()


@pytest.fixture(scope="module")
def gpu(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Gpu:
    """The plugin with TensorRT, and the driver's libraries."""
    libraries = f"{pkg_config('--variable=libdir', 'gstreamer-cuda-1.0')}/libgstcuda-1.0.so"
    codecs = f"{pkg_config('--variable=pluginsdir', 'gstreamer-1.0')}/libgstnvcodec.so"
    need_gstreamer()
    if not tensorrt_includes():
        pytest.skip(NO_HEADERS)
    if not Path(libraries).is_file() or not Path(codecs).is_file():
        pytest.skip("no gstreamer-cuda-1.0, or no plugin nvcodec, of GStreamer's bad plugins")
    built: Runtime = request.getfixturevalue("sanitized")
    fakes, driver = built.library.parent / "fakes/lib", tmp_path_factory.mktemp("driver")
    here, compiled = (
        Path(__file__).parent,
        ["g++", *tensorrt_build.FLAGS, f"-isystem{cuda_include()}", "-shared"],
    )
    sources = here / "fake_driver.cpp", here.parent / "runtime/fake_tensorrt/cuda.cpp"
    for name, library, prefix in (("libcuda", libraries, "cu"), ("libnvcuvid", codecs, "cuvid")):
        (driver / f"{name}.cpp").write_text(stubs(library, prefix))
        others = [*sources, f"-L{fakes}", "-lcudart"] if prefix == "cu" else []
        tensorrt_build.run(
            *compiled, driver / f"{name}.cpp", *others, "-o", driver / f"{name}.so.1"
        )
    # The sanitizers must be loaded first, with what they intercept, since the program is built without them.
    runtimes = [["g++", f"-print-file-name={name}"] for name in ("libasan.so", "libstdc++.so.6")]
    preload = [
        subprocess.run(one, capture_output=True, text=True, check=True).stdout.strip()
        for one in runtimes
    ]
    plugin = installed(built.prefix, driver)
    plugin.environment.update(
        {name: ENVIRONMENT[name] for name in ("ASAN_OPTIONS", "TBB_ENABLE_SANITIZERS")}
    )
    plugin.environment.update(
        LD_LIBRARY_PATH=str(fakes), LD_PRELOAD=":".join(preload), PVLR_ALLOW_UNSIGNED="1"
    )
    return Gpu(plugin, driver)


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """A plan for the fake GPU."""
    return write_plan(tmp_path / "engine.plan", tensorrt_version(tensorrt_includes()[-1]))


@pytest.mark.parametrize("caps", CAPS)
def test_frames_on_the_gpu_are_read_where_they_are(caps: str, gpu: Gpu, plan: Path) -> None:
    """In the context that the element gives to its neighbours, and offers to decoders that are not linked yet."""
    tags, *rest = gpu.run(caps, plan)
    assert rest == [0, False]
    assert gpu.run(caps, plan, UPLOAD.format(0)) == (tags, 0, True)


def test_a_decoder_that_asks_gets_the_context(gpu: Gpu, tmp_path: Path) -> None:
    """Before the element has started; without a driver there is none."""
    needed = pkg_config("--cflags", "--libs", "gstreamer-1.0").split()
    program = tmp_path / "ask"
    tensorrt_build.run("gcc", Path(__file__).with_name("ask_for_context.c"), *needed, "-o", program)
    search = f"{gpu.driver}:{gpu.plugin.environment['LD_LIBRARY_PATH']}"
    for changes, answer in (({"LD_LIBRARY_PATH": search}, "gst.cuda.context"), ({}, "none")):
        environment = {**gpu.plugin.environment, **changes}
        done = subprocess.run(
            [program], capture_output=True, text=True, check=False, env=environment
        )
        assert (done.returncode, done.stdout) == (0, f"{answer}\n"), done.stderr[-4000:]


def test_frames_in_another_context_are_copied_to_the_host(gpu: Gpu, plan: Path) -> None:
    """Here of another GPU. For a plan of the CPU all frames are."""
    for used, device in ((plan, 1), (SMALL, 0)):
        tags, *_ = gpu.run(CAPS[0], used)
        assert gpu.run(CAPS[0], used, UPLOAD.format(device)) == (tags, FRAMES, used == plan)
