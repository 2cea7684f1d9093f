"""The public face: load a plan once, tag any number of frames, from any number of threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import errors, golden
from .backends import Backend, open_backend
from .bundle import Bundle, default_plan
from .inference import Inference
from .overlap import Workers, overlapped
from .preprocess import Preprocessor
from .result import LabelSpace, TagResult, checked_top_k, thresholds_for

if TYPE_CHECKING:
    from .frames import FrameLike


class Tagger:
    """Tags frames with the labels of one compiled plan.

    Safe to call from several threads at once: the results are bit-equal to those of one thread. Not usable in a
    process forked from the one that made it.

    Args:
        plan: path of a plan, its manifest and label bank beside it; None: the model that comes with the package.
        threshold: the score from which on a label is a tag: None for the thresholds that the plan deploys, one number
            from 0 to 1 for all labels, or a mapping that changes those of some labels.
        top_k: keep at most this many tags, the best ones, of those that reach their threshold; None: all.
        device: ``auto`` (what the plan is for), ``cpu`` or ``tensorrt``.
        optimize: ``latency``: all threads share each inference, so that one frame is done soonest; ``throughput``:
            several inferences at once, on fewer threads each, so that many are (``predict_stream``, which also puts two
            frames into one where enough wait). On a GPU that is single frames, or batches of the plan's largest size.
        num_threads: threads of the engine; None: the cores that this process may use.
        reduced_jpeg: decode JPEG files and bytes at 1/2, 1/4 or 1/8 of their size where that leaves at least twice the
            network's input in both directions. Large photos decode several times faster, but their pixels are then no
            longer quite those of the pixel contract (see ``docs/performance.md``).
        precision: ``auto`` (the fastest that this CPU computes in), ``fp32`` or ``bf16``; None: what the plan says.

    Raises:
        BundleError: the plan can't be used; each reason has its own class (see ``docs/errors.md``).
        OptionError, UnknownLabelError: an argument can't be.
        MissingPartError: the compiled core or the plan's backend (OpenVINO, TensorRT) is not installed.
    """

    def __init__(
        self,
        plan: str | os.PathLike[str] | None = None,
        *,
        threshold: float | Mapping[str, float] | None = None,
        top_k: int | None = None,
        device: str = "auto",
        optimize: str = "latency",
        num_threads: int | None = None,
        precision: str | None = None,
        reduced_jpeg: bool = False,
    ) -> None:
        self._top_k = checked_top_k(top_k)
        bundle = Bundle.open(default_plan() if plan is None else os.fspath(plan))
        manifest = bundle.manifest
        self._space = LabelSpace(
            tuple(label.name for label in manifest.labels),
            manifest.attention,
            (manifest.input.height, manifest.input.width),
        )
        deployed = np.array([label.threshold for label in manifest.labels], np.float32)
        self._thresholds = thresholds_for(deployed, self._space.index, threshold)
        preprocess = Preprocessor(manifest.input)
        backend = open_backend(bundle, device, precision, num_threads, optimize)
        golden.check(manifest.golden, backend, preprocess, str(bundle.path))
        self._backend: Backend | None = backend
        size = 2 * manifest.input.height, 2 * manifest.input.width
        self._inference = Inference(preprocess, self._space, size if reduced_jpeg else None, str(bundle.path))
        self._process = os.getpid()
        self._workers: Workers | None = None
        self._workers_lock = Lock()
        self._info = {
            "name": manifest.name,
            "plan": str(bundle.path),
            "sha256": manifest.files["plan"].sha256,
            "labels": len(manifest.labels),
            "input": manifest.input.model_dump(mode="json"),
            **backend.info,
            "built": manifest.built,
            "measured": manifest.measured,
        }

    @property
    def labels(self) -> list[str]:
        """The C label names, in the order of ``TagResult.scores``."""
        return list(self._space.names)

    @property
    def thresholds(self) -> NDArray[np.float32]:
        """float32 (C,): the score from which on each label is a tag, where a call does not say otherwise."""
        return self._thresholds.copy()

    @property
    def info(self) -> dict[str, Any]:
        """What is loaded and how it runs: name, plan, sha256, input, backend, device, precision, threads, built, ..."""
        return dict(self._info)

    def predict(
        self,
        frame: FrameLike,
        *,
        color: str = "bgr",
        threshold: float | Mapping[str, float] | None = None,
        top_k: int | None = None,
    ) -> TagResult:
        """The tags of one frame.

        Args:
            frame: a uint8 array of any size and strides, (H, W, 3), (H, W, 4), (H, W) grey or, with ``color="nv12"``,
                (H * 3 / 2, W); the path or the encoded bytes of a picture; a PIL image. A TensorRT plan also takes such
                arrays on the GPU, through DLPack or ``__cuda_array_interface__``.
            color: how an array stores its channels: ``bgr`` (as OpenCV gives), ``rgb``, or one of :mod:`pvlr_sdk.yuv`.
            threshold, top_k: as for the class, for this frame only; None: what the tagger was made with.

        Raises:
            FrameError: the frame can't be used; each reason has its own class.
            OptionError, UnknownLabelError: an argument can't be.
            NonFiniteError: the model gave NaN or infinite logits.
            BackendError: the tagger is closed or belongs to another process, or the inference failed.
        """
        backend = self._ready()
        options = self._options(threshold, top_k)
        return self._inference.finish(backend, self._inference.start(backend, frame, color), *options)

    def submit(self, frame: FrameLike, *, color: str = "bgr") -> Pending:
        """Begin to tag one frame; the answer's ``result()`` is what ``predict`` gives.

        Decoding and preprocessing are done when this returns, the inference is under way. For callers that have
        something else to do meanwhile, such as the next frame.

        Args:
            frame, color: as for ``predict``.

        Raises: what ``predict`` raises before the inference.
        """
        backend = self._ready()
        options = self._options(None, None)
        job = self._inference.start(backend, frame, color)
        return Pending(lambda: self._inference.finish(backend, job, *options))

    def predict_async(
        self,
        frame: FrameLike,
        *,
        color: str = "bgr",
        threshold: float | Mapping[str, float] | None = None,
        top_k: int | None = None,
    ) -> Future[TagResult]:
        """A future of the tags of one frame, decoded and computed in other threads; ``asyncio.wrap_future`` awaits it.

        The frame is not copied: leave it alone until the future is done. Frames wait in a queue without a limit, so
        bound how many are under way if they come faster than they are tagged.

        Args:
            frame, color, threshold, top_k: as for ``predict``.

        Raises:
            OptionError, UnknownLabelError: an option can't be.
            BackendError: the tagger is closed or belongs to another process.
            Everything else that ``predict`` raises, the future does.
        """
        backend = self._ready()
        options = self._options(threshold, top_k)
        with self._workers_lock:
            if self._workers is None:
                self._workers = Workers(backend.parallel + 1)
            inference = self._inference
            return self._workers.submit(
                lambda: inference.finish(backend, inference.start(backend, frame, color), *options)
            )

    def predict_batch(
        self,
        frames: Iterable[FrameLike],
        *,
        color: str = "bgr",
        threshold: float | Mapping[str, float] | None = None,
        top_k: int | None = None,
    ) -> list[TagResult]:
        """The tags of several frames: bit for bit what ``predict`` gives for each, but several are under way at once.

        Args:
            frames: a list or any other iterable of frames, read as it goes; an array must be (count, H, W, channels).
            color, threshold, top_k: as for ``predict``.

        Raises: what ``predict`` raises, for the first frame that can't be tagged.
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
        color: str = "bgr",
        threshold: float | Mapping[str, float] | None = None,
        top_k: int | None = None,
    ) -> Iterator[TagResult | errors.FrameError]:
        """The tags of any number of frames, one after the other and in their order, as they are known.

        Decoding, preprocessing and inference of different frames overlap, and ``frames`` is read only a few frames
        ahead, so that memory stays bounded. Each result is bit for bit what ``predict`` of this tagger gives; a frame
        that can't be used gives its error, and the others go on. A tagger made with ``optimize="throughput"`` is the
        fastest.

        Args:
            frames: any iterable of frames; it is read in the thread that takes the results.
            color, threshold, top_k: as for ``predict``.

        Raises: what ``predict`` raises, but for FrameError; an error of ``frames`` itself ends the stream as well.
        """
        if isinstance(frames, (str, bytes, bytearray, memoryview, os.PathLike)) or getattr(frames, "ndim", 4) != 4:
            raise errors.FrameTypeError(
                "frames", expected="several frames", got="a single one", hint="Pass [frame], or use predict(frame)."
            )
        options = self._options(threshold, top_k)
        backend = self._ready()

        def attempt(frames: list[FrameLike]) -> list[TagResult | errors.FrameError]:
            return self._inference.tag(backend, frames, color, *options)

        # One worker more than inferences at once: while one waits for the disk, the others keep the engine busy.
        return overlapped(attempt, frames, workers=backend.parallel + 1, together=backend.together)

    def close(self) -> None:
        """Free the model. Calls that are under way in other threads still end; later ones raise BackendError."""
        self._backend = None
        with self._workers_lock:
            workers, self._workers = self._workers, None
        if workers is not None:
            workers.close()

    def __enter__(self) -> Tagger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = self._info["precision"] if self._backend else "closed"
        return f"<Tagger {self._info['name']}, {len(self._space.names)} labels, {state}>"

    def _ready(self) -> Backend:
        backend = self._backend
        if backend is None:
            raise errors.BackendError("tagger", expected="an open tagger", got="a closed one", hint="Make a new one.")
        if self._process != os.getpid():
            # The runtime's worker threads don't exist in a forked child: an inference would hang forever.
            raise errors.BackendError(
                "tagger",
                expected="a tagger made in this process",
                got="one from before a fork",
                hint='Make the tagger in each worker, or start workers with multiprocessing\'s "spawn" method.',
            )
        return backend

    def _options(self, threshold: float | Mapping[str, float] | None, top_k: int | None) -> tuple[Any, int | None]:
        top_k = self._top_k if top_k is None else checked_top_k(top_k)
        return thresholds_for(self._thresholds, self._space.index, threshold), top_k


class Pending:
    """A frame on its way, from :meth:`Tagger.submit`. Belongs to one thread."""

    def __init__(self, finish: Callable[[], TagResult]) -> None:
        self._finish = finish
        self._result: TagResult | None = None

    def result(self) -> TagResult:
        """The tags, once they are there.

        Raises:
            NonFiniteError: the model gave NaN or infinite logits.
            BackendError: the inference failed.
        """
        if self._result is None:
            self._result = self._finish()
        return self._result
