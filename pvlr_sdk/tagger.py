"""The public interface: load a plan once, then tag any number of frames from any number of threads."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import errors
from .frames.frames import check_frames
from .inference import LoadedPlan, Options
from .inference.overlap import AwaitableFuture
from .result import TagResult, checked_top_k, thresholds_for
from .trust import Trust, resolve

if TYPE_CHECKING:
    from .backends import Backend
    from .bundle.label_bank import LabelBank
    from .bundle.schema import OperatingPoint, Optimize, PlanPrecision
    from .frames.frames import Color, FrameLike


class Tagger:
    """Tags frames with the labels of one compiled plan.

    Thread-safe: results of concurrent calls are bit-equal to the results of one thread. A pickled tagger reopens its
    plan in the process that unpickles it; a forked process cannot use the tagger of its parent.

    Args:
        plan: path of a plan, with its manifest and label bank in the same folder; its folder; or the name of a model
            (see ``docs/models.md``). None: the model bundled with the package.
        threshold: the score at or above which a label is reported: None for the thresholds stored in the plan, a number
            from 0 to 1 for all labels, or a mapping that overrides the thresholds of some labels.
        operating_point: which thresholds of the plan: ``f1`` (best F1) or ``precise`` (90 % precision, see
            ``docs/model.md``). Plans with one threshold per label use it for both.
        top_k: keep at most this many tags, the highest scores first; None: all.
        device: ``auto`` (the device that the plan was built for), ``cpu`` or ``tensorrt``. A plan for the CPU also runs
            on Intel's GPUs and NPUs, ``gpu`` and ``npu``, and on a device under OpenVINO's name, such as ``GPU.1``.
        optimize: ``latency``: all threads share each inference, so that a single frame is done soonest;
            ``throughput``: several inferences run in parallel on fewer threads each, and ``predict_stream`` puts two
            frames into one inference where enough are waiting. On a GPU: single frames, or batches of the plan's
            largest size.
        num_threads: threads of the engine; None: all cores available to the process.
        reduced_jpeg: decode JPEG files and bytes at 1/2, 1/4 or 1/8 of their size where that leaves at least twice the
            network's input in both dimensions. Large images decode several times faster, but the pixels then deviate
            slightly from the pixel contract (see ``docs/performance.md``).
        precision: ``auto`` (the fastest of the device), ``fp32``, ``bf16``, ``fp16`` (GPU, NPU); None: the plan's own.
        trust: refuse a plan that is not signed with one of these keys: a folder of PEM files, one such file or a
            ``Trust`` (see ``docs/signing.md``). None: the keys of ``PVLR_TRUST``, if it is set.
        allow_unsigned: trust a plan whose signature was not verified, for sources that you trust: load a TensorRT plan,
            which is code, and any other without an isolated load. None: only if ``PVLR_ALLOW_UNSIGNED`` is 1.
        isolate: decode paths and bytes in restricted processes, for images from outside (see ``docs/isolation.md``).

    Raises:
        SignatureError: the plan is not signed as ``trust`` demands; nothing in it was parsed.
        IsolationError: ``isolate``, but not on Linux.
        BundleError: the plan cannot be used; each reason has its own class (see ``docs/errors.md``).
        OptionError, UnknownLabelError: an argument is invalid.
        MissingPartError: the compiled core or the plan's backend (OpenVINO, TensorRT) is not installed.
    """

    def __init__(
        self,
        plan: str | os.PathLike[str] | None = None,
        *,
        threshold: float | Mapping[str, float] | None = None,
        operating_point: OperatingPoint = "f1",
        top_k: int | None = None,
        device: str = "auto",
        optimize: Optimize = "latency",
        num_threads: int | None = None,
        precision: PlanPrecision | None = None,
        reduced_jpeg: bool = False,
        trust: str | os.PathLike[str] | Trust | None = None,
        allow_unsigned: bool | None = None,
        isolate: bool = False,
    ) -> None:
        self._defaults = Options(
            threshold, operating_point, checked_top_k(top_k), device, optimize, num_threads, precision, reduced_jpeg,
            resolve(trust), allow_unsigned, isolate,
        )  # fmt: skip
        self._plan = LoadedPlan.open(plan, self._defaults)
        self._lock = RLock()  # held while the plan changes

    @property
    def labels(self) -> list[str]:
        """The C label names, in the order of ``TagResult.scores``."""
        return list(self._plan.space.names)

    @property
    def thresholds(self) -> NDArray[np.float32]:
        """float32 (C,): the threshold of each label, used where a call does not override it."""
        return self._plan.thresholds.copy()

    @property
    def label_bank(self) -> LabelBank:
        """The label bank in use."""
        return self._plan.bank

    @property
    def info(self) -> dict[str, Any]:
        """The plan and how it runs: name, plan, sha256, input, backend, device, precision, threads, built, ..."""
        return dict(self._plan.info)

    @property
    def trust(self) -> Trust | None:
        """Trusted signing keys; None if signatures are not required."""
        return self._defaults.trust

    def predict(
        self,
        frame: FrameLike,
        *,
        color: Color = "bgr",
        threshold: float | Mapping[str, float] | None = None,
        top_k: int | None = None,
    ) -> TagResult:
        """Tag one frame.

        Args:
            frame: a uint8 array of any size and strides, (H, W, 3), (H, W, 4), (H, W) grey or, with ``color="nv12"``,
                (H * 3 / 2, W); the path or the encoded bytes of an image; a PIL image. A TensorRT plan also accepts
                such arrays on the GPU, through DLPack or ``__cuda_array_interface__``.
            color: the channel order of an array: ``bgr`` (OpenCV), ``rgb``, or a format of :mod:`.frames.yuv`.
            threshold, top_k: as for the class, for this frame only; None: the tagger's own.

        Raises:
            FrameError: the frame is invalid; each reason has its own class.
            OptionError, UnknownLabelError: an argument is invalid.
            NonFiniteError: the model computed NaN or infinite logits.
            BackendError: the tagger is closed or belongs to another process, or the inference failed.
        """
        plan, backend = self._ready()
        options = self._options(plan, threshold, top_k)
        return plan.inference.finish(backend, plan.inference.start(backend, frame, color), *options)

    def predict_async(
        self,
        frame: FrameLike,
        *,
        color: Color = "bgr",
        threshold: float | Mapping[str, float] | None = None,
        top_k: int | None = None,
    ) -> AwaitableFuture[TagResult]:
        """Tag one frame in worker threads: ``await`` the returned future, or call its ``result()``.

        The frame is not copied: don't modify it until the future is done. The queue of frames is unbounded, so limit
        how many are in flight if they arrive faster than they are tagged.

        Args:
            frame, color, threshold, top_k: as for ``predict``.

        Raises:
            OptionError, UnknownLabelError: an option is invalid.
            BackendError: the tagger is closed or belongs to another process.
            PvlrError: the future raises everything else that ``predict`` raises.
        """
        with self._lock:  # between here and submit() the plan must not be closed
            plan, backend = self._ready()
            options, inference = self._options(plan, threshold, top_k), plan.inference
            return plan.submit(
                backend, lambda: inference.finish(backend, inference.start(backend, frame, color), *options)
            )

    def predict_batch(
        self,
        frames: Iterable[FrameLike],
        *,
        color: Color = "bgr",
        threshold: float | Mapping[str, float] | None = None,
        top_k: int | None = None,
    ) -> list[TagResult]:
        """Tag several frames in parallel; the results are bit-equal to ``predict``.

        Args:
            frames: any iterable of frames, consumed on the fly; an array must have the shape (count, H, W, channels).
            color, threshold, top_k: as for ``predict``.

        Raises:
            PvlrError: what ``predict`` raises, for the first frame that fails.
        """
        results = []
        for outcome in self.predict_stream(frames, color=color, threshold=threshold, top_k=top_k):
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
    ) -> Iterator[TagResult | errors.FrameError]:
        """Tag any number of frames and yield their results in order, as soon as they are available.

        Decoding, preprocessing and inference of different frames overlap. ``frames`` is read only a few frames ahead,
        so memory stays bounded. Each result is bit-equal to that of ``predict``; an invalid frame yields its error,
        as a FrameError in place of a frame does, and the stream continues. ``optimize="throughput"`` is the fastest.

        Args:
            frames: any iterable of frames, read in the thread that consumes the results.
            color, threshold, top_k: as for ``predict``.

        Raises:
            PvlrError: what ``predict`` raises, except FrameError. An exception of ``frames`` also ends the stream.
        """
        check_frames(frames)
        plan, backend = self._ready()
        return plan.stream(backend, frames, color, *self._options(plan, threshold, top_k))

    def set_labels(self, bank: LabelBank) -> None:
        """Use another label bank from now on, without loading the plan again; only for an open plan.

        Each result is computed with one bank, which ``TagResult.bank`` names. Each call keeps the bank that it began
        with, a ``predict_stream`` too. The tagger's ``threshold`` applies to the new labels.

        Raises:
            BackendError: the plan is closed: its labels are part of it; or the tagger is.
            LabelBankError: the bank has too many labels, or was made for another model.
            OptionError, UnknownLabelError: ``bank`` is not a bank, or lacks a label that ``threshold`` names.
        """
        with self._lock:
            plan, backend = self._ready()
            self._plan = plan.with_labels(backend, bank, self._defaults)

    def load(
        self, plan: str | os.PathLike[str], *, allow_rollback: bool = False, record_version: bool = True
    ) -> Tagger:
        """Load another plan with the options of this tagger. Raises what the class raises.

        ``allow_rollback``: also an older one than was in use. ``record_version``: refuse older ones from now on.
        """
        options = self._defaults.with_rollback() if allow_rollback else self._defaults
        loaded = Tagger.__new__(Tagger)
        loaded._plan = LoadedPlan.open(plan, options, record_version=record_version)
        loaded._lock = RLock()
        loaded._defaults = self._defaults  # the permission is for this plan, not for those that it loads in turn
        return loaded

    def exchange(self, other: Tagger) -> None:
        """Exchange the plans of two taggers, in one thread at a time. Each call keeps the plan that it began with."""
        with self._lock, other._lock:
            self._plan, other._plan = other._plan, self._plan

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Free the model, and let the calls of other threads wait until the end of the block: in it, load another plan
        and ``exchange`` it, where memory is for one; else the tagger is closed."""
        with self._lock:
            self._plan.free()
            yield

    def close(self) -> None:
        """Free the model. Calls in progress in other threads complete; later calls raise BackendError."""
        with self._lock:
            self._plan.close()

    def __enter__(self) -> Tagger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        plan, _ = self._ready()
        bank = plan.bank if plan.info["max_labels"] else None
        return _reopen, (os.path.abspath(plan.info["plan"]), self._defaults, bank)

    def __repr__(self) -> str:
        info, state = self._plan.info, "" if self._plan.backend else "closed"
        return f"<Tagger {info['name']}, {info['labels']} labels, {state or info['precision']}>"

    def _ready(self) -> tuple[LoadedPlan, Backend]:
        backend = (plan := self._plan).backend
        if backend is None:
            with self._lock:  # suspended() or exchange() may be about to provide one
                plan, backend = self._plan, self._plan.backend
        return plan, plan.check(backend)

    def _options(
        self, plan: LoadedPlan, threshold: float | Mapping[str, float] | None, top_k: int | None
    ) -> tuple[NDArray[np.float32], int | None]:
        top_k = self._defaults.top_k if top_k is None else checked_top_k(top_k)
        return thresholds_for(plan.thresholds, plan.space.index, threshold), top_k


def _reopen(plan: str, defaults: Options, bank: LabelBank | None) -> Tagger:
    """A tagger of a pickled one's plan, options and labels."""
    tagger = Tagger(plan, **vars(defaults))
    if bank is not None:
        tagger.set_labels(bank)
    return tagger
