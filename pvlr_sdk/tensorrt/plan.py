"""An exported network -> a bundle for the GPU: precision written in, built, held against fp32, the best one kept."""

from __future__ import annotations

import hashlib
import os
import platform
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__, errors, gate, golden
from ..backends import cache, check_choice
from ..backends.openvino import OpenVinoBackend
from ..backends.tensorrt import TensorRtBackend
from ..backends.tensorrt.cuda import Gpu, open_cuda
from ..bundle import Bundle, shortest, write_bundle
from ..exported import Exported
from ..files import write_files
from ..frames import FrameLike, load_bgr, load_frame
from ..manifest import FORMAT, Manifest
from ..precision import Photos, median_times
from ..preprocess import Preprocessor
from . import library, plugins
from .builder import compile_network
from .options import PRECISIONS, BuildOptions

if TYPE_CHECKING:
    from .progress import Watcher

_SAME_NETWORK = 0.5
"""Largest difference of a golden logit, in spreads of them all: int8 is off by a fifth, another network by one."""


def build_plan(
    source: Exported,
    out: str | os.PathLike[str],
    *,
    precision: str = "auto",
    golden_frame: FrameLike | None = None,
    photos: Photos | None = None,
    min_agreement: float | None = None,
    options: BuildOptions | None = None,
    watcher: Watcher | None = None,
) -> Manifest:
    """Build a TensorRT plan on this machine and write its bundle, with TensorRT's log beside it.

    Args:
        source: the exported fp32 network and its label bank.
        out: the plan to write; the log is ``<stem>.build.log``.
        precision: ``fp32``, ``fp16``, ``bf16``, ``int8``, or ``auto``: fp16.
        golden_frame: the picture for the self-test at load; by default a synthetic one.
        photos: photos to quantise with, and to hold the plan against fp32 on; without them the golden frame is all.
        min_agreement: the share of those photos that must keep their tag set, 0..1; by default 0.98, for int8 0.9.
        options: batches, attention, compatibility.
        watcher: is told how far TensorRT is.

    Raises:
        MissingPartError: TensorRT, a CUDA binding, onnx or the plugin library is not here.
        UnsupportedNodeError, BuildError: TensorRT refuses the network.
        AccuracyError: the plan changes the tags of too many photos.
        OutputError: the bundle can't be written; one that was there before is untouched.
    """
    options = options or BuildOptions()
    check_choice("precision", precision, PRECISIONS)
    precision = "fp16" if precision == "auto" else precision
    least = gate.least_agreement(precision) if min_agreement is None else min_agreement
    if options.dla is not None and precision not in ("fp16", "int8"):
        raise errors.OptionError(
            "precision", expected="fp16 or int8, for the DLA", got=precision, hint="Leave --dla out for the GPU."
        )
    library.require()
    work = _Work(source, Path(out), precision, options, open_cuda().gpu(), photos, golden_frame)
    try:
        built = work.build_all(watcher)
    except errors.PvlrError:
        work.write_log()  # it says why
        raise
    work.write_log()
    chosen = _fastest(built, least)
    figures = {f"{precision} {item.attention}": item.figures() for item in built}
    measured = {"precisions": figures, "min_agreement": least, "calibrated_on": work.calibrated_on}
    if work.refused:
        measured["refused"] = work.refused
    fields = work.manifest(chosen.attention, measured, chosen.golden_difference)
    return write_bundle(out, chosen.plan, source.bank, fields)


def log_path(plan: str | os.PathLike[str]) -> Path:
    """``dir/engine.plan`` -> ``dir/engine.build.log``."""
    return Path(plan).with_suffix(".build.log")


@dataclass
class _Built:
    """One plan, and what it says of the photos."""

    attention: str
    plan: bytes
    agreement: gate.Agreement
    golden_difference: float
    milliseconds: float = 0.0

    def figures(self) -> dict[str, Any]:
        return {"inference_ms": round(self.milliseconds, 3), **self.agreement.to_dict()}


