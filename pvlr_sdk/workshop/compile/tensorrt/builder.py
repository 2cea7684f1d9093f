"""Builds TensorRT plans for this machine's GPU: compiled in the requested precision, compared with fp32, timed."""

from __future__ import annotations

import hashlib
import platform
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from .... import errors
from ...._util.files import write_files
from ....backends import cache
from ....backends.tensorrt import TensorRtBackend, library, plugins
from ....backends.tensorrt.driver import open_cuda
from ....bundle.manifest import TensorRtSpec
from ....bundle.schema import ATTENTIONS, Attention, Precision
from ....inference import golden
from .. import gate
from ..builder import BuildRequest, Reference
from ..onnx.convert import convert
from ..onnx.splitting import split
from ..tensorrt_options import BuildOptions
from .compiler import compile_network

if TYPE_CHECKING:
    from ....backends import Backend
    from ....bundle.bundle import Bundle
    from ....frames.frames import FrameLike, Order
    from ..exported import Exported

_WARM_UP = 2
_TIMES = 10
"""Measurements of a plan, each the mean of several runs: those that are dropped, and those that count."""
_LEAST_TOLERANCE = 0.02
_SAME_NETWORK = 0.5
"""Largest difference of a golden logit, as a share of the logits' spread: 0.2 for int8, 1 for another network."""


class TensorRtBuilder:
    """See :class:`pvlr_sdk.workshop.compile.builder.Builder`. Writes TensorRT's log next to the plan."""

    backend = "tensorrt"

    def check(self, precision: str, options: BuildOptions | None) -> None:
        if (
            options is not None
            and options.dla is not None
            and precision not in ("auto", "fp16", "int8")
        ):
            raise errors.OptionError(
                "precision", "fp16 or int8 for the DLA", precision, "Omit --dla to use the GPU."
            )

    def build(self, source: Exported, request: BuildRequest) -> Bundle:
        library.require()
        work = _Work(source, request)
        try:
            built = work.build_all()
        except errors.PvlrError:
            work.write_log()  # it has the reason
            raise
        work.write_log()
        chosen = _fastest(built)
        measured = {
            "precisions": {item.name: item.to_dict() for item in built},
            "min_agreement": chosen.least,
            "calibrated_on": len(work.ranges) if chosen.precision == "int8" else 0,
        }
        if work.refused:
            measured["refused"] = work.refused
        return work.bundle(
            chosen.precision, chosen.attention, chosen.plan, measured, chosen.golden_difference
        )


@dataclass
class _Built:
    precision: Precision
    attention: Attention
    plan: bytes
    least: float
    """Share of the images whose tags it must keep."""
    agreement: gate.Agreement
    golden_difference: float
    milliseconds: float
    """GPU time of the network alone."""

    @property
    def name(self) -> str:
        return f"{self.precision} {self.attention}"

    def to_dict(self) -> dict[str, Any]:
        return {"inference_ms": round(self.milliseconds, 3), **self.agreement.to_dict()}


