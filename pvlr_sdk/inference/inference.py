"""The path of a frame through an engine: decoding, preprocessing into a slot, inference, result."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..backends import Backend, Slot
from ..frames import device as device_frames
from ..frames import images
from ..frames.frames import Frame, Region, frame_name, load_frame
from ..frames.isolated import Decoders
from ..frames.preprocess import Preprocessor
from ..frames.tiles import Layout, Tiles, layout_of, rectangles
from ..result import FrameReference, LabelSpace, TagResult, Tile
from . import golden

if TYPE_CHECKING:
    from ..frames.frames import Color, FrameLike


Limits: TypeAlias = tuple[NDArray[np.float32], int | None]
"""Thresholds (C,) and ``top_k`` of a result."""


class Request(NamedTuple):
    """How frames are tagged: their color and tiles, and the limits for a layout; None: for a whole frame."""

    color: Color
    limits: Callable[[Layout | None], Limits]
    tiles: Tiles | None = None


@dataclass(eq=False)
class Inference:
    """Runs frames through a backend. Thread-safe.

    Args:
        preprocess: the pixel contract of the plan.
        space: the labels and geometry that all results share.
        least_size: minimum height and width of a JPEG decoded at a reduced size; None: decode at full size.
        plan: the plan's name in errors.
        decoders: processes that decode paths and bytes; None: this process.
    """

    preprocess: Preprocessor
    space: LabelSpace
    least_size: tuple[int, int] | None
    plan: str
    decoders: Decoders | None = None

    def close(self) -> None:
        """End the processes that decode."""
        if self.decoders:
            self.decoders.close()

    def finish(self, backend: Backend, job: Job, limits: Limits) -> TagResult:
        """Wait for the inference and return its result."""
        result = self._result(job, limits)
        backend.release(job.slot)
        return self._checked(result)

    def predict(
        self,
        backend: Backend,
        request: Request,
        frame: FrameLike,
        kept: Mapping[Region, TagResult] | None = None,
    ) -> TagResult:
        """The result of a frame, or of its tiles."""
        decoded = self._decode(
            frame, request.color, None if request.tiles or kept else self.least_size
        )
        layout = layout_of(request.tiles, *decoded.pixels.size, self.space.input_size)
        limits = request.limits(layout)
        if kept or layout:
            height, width = decoded.pixels.size
            regions = (
                rectangles(layout, height, width, frame_name(frame))
                if layout
                else [(0, 0, width, height)]
            )
            return self._tiled(backend, decoded, regions, limits, kept or {})
        return self.finish(backend, self._begin(backend, decoded), limits)

    def tag(
        self, backend: Backend, request: Request, frames: list[FrameLike]
    ) -> list[TagResult | errors.FrameError]:
        """The result or error of each frame; frames share an inference where the backend allows it."""
        if request.tiles:  # the tiles of each frame share inferences
            return [self._attempt(backend, request, frame) for frame in frames]
        decoded: list[_Decoded] = []
        outcomes: list[TagResult | errors.FrameError | None] = []
        for frame in frames:
            try:
                decoded.append(self._decode(frame, request.color, self.least_size))
                outcomes.append(None)
            except errors.FrameError as error:
                outcomes.append(error)
        results = self._together(backend, decoded, request.limits(None))
        return [next(results) if outcome is None else outcome for outcome in outcomes]

    def _together(
        self, backend: Backend, decoded: list[_Decoded], limits: Limits
    ) -> Iterator[TagResult | errors.FrameError]:
        """The outcomes of decoded frames, which are freed as soon as they are preprocessed: images are large."""
        if 1 < len(decoded) == backend.together:
            group = backend.acquire_group()
            try:
                jobs = [self._load(frame, slot) for frame, slot in zip(decoded, group, strict=True)]
            except errors.FrameError:  # only a slot can check some frames, such as those on a GPU
                backend.release_group(group)
            else:
                decoded.clear()
                for slot in group:
                    slot.start()
                results = [self._result(job, limits) for job in jobs]
                backend.release_group(group)
                yield from map(self._checked, results)
        while decoded:
            try:
                job = self._begin(backend, decoded.pop(0))
                yield self.finish(backend, job, limits)
            except errors.FrameError as error:
                yield error

    def _attempt(self, *arguments: Any) -> TagResult | errors.FrameError:
        try:
            return self.predict(*arguments)
        except errors.FrameError as error:
            return error

    def _tiled(
        self,
        backend: Backend,
        frame: _Decoded,
        regions: list[Region],
        limits: Limits,
        kept: Mapping[Region, TagResult],
    ) -> TagResult:
        """The union of the results of a frame's rectangles. As many are in flight as keep the device busy."""
        pixels, began, decoded, reference = frame
        version = self.space.plan, self.space.bank
        results = {
            region: kept_result
            for region, kept_result in kept.items()
            if (kept_result.plan, kept_result.bank) == version
        }
        parts = deque(region for region in regions if region not in results)
        running: deque[tuple[Region, Job]] = deque()
        while parts or running:
            if parts and len(running) <= backend.parallel:
                part = _Decoded(pixels.cut(parts[0]), decoded, decoded, FrameReference())
                running.append((parts.popleft(), self._begin(backend, part)))
            else:
                region, job = running.popleft()
                results[region] = self.finish(backend, job, limits)
        united = TagResult.united(
            tuple(Tile(region, results[region]) for region in regions), reference
        )
        united.thresholds, united.top_k = limits  # a kept result may have others
        united.tiles = united.tiles if len(regions) > 1 else ()
        computed = [part for region, part in results.items() if part is not kept.get(region)]
        timing = {
            stage: sum((part.timing[stage] for part in computed), 0.0)
            for stage in ("preprocess", "head")
        }
        timing |= {"decode": 1e3 * (decoded - began), "total": 1e3 * (perf_counter() - began)}
        united.timing = {**timing, "inference": 2 * timing["total"] - sum(timing.values())}
        return united

    def _decode(
        self, frame: FrameLike, color: Color, least_size: tuple[int, int] | None
    ) -> _Decoded:
        began = perf_counter()
        # an iterable has it where it could not read a frame
        if isinstance(frame, errors.FrameError):
            raise frame
        if device_frames.on_gpu(frame):
            pixels: Frame | device_frames.DeviceFrame = device_frames.load(frame, color)
        else:
            decode = self.decoders.decode if self.decoders else images.decode
            pixels = load_frame(frame, color, least_size, decode)
        # With isolation a notebook must not decode the file in this process.
        shown = None if self.decoders and isinstance(frame, (str, os.PathLike)) else frame
        return _Decoded(pixels, began, perf_counter(), FrameReference.of(shown, color))

    def _begin(self, backend: Backend, frame: _Decoded) -> Job:
        job = self._load(frame, backend.acquire())
        job.slot.start()
        return job

    def _load(self, frame: _Decoded, slot: Slot) -> Job:
        pixels, began, decoded, reference = frame
        loading = perf_counter()
        slot.load(pixels, self.preprocess)
        return Job(slot, pixels.size, began, decoded - began, perf_counter() - loading, reference)

    def _result(self, job: Job, limits: Limits) -> TagResult:
        """Waits for the inference. The slot may be released only after a success, since it is reused."""
        logits, similarity = job.slot.wait()
        inferred = perf_counter()
        region = self.preprocess.region(*job.size)
        outputs = logits.copy(), similarity.copy()
        result = TagResult(self.space, *outputs, *limits, job.size, region, job.reference)
        if job.slot.features is not None:
            result.features = job.slot.features.copy()
        ended = perf_counter()
        result.timing = {
            "decode": 1e3 * job.decoding,
            "preprocess": 1e3 * job.preprocessing,
            "inference": 1e3
            * (inferred - job.began - job.decoding - job.preprocessing),  # with its group's
            "head": 1e3 * (ended - inferred),
            "total": 1e3 * (ended - job.began),
        }
        return result

    def _checked(self, result: TagResult) -> TagResult:
        if not np.isfinite(result.logits).all():
            raise golden.non_finite(self.plan)
        return result


class _Decoded(NamedTuple):
    """A frame's pixels, and the perf_counter times before and after decoding."""

    pixels: Frame | device_frames.DeviceFrame
    began: float
    ended: float
    reference: FrameReference


@dataclass(slots=True)
class Job:
    """A frame in flight; ``began`` is a perf_counter time, ``decoding`` and ``preprocessing`` are seconds."""

    slot: Slot
    size: tuple[int, int]
    began: float
    decoding: float
    preprocessing: float
    reference: FrameReference