class _Work:
    """What the plans of one build have in common."""

    def __init__(
        self,
        source: Exported,
        out: Path,
        precision: str,
        options: BuildOptions,
        gpu: Gpu,
        photos: Photos | None,
        golden_frame: FrameLike | None,
    ) -> None:
        self.source, self.out, self.precision, self.options, self.gpu = source, out, precision, options, gpu
        self.messages = library.Messages()
        self.refused: dict[str, str] = {}
        self._preprocess = Preprocessor(source.spec.input)
        self._frame = golden.picture() if golden_frame is None else load_bgr(golden_frame)
        self._ranges: list[FrameLike] = []
        self._gate: Sequence[FrameLike] = [self._frame]
        self._targets: NDArray[Any] | None = None
        if photos is not None:
            photos.check()
            self._ranges = list(photos.ranges)
            self._gate, self._targets = photos.gate()
        self.calibrated_on = len(self._ranges) if precision == "int8" else 0
        reference = OpenVinoBackend(source.network, "fp32", cached=False)
        self._golden = golden.logits_of(self._frame, reference, self._preprocess)
        if not np.isfinite(self._golden).all():
            raise golden.non_finite(source.network.source)
        self._reference = gate.logits_of_all(map(self._prepare, self._gate), reference)

    def write_log(self) -> None:
        """TensorRT's messages, beside the plan."""
        if self.messages.lines:
            write_files({log_path(self.out): self.messages.text().encode()})

    def build_all(self, watcher: Watcher | None) -> list[_Built]:
        """A plan for each attention that was asked for; with ``auto`` one that fails is left out."""
        wanted = ("native", "fused") if self.options.attention == "auto" else (self.options.attention,)
        built: list[tuple[_Built, TensorRtBackend]] = []
        failed: errors.PvlrError | None = None
        for attention in wanted:
            try:
                built.append(self._build(attention, watcher))
            except errors.PvlrError as error:
                failed, self.refused[attention] = error, str(error)
                if len(wanted) == 1:
                    raise
                _forget_locals(error)
        if not built:
            assert failed is not None
            raise failed
        times = median_times({item.attention: backend for item, backend in built})
        for item, _ in built:
            item.milliseconds = 1e3 * times[item.attention]
        return [item for item, _ in built]

    def manifest(self, attention: str, measured: dict[str, Any], golden_difference: float) -> dict[str, Any]:
        """The fields of the manifest without ``files``."""
        spec, bank, options = self.source.spec, self.source.bank, self.options
        return {
            "format": FORMAT,
            "name": spec.name,
            "backend": "tensorrt",
            "precision": self.precision,
            "tensorrt": {
                "version": library.version(),
                "capability": "{}.{}".format(*self.gpu.capability),
                "gpu": self.gpu.name,
                "multiprocessors": self.gpu.multiprocessors,
                "machine": platform.machine(),
                "hardware": options.hardware,
                "version_compatible": options.version_compatible,
                "batch": [options.batch.least, options.batch.usual, options.batch.most],
                "attention": attention,
                "plugins": plugins.version() if attention == "fused" else None,
                "dla": options.dla,
            },
            "input": spec.input.model_dump(mode="json"),
            "attention": spec.attention.model_dump(mode="json"),
            "labels": [
                {"name": name, "threshold": shortest(threshold)}
                for name, threshold in zip(bank.names, bank.thresholds, strict=True)
            ],
            "golden": {
                "frame_png": golden.encode(self._frame),
                "logits": [shortest(value) for value in self._golden],
                # Twice what it is here: other kernels may win the next time that TensorRT times them.
                "tolerance": {self.precision: max(0.02, 2 * golden_difference)},
            },
            "built": {
                "pvlr_sdk": __version__,
                "tensorrt": library.version(),
                "cuda_driver": self.gpu.driver,
                "onnx": self._source_name(),
                "onnx_sha256": self.source.network.sha256,
                "source": spec.source,
                "machine": f"{platform.machine()}, {self.gpu.name}",
                "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            },
            "measured": measured,
        }

    def _source_name(self) -> str:
        """For the command that builds the plan again; the folder too if the network has the plan's name."""
        path = Path(self.source.network.source)
        return path.name if path.name != self.out.name else f"{path.resolve().parent.name}/{path.name}"

    def _build(self, attention: str, watcher: Watcher | None) -> tuple[_Built, TensorRtBackend]:
        from ..graph import convert

        if attention == "fused":
            plugins.find()  # before minutes are spent on anything else
        source = self.source.network.source
        payload = convert(
            self.source.network.payload,
            precision=self.precision,
            attention=attention,
            frames=self._ranges,
            source=source,
        )
        self.messages.add("INFO", f"pvlr: {source}, {self.precision}, {attention} attention")
        folder, key = cache.cache_folder(), self._timings_key()
        timings = cache.load(folder, key) if folder else None
        compiled = compile_network(
            payload,
            source,
            self.options,
            self.messages,
            with_plugins=attention == "fused",
            timings=timings or b"",
            watcher=watcher,
        )
        if folder and compiled.timings:
            cache.store(folder, key, compiled.timings)
        backend = TensorRtBackend(self._bundle(attention, compiled.plan))
        difference = self._golden_difference(backend, attention)
        logits = gate.logits_of_all(map(self._prepare, self._gate), backend)
        agreement = gate.compare(logits, self._reference, self.source.bank.thresholds, self._targets)
        return _Built(attention, compiled.plan, agreement, difference), backend

    def _golden_difference(self, backend: TensorRtBackend, attention: str) -> float:
        """Largest difference of the golden logits from fp32's; so large that it is another network is an error."""
        logits = golden.logits_of(self._frame, backend, self._preprocess)
        if not np.isfinite(logits).all():
            raise golden.non_finite(f"{attention} attention, {self.precision}")
        difference, limit = float(np.abs(logits - self._golden).max()), _SAME_NETWORK * float(np.ptp(self._golden))
        if difference > limit:
            raise errors.AccuracyError(
                f"{attention} attention, {self.precision}",
                expected=f"golden logits within {limit:.3g} of fp32",
                got=f"a difference of {difference:.3g}",
                hint="Build it in fp32; if that fails too, report it with the build log.",
            )
        return difference

    def _bundle(self, attention: str, plan: bytes) -> Bundle:
        """The bundle as it would be written, to try it."""
        fields = self.manifest(attention, {}, 0.0)
        described = {"bytes": len(plan), "sha256": hashlib.sha256(plan).hexdigest()}
        manifest = Manifest.model_validate({**fields, "files": {"plan": described, "labels": described}})
        return Bundle(self.out, manifest, plan, self.source.bank)

    def _timings_key(self) -> str:
        gpu = self.gpu
        what = f"timings {library.version()} {gpu.name} {gpu.capability} {gpu.multiprocessors} {gpu.driver}"
        return hashlib.sha256(what.encode()).hexdigest()[:40]

    def _prepare(self, frame: FrameLike) -> NDArray[np.float32]:
        pixels, order, _ = load_frame(frame)
        return self._preprocess(pixels, order)


def _forget_locals(error: BaseException | None) -> None:
    """Let go of what an error's frames hold, such as an engine: a small board needs its memory for the next plan."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _fastest(built: list[_Built], least: float) -> _Built:
    """The fastest that keeps the tags; AccuracyError if none does."""
    passed = [item for item in built if item.agreement.tag_sets >= least]
    if not passed:
        best = max(built, key=lambda item: item.agreement.tag_sets)
        best.agreement.check(least, f"{best.attention} attention")
    return min(passed, key=lambda item: item.milliseconds)