class _Work:
    """What the plans of one build have in common."""

    def __init__(self, source: Exported, request: BuildRequest) -> None:
        self._wanted = request.precision
        self._least = request.min_agreement
        self.refused: dict[str, str] = {}
        self.ranges: Sequence[FrameLike] = []
        self._source = source
        self._out = request.out
        self._watcher = request.watcher
        self._options = request.options or BuildOptions()
        self._gpu = open_cuda().gpu()
        self._messages = library.Messages()
        self._reference = Reference(source)
        self._label_network = None
        self._network = source.network.payload
        if source.spec.open:
            self._label_network, self._network = split(self._network, source.network.source)
        images: Sequence[FrameLike] = [self._reference.frame]
        self._targets: NDArray[Any] | None = None
        if request.calibration_images is not None:
            request.calibration_images.check()
            self.ranges = list(request.calibration_images.ranges)
            images, self._targets = request.calibration_images.gate()
        self._images = images
        self._exact = self._logits(self._reference.backend)

    def write_log(self) -> None:
        if self._messages.lines:
            write_files({self._out.with_suffix(".build.log"): self._messages.text().encode()})

    def build_all(self) -> list[_Built]:
        """Build a plan for each requested attention, one after the other: a small board has memory for one.

        With ``precision="auto"`` and images for the ranges, the attention that is faster in fp16 is also built in int8.
        Of several plans, one that fails is left out.
        """
        attentions = ATTENTIONS if self._options.attention == "auto" else (self._options.attention,)
        automatic = self._wanted == "auto"
        first = "fp16" if automatic else cast(Precision, self._wanted)
        plans: list[tuple[Precision, Attention]] = [(first, attention) for attention in attentions]
        built: list[_Built] = []
        failed: errors.PvlrError | None = None
        while plans:
            precision, attention = plans.pop(0)
            try:
                built.append(self._build(precision, attention))
            except errors.PvlrError as error:
                failed = error
                self.refused[f"{precision} {attention}"] = str(error)
                _clear_frames(error)
            if automatic and built and not plans and self.ranges and self._label_network is None:
                automatic = False
                plans.append(("int8", min(built, key=lambda item: item.milliseconds).attention))
        if not built:
            assert failed is not None
            raise failed
        return built

    def bundle(
        self,
        precision: Precision,
        attention: Attention,
        plan: bytes,
        measured: dict[str, Any],
        golden_difference: float,
    ) -> Bundle:
        options = self._options
        gpu = self._gpu
        spec = TensorRtSpec(
            version=library.version(),
            capability="{}.{}".format(*gpu.capability),
            gpu=gpu.name,
            multiprocessors=gpu.multiprocessors,
            machine=platform.machine(),
            hardware=options.hardware,
            version_compatible=options.version_compatible,
            batch=(options.batch.min, options.batch.opt, options.batch.max),
            attention=attention,
            plugins=plugins.version() if attention == "fused" else None,
            maps=options.maps,
            dla=options.dla,
        )
        return self._reference.bundle(
            self._out,
            plan,
            backend=TensorRtBuilder.backend,
            precision=precision,
            tensorrt=spec,
            # Twice the difference measured here: the next time TensorRT times its kernels, others may win.
            tolerance={precision: max(_LEAST_TOLERANCE, 2 * golden_difference)},
            built={
                "tensorrt": library.version(),
                "cuda_driver": gpu.driver,
                "onnx": self._source_name(),
                "machine": gpu.name,
            },
            measured=measured,
            label_network=self._label_network,
        )

    def _source_name(self) -> str:
        """The network's name for the command that rebuilds the plan, with its folder if the plan has the same name."""
        path = Path(self._source.network.source)
        return (
            path.name
            if path.name != self._out.name
            else f"{path.resolve().parent.name}/{path.name}"
        )

    def _build(self, precision: Precision, attention: Attention) -> _Built:
        if attention == "fused":
            plugins.find()  # fail before minutes are spent on anything else
        fused = attention == "fused"
        source = self._source.network.source
        kind = partial(convert, precision=precision, attention=attention, maps=self._options.maps)
        payload = kind(self._network, frames=self.ranges, source=source)
        self._messages.add("INFO", f"pvlr: {source}, {precision}, {attention} attention")
        folder = cache.cache_folder()
        key = self._timings_key()
        timings = (cache.load(folder, key) if folder else None) or b""
        compiled = compile_network(
            payload,
            source,
            self._options,
            self._messages,
            with_plugins=fused,
            timings=timings,
            watcher=self._watcher,
        )
        if folder and compiled.timings:
            cache.store(folder, key, compiled.timings)
        backend = TensorRtBackend(self.bundle(precision, attention, compiled.plan, {}, 0.0))
        difference = self._golden_difference(backend, f"{attention} attention, {precision}")
        if backend.info["preprocessing"] == "GPU":
            self._check_pixels(backend, max(_LEAST_TOLERANCE, difference))
        thresholds = self._source.bank.thresholds
        agreement = gate.compare(self._logits(backend), self._exact, thresholds, self._targets)
        # The host's clock would include copies, which are the same for all, and what else the host does.
        milliseconds = float(np.median(backend.compute_times(_WARM_UP + _TIMES)[_WARM_UP:]))
        limit = gate.least_agreement(precision) if self._least is None else self._least
        return _Built(
            precision, attention, compiled.plan, limit, agreement, difference, milliseconds
        )

    def _golden_difference(self, backend: Backend, name: str) -> float:
        """Largest difference of the golden logits from fp32. One as large as another network's is an error."""
        limit = _SAME_NETWORK * float(np.ptp(self._reference.logits))
        difference = self._reference.difference(backend, name)
        if difference > limit:
            raise errors.AccuracyError(
                name,
                f"golden logits within {limit:.3g} of fp32",
                f"a difference of {difference:.3g}",
                "Build the plan in fp32; if that fails too, report it with the build log.",
            )
        return difference

    def _check_pixels(self, backend: Backend, limit: float) -> None:
        """Compare the logits with preprocessing on the GPU and on the CPU, of smaller and larger frames."""
        random = np.random.default_rng(0)
        preprocess = self._reference.preprocess
        spec = self._source.spec.input
        orders: tuple[Order, ...] = "bgr", "nv12"
        for factor, order in product((2, 6), orders):
            height, width = (side // 4 * factor for side in (spec.height, spec.width))
            shape = (height * 3 // 2, width) if order == "nv12" else (height, width, 3)
            pixels = random.integers(0, 256, shape, np.uint8)
            (exact,) = gate.logits_of_all([preprocess(pixels, order)], backend)
            difference = float(
                np.abs(golden.logits_of(pixels, backend, preprocess, order) - exact).max()
            )
            if not difference <= limit:
                raise errors.AccuracyError(
                    f"GPU preprocessing, {order}",
                    f"logits within {limit:.3g} of the CPU's preprocessing",
                    f"{difference:.3g}",
                    "Report it; a core without CUDA preprocesses on the CPU.",
                )

    def _logits(self, backend: Backend) -> NDArray[np.float32]:
        """The logits (N, C) of the gate's images."""
        return gate.logits_of_all(map(self._reference.preprocess.load, self._images), backend)

    def _timings_key(self) -> str:
        gpu = self._gpu
        what = f"timings {library.version()} {gpu.name} {gpu.capability} {gpu.multiprocessors} {gpu.driver}"
        return hashlib.sha256(what.encode()).hexdigest()[:40]


def _clear_frames(error: BaseException | None) -> None:
    """Release what an error's frames hold, such as an engine: a small board needs the memory for the next plan."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _fastest(built: list[_Built]) -> _Built:
    """The fastest plan that passes the gate; AccuracyError if none does."""
    passed = [item for item in built if item.agreement.tag_sets >= item.least]
    if not passed:
        best = max(built, key=lambda item: item.agreement.tag_sets)
        best.agreement.check(best.least, f"{best.attention} attention")
    return min(passed, key=lambda item: item.milliseconds)
