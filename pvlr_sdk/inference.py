"""A frame's way through an engine: decoded, preprocessed into a slot, inferred, and its result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import device_frames, errors, golden
from .backends import Backend, Slot
from .frames import Frame, load_frame
from .result import LabelSpace, TagResult

if TYPE_CHECKING:
    from .frames import FrameLike
    from .preprocess import Preprocessor


class Inference:
    """What a tagger does with frames. Safe to call from several threads.

    Args:
        preprocess: the pixel contract of the plan.
        space: what all results share.
        least_size: height and width that a JPEG decoded at a reduced size must keep; None: decode at full size.
        plan: names the plan in errors.
    """

    def __init__(
        self, preprocess: Preprocessor, space: LabelSpace, least_size: tuple[int, int] | None, plan: str
    ) -> None:
        self.preprocess = preprocess
        self._space = space
        self._least_size = least_size
        self._plan = plan

    def start(self, backend: Backend, frame: FrameLike, color: str) -> Job:
        """Decode and preprocess a frame; its inference is under way when this returns."""
        return self._begin(backend, self._decode(frame, color))

    def finish(self, backend: Backend, job: Job, thresholds: Any, top_k: int | None) -> TagResult:
        """Wait for the inference."""
        result = self._result(job, thresholds, top_k)
        backend.release(job.slot)
        return self._checked(result)

    def tag(
        self, backend: Backend, frames: list[FrameLike], color: str, thresholds: Any, top_k: int | None
    ) -> list[TagResult | errors.FrameError]:
        """What each frame gives; as many as the backend takes together share an inference."""
        pictures: list[_Decoded] = []
        outcomes: list[TagResult | errors.FrameError | None] = []
        for frame in frames:
            try:
                pictures.append(self._decode(frame, color))
                outcomes.append(None)
            except errors.FrameError as error:
                outcomes.append(error)
        results = self._together(backend, pictures, thresholds, top_k)
        return [next(results) if outcome is None else outcome for outcome in outcomes]

    def _together(
        self, backend: Backend, pictures: list[_Decoded], thresholds: Any, top_k: int | None
    ) -> Iterator[TagResult | errors.FrameError]:
        """The outcomes of decoded frames, which are let go of as soon as they are preprocessed: photos are large."""
        if 1 < len(pictures) == backend.together:
            group = backend.acquire_group()
            try:
                jobs = [self._load(picture, slot) for picture, slot in zip(pictures, group, strict=True)]
            except errors.FrameError:  # of a frame that only a slot can judge, such as one on a GPU
                backend.release_group(group)
            else:
                pictures.clear()
                for slot in group:
                    slot.start()
                results = [self._result(job, thresholds, top_k) for job in jobs]
                backend.release_group(group)
                yield from map(self._checked, results)
        while pictures:
            try:
                job = self._begin(backend, pictures.pop(0))
                yield self.finish(backend, job, thresholds, top_k)
            except errors.FrameError as error:
                yield error

    def _decode(self, frame: FrameLike, color: str) -> _Decoded:
        began = perf_counter()
        if device_frames.on_gpu(frame):
            pixels: Frame | device_frames.DeviceFrame = device_frames.load(frame, color)
        else:
            pixels = load_frame(frame, color, self._least_size)
        return _Decoded(pixels, began, perf_counter())

    def _begin(self, backend: Backend, picture: _Decoded) -> Job:
        job = self._load(picture, backend.acquire())
        job.slot.start()
        return job

    def _load(self, picture: _Decoded, slot: Slot) -> Job:
        pixels, began, decoded = picture
        loading = perf_counter()
        slot.load(pixels, self.preprocess)
        return Job(slot, pixels.size, began, decoded - began, perf_counter() - loading)

    def _result(self, job: Job, thresholds: Any, top_k: int | None) -> TagResult:
        """Waits for the inference. Only after a success may the slot be released: it would be used again."""
        logits, similarity = job.slot.wait()
        inferred = perf_counter()
        region = self.preprocess.region(*job.size)
        result = TagResult(self._space, logits.copy(), similarity.copy(), thresholds, top_k, job.size, region)
        ended = perf_counter()
        result.timing = {
            "decode": 1e3 * job.decoding,
            "preprocess": 1e3 * job.preprocessing,
            "inference": 1e3 * (inferred - job.began - job.decoding - job.preprocessing),  # and waiting for its group
            "head": 1e3 * (ended - inferred),
            "total": 1e3 * (ended - job.began),
        }
        return result

    def _checked(self, result: TagResult) -> TagResult:
        if not np.isfinite(result.logits).all():
            raise golden.non_finite(self._plan)
        return result


class _Decoded(NamedTuple):
    """A frame's pixels, and perf_counter's seconds before and after they were there."""

    pixels: Frame | device_frames.DeviceFrame
    began: float
    ended: float


@dataclass(slots=True)
class Job:
    """A frame on its way through the network; ``began`` is a time of perf_counter, the others how long it took."""

    slot: Slot
    size: tuple[int, int]
    began: float
    decoding: float
    preprocessing: float
