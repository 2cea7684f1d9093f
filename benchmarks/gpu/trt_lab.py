"""What the questions of trt_check share: plans that are built once, missing parts, replaced calls of the driver."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvlr_sdk import Tagger, errors
from pvlr_sdk.backends import open_backend
from pvlr_sdk.backends.tensorrt import TensorRtBackend, library, plugins
from pvlr_sdk.backends.tensorrt.cuda import CudaError
from pvlr_sdk.backends.tensorrt.driver import open_cuda
from pvlr_sdk.backends.tensorrt.libcuda import Driver
from pvlr_sdk.bundle.bundle import Bundle
from pvlr_sdk.bundle.schema import Attention, Precision
from pvlr_sdk.frames.bgr import load_bgr
from pvlr_sdk.models.find import load_bundle
from pvlr_sdk.workshop.compile.build import build
from pvlr_sdk.workshop.compile.calibration import CalibrationImages
from pvlr_sdk.workshop.compile.onnx.quantize import check_nncf
from pvlr_sdk.workshop.compile.tensorrt_options import Batch, BuildOptions

from ..closed import write_closed
from ..common import ROOT, SAMPLES

MODELS = {
    path.parent.name: path
    for path in (*ROOT.glob("pvlr_sdk/models/*/engine.plan"), *ROOT.glob("models/*/engine.plan"))
}
"""The shipped plans by name."""
_PHOTOS = 128
"""Half of them set the ranges of int8, the other half is compared with fp32."""

Found = tuple[str, dict[str, Any]]
"""An answer in words, and its numbers."""


class NotAnsweredError(Exception):
    """The question cannot be answered here; the message is the reason."""


def find_network(model: str, out: Path) -> Path:
    """The network of a shipped model, closed, as fused attention and int8 need it, or a network by its path.

    It is written below ``out``, unless an earlier process has done so.
    """
    if model not in MODELS:
        return Path(model)
    folder = out / "networks" / model
    path = folder / "model.onnx"
    return path if path.exists() else write_closed(MODELS[model], folder)


class Lab:
    """What one process of a run works with.

    Args:
        out: the folder of everything that is written.
        network: the exported network.
        folder: a folder of photos; None: those of PVLR_DATA.
        seconds: the length of each measurement.
    """

    def __init__(self, out: Path, network: Path, folder: Path | None, seconds: float) -> None:
        self.out = out
        self.network = network
        self.seconds = seconds
        self._folder = folder

    @cached_property
    def cuda(self) -> Driver:
        """The driver interface of the backend."""
        library.require()
        return open_cuda()

    @cached_property
    def photos(self) -> CalibrationImages:
        """Real photos for ranges and the accuracy gate."""
        data = sorted(Path(os.environ.get("PVLR_DATA", "/none")).glob("*/images"))
        folder = self._folder or next(iter(data), None)
        if folder is None:
            raise NotAnsweredError("no photos: set --photos DIR or PVLR_DATA")
        return CalibrationImages.below(folder, "--photos").evenly(_PHOTOS)

    def plan(
        self,
        precision: Precision = "fp16",
        attention: Attention = "native",
        batch: str = "1:1:8",
        network: Path | None = None,
        **options: Any,
    ) -> Bundle:
        """A plan of the network, built unless an earlier process has done so."""
        network = network or self.network
        name = "-".join((network.parent.name, precision, attention, batch.replace(":", "_")))
        path = self.out / "plans" / name / "engine.plan"
        spec = load_bundle(path).manifest.tensorrt if path.with_suffix(".json").exists() else None
        if spec is None or (spec.version, spec.gpu) != (library.version(), self.cuda.gpu().name):
            images = None if "photos" in missing(self, "photos") else self.photos
            how = BuildOptions(Batch.parse(batch), attention, **options)
            build(
                network,
                path,
                device="tensorrt",
                precision=precision,
                calibration_images=images,
                options=how,
            )
        return load_bundle(path)

    def tagger(self, plan: Bundle, **options: Any) -> Tagger:
        """A tagger of a plan that this run has built."""
        return Tagger(plan.path, allow_unsigned=True, **options)

    def backend(self, plan: Bundle, **options: Any) -> TensorRtBackend:
        """The backend of a plan that this run has built."""
        backend = open_backend(plan, allow_unsigned=True, **options)
        assert isinstance(backend, TensorRtBackend)
        return backend


class OnDevice:
    """A frame on the GPU, which arrives on a stream; ``late``: after 512 MB of other copies. Without ``named`` it does
    not name the stream."""

    def __init__(
        self, cuda: Driver, frame: NDArray[np.uint8], late: bool = False, named: bool = True
    ) -> None:
        whole = frame if frame.base is None else frame.base  # with its pitch
        with cuda.current():
            stream = cuda.stream()
            memory = cuda.malloc(whole.nbytes)
            self._host = cuda.pinned(whole.shape, "uint8")
            self._host[:] = 0
            cuda.to_device(memory, self._host, stream)
            cuda.synchronize(stream)
            self._host[:] = whole
            if late:
                self._other = cuda.pinned((1 << 25,), "uint8")
                other = cuda.malloc(1 << 25)
                for _ in range(16):
                    cuda.to_device(other, self._other, stream)
            cuda.to_device(memory, self._host, stream)
        self.__cuda_array_interface__ = {
            "shape": frame.shape,
            "strides": frame.strides,
            "typestr": "|u1",
            "data": (memory + frame.ctypes.data - whole.ctypes.data, False),
            "stream": stream if named else None,
            "version": 3,
        }


def photo() -> NDArray[np.uint8]:
    """A sample, uint8 (H, W, 3) BGR."""
    return load_bgr(SAMPLES[0])


def require(condition: object, reason: str) -> None:
    """Raises NotAnsweredError with the reason unless the condition holds."""
    if not condition:
        raise NotAnsweredError(reason)


def expect(condition: object, seen: object) -> None:
    """Raises AssertionError with what was seen instead, unless the condition holds."""
    if not condition:
        raise AssertionError(seen)


@contextmanager
def replaced(cuda: Driver, call: str, by: Callable[..., Any]) -> Iterator[None]:
    """Replace a method of the driver."""
    setattr(cuda, call, by)
    try:
        yield
    finally:
        delattr(cuda, call)  # the method of the class again


def failing(cuda: Driver, call: str, code: int, after: int = 0) -> Any:
    """Let a method of the driver fail after it has succeeded ``after`` times."""
    real = getattr(cuda, call)
    calls = count()

    def fails(*arguments: Any, **options: Any) -> Any:
        if next(calls) >= after:
            raise CudaError(code, call, "on purpose")
        return real(*arguments, **options)

    return replaced(cuda, call, fails)


def find_parts(lab: Lab) -> Found:
    """Which parts are missing, and which GPU and software are here?"""
    lost = missing(lab)
    about = (
        {}
        if "gpu" in lost
        else {**asdict(lab.cuda.gpu()), "cuda": lab.cuda.name, "tensorrt": library.version()}
    )
    return f"{len(lost)} parts are missing", {"missing": lost, "about": about}


def missing(lab: Lab, *names: str) -> dict[str, str]:
    """The parts that are missing, of these or of all, with the reason."""
    checks: dict[str, Callable[[], object]] = {
        "gpu": lambda: lab.cuda,
        "rtx": lambda: require(find_spec("tensorrt_rtx"), "no tensorrt-rtx"),
        "torch": _check_torch,
        "sanitizer": lambda: require(
            shutil.which("compute-sanitizer"), "no compute-sanitizer in PATH"
        ),
        "plugins": lambda: plugins.find(),
        "nncf": check_nncf,
        "photos": lambda: lab.photos.check(),
        "training": lambda: require(
            find_spec("pvlr_training"), 'no training package: pip install ".[train]"'
        ),
    }
    found = {}
    for name in names or checks:
        try:
            checks[name]()
        except (errors.PvlrError, NotAnsweredError) as error:
            found[name] = str(error)
    return found


def _check_torch() -> None:
    require(find_spec("torch"), "no PyTorch")
    from .kernels_gpu import missing as missing_for_kernels

    problem = missing_for_kernels("cuda")
    require(not problem, str(problem))
