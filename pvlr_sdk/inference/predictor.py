"""Tagging of one frame, of several, and of streams, by the plan that is in use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from threading import RLock

from .. import errors
from ..backends import Backend
from ..frames.frames import Color, FrameLike, Region, check_frames
from ..frames.tiles import Layout, Tiles, check_tiles
from ..result import TagResult, checked_top_k, thresholds_for
from .inference import Limits, Request
from .overlap import AwaitableFuture
from .plan import LoadedPlan, Options


class Predictor:
    """The part of a ``Tagger`` that tags: which plan is in use, and with which options, is the part of the tagger."""

    _plan: LoadedPlan
    _defaults: Options
    _lock: RLock

    def predict(
        self,
        frame: FrameLike,
        *,
        color: Color = "bgr",
        threshold: float | Mapping[str, float] | None = None,
        top_k: int | None = None,
        tiles: Tiles | None = None,
    ) -> TagResult:
        """Tag one frame.

        Args:
            frame: a uint8 array of any size and strides, (H, W, 3), (H, W, 4), (H, W) grey or, with ``color="nv12"``,
                (H * 3 / 2, W) or a tuple of planes; the path or the encoded bytes of an image; a PIL image. A TensorRT
                plan also accepts such arrays on the GPU, through DLPack or ``__cuda_array_interface__``.
            color: the channel order of an array: ``bgr`` (OpenCV), ``rgb``, or a format of :mod:`.frames.yuv`.
            threshold, top_k, tiles: as for the class, for this frame only; None: the tagger's own.

        Raises:
            FrameError: the frame is invalid; each reason has its own class.
            OptionError, UnknownLabelError: an argument is invalid.
            NonFiniteError: the model computed NaN or infinite logits.
            BackendError: the tagger is closed or belongs to another process, or the inference failed.
        """
        plan, backend = self._ready()
        return plan.inference.predict(
            backend, self._request(plan, color, threshold, top_k, tiles), frame
        )

    def predict_async(
        self,
        frame: FrameLike,
        *,
        color: Color = "bgr",
        threshold: float | Mapping[str, float] | None = None,
        top_k: int | None = None,
        tiles: Tiles | None = None,
        kept: Mapping[Region, TagResult] | None = None,
    ) -> AwaitableFuture[TagResult]:
        """Tag one frame in worker threads: ``await`` the returned future, or call its ``result()``.

        The frame is not copied: don't modify it until the future is done. The queue of frames is unbounded, so limit
        how many are in flight if they arrive faster than they are tagged.

        Args:
            frame, color, threshold, top_k, tiles: as for ``predict``.
            kept: results that still hold for some tiles, or for the whole frame, by their rectangle (left, top, width
                and height in pixels): of an earlier frame, with the same options. They are computed anyway where
                another plan or label bank is in use now.

        Raises:
            OptionError, UnknownLabelError: an option is invalid.
            BackendError: the tagger is closed or belongs to another process.
            PvlrError: the future raises everything else that ``predict`` raises.
        """
        with self._lock:  # between here and submit() the plan must not be closed
            plan, backend = self._ready()
            request = self._request(plan, color, threshold, top_k, tiles)
            return plan.submit(
                backend, partial(plan.inference.predict, backend, request, frame, kept)
            )

    def predict_batch(
        self,
        frames: Iterable[FrameLike],
        *,
        color: Color = "bgr",
        threshold: float | Mapping[str, float] | None = None,
        top_k: int | None = None,
        tiles: Tiles | None = None,
    ) -> list[TagResult]:
        """Tag several frames in parallel; the results are bit-equal to ``predict``.

        Args:
            frames: any iterable of frames, consumed on the fly; an array must have the shape (count, H, W, channels).
            color, threshold, top_k, tiles: as for ``predict``.

        Raises:
            PvlrError: what ``predict`` raises, for the first frame that fails.
        """
        results = []
        for outcome in self.predict_stream(
            frames, color=color, threshold=threshold, top_k=top_k, tiles=tiles
        ):
            if isinstance(outcome, errors.FrameError):
                raise outcome
            results.append(outcome)
        return results

    def predict_stream(
        self,
        frames: Iterable[FrameLike],
        *,
        color: Color = "bgr",
        threshold: float | Mapping[str, float] | None = None,
        top_k: int | None = None,
        tiles: Tiles | None = None,
    ) -> Iterator[TagResult | errors.FrameError]:
        """Tag any number of frames and yield their results in order, as soon as they are available.

        Decoding, preprocessing and inference of different frames overlap. ``frames`` is read only a few frames ahead,
        so memory stays bounded. Each result is bit-equal to that of ``predict``; an invalid frame yields its error,
        as a FrameError in place of a frame does, and the stream continues. ``optimize="throughput"`` is the fastest.

        Args:
            frames: any iterable of frames, read in the thread that consumes the results.
            color, threshold, top_k, tiles: as for ``predict``.

        Raises:
            PvlrError: what ``predict`` raises, except FrameError. An exception of ``frames`` also ends the stream.
        """
        check_frames(frames)
        plan, backend = self._ready()
        return plan.stream(backend, self._request(plan, color, threshold, top_k, tiles), frames)

    def _ready(self) -> tuple[LoadedPlan, Backend]:
        backend = (plan := self._plan).backend
        if backend is None:
            with self._lock:  # exchange() may be about to provide one
                plan = self._plan
                backend = self._plan.backend
        return plan, plan.check(backend)

    def _request(
        self,
        plan: LoadedPlan,
        color: Color,
        threshold: float | Mapping[str, float] | None,
        top_k: int | None,
        tiles: Tiles | None,
    ) -> Request:
        most = self._defaults.top_k if top_k is None else checked_top_k(top_k)

        def limits(layout: Layout | None) -> Limits:
            of_layout = plan.thresholds_of(layout, self._defaults.threshold)
            return thresholds_for(of_layout, plan.space.index, threshold), most

        whole = limits(None)  # now, since it raises
        return Request(
            color,
            lambda layout: limits(layout) if layout else whole,
            check_tiles(tiles) or self._defaults.tiles,
        )
