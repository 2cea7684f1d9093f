"""A plan in memory: the engine, the labels and everything else that computes a result."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..backends import Backend, open_backend
from ..bundle.label_bank import LabelBank
from ..bundle.schema import OperatingPoint, Optimize, PlanPrecision
from ..frames.frames import FrameLike
from ..frames.isolated import Decoders
from ..frames.preprocess import Preprocessor
from ..frames.tiles import Layout, Tiles, layout_name
from ..models.find import load_bundle
from ..result import LabelSpace, TagResult, thresholds_for
from ..result.tags import corrected_thresholds
from ..trust import Trust, accept
from . import golden
from .inference import Inference, Request
from .overlap import AwaitableFuture, Workers, overlapped
from .tile_thresholds import TileThresholds


@dataclass(frozen=True)
class Options:
    """The keyword arguments of ``Tagger``, which describes them; ``trust`` is the trust in force."""

    threshold: float | Mapping[str, float] | None = None
    operating_point: OperatingPoint = "f1"
    top_k: int | None = None
    device: str = "auto"
    optimize: Optimize = "latency"
    num_threads: int | None = None
    precision: PlanPrecision | None = None
    reduced_jpeg: bool = False
    trust: Trust | None = None
    allow_unsigned: bool | None = None
    isolate: bool = False
    tiles: Tiles | None = None

    def with_rollback(self) -> Options:
        """The same, but a bundle that is older than one that was in use is accepted."""
        return (
            self
            if self.trust is None
            else replace(self, trust=replace(self.trust, allow_rollback=True))
        )


@dataclass
class LoadedPlan:
    """A plan that passed its self-test: everything that computes its results. A call uses one from its start to its
    end, so that no result mixes two plans.

    Attributes:
        backend: None once it is closed.
        thresholds: float32 (C,).
        info: what ``Tagger.info`` returns.
        bank: the label bank in use.
        frame: the golden frame, uint8 BGR, for other label banks.
        deployed: float32 (C,), the thresholds of the plan or the label bank, which ``thresholds`` may replace.
        measured: the thresholds that the plan has for tiles.
        tiled: float32 (C,) by the name of a tile layout, of ``measured``; NaN for labels that differ from the plan's.
        tried: the SHA-256 of the label banks that passed the test with the golden frame, the latest 256.
    """

    backend: Backend | None
    inference: Inference
    space: LabelSpace
    thresholds: NDArray[np.float32]
    info: dict[str, Any]
    bank: LabelBank
    frame: NDArray[np.uint8]
    deployed: NDArray[np.float32]
    measured: TileThresholds
    tiled: dict[str, NDArray[np.float32]]
    tried: deque[str]
    _workers: Workers[Callable[[], TagResult], TagResult] | None = field(default=None, init=False)
    _process: int = field(default_factory=os.getpid, init=False)

    def __post_init__(self) -> None:
        self.thresholds = self.thresholds.copy()
        self.thresholds.flags.writeable = False  # results share them

    @classmethod
    def open(
        cls, plan: str | os.PathLike[str] | None, options: Options, *, record_version: bool = True
    ) -> LoadedPlan:
        """Load and test a plan; None: the model bundled with the package.

        ``record_version``: refuse older signed bundles of its name from now on.

        Raises:
            IsolationError, BundleError, OptionError, UnknownLabelError, MissingPartError: as for ``Tagger``.
        """
        bundle = load_bundle(plan, trust=options.trust or False)
        manifest = bundle.manifest
        source = str(bundle.path)
        space = LabelSpace(
            tuple(label.name for label in manifest.labels),
            manifest.attention,
            (manifest.input.height, manifest.input.width),
            manifest.files["plan"].sha256,
            manifest.files["labels"].sha256,
        )
        deployed = np.array(manifest.thresholds(options.operating_point), np.float32)
        thresholds = thresholds_for(deployed, space.index, options.threshold)
        preprocess = Preprocessor(manifest.input)
        # they load their libraries while the plan loads
        decoders = Decoders().start() if options.isolate else None
        engine = options.device, options.precision, options.num_threads, options.optimize
        load = partial(open_backend, bundle, *engine, allow_unsigned=options.allow_unsigned)
        try:
            backend, frame = golden.checked(load, manifest.golden, preprocess, source, decoders)
            if record_version:
                accept(bundle.signature, options.trust or False)
        except BaseException:
            if decoders:
                decoders.close()  # now, and not when nobody holds the exception any more
            raise
        least_size = (
            (2 * manifest.input.height, 2 * manifest.input.width) if options.reduced_jpeg else None
        )
        info = {
            "name": manifest.name,
            "plan": source,
            "sha256": space.plan,
            "signature": bundle.signature.to_dict() if bundle.signature else None,
            "labels": len(manifest.labels),
            "max_labels": manifest.open.max_labels if manifest.open else None,
            "features": manifest.open.features if manifest.open else None,
            "bank": space.bank,
            "own_bank": space.bank,
            "operating_point": options.operating_point if manifest.format > 1 else None,
            "input": manifest.input.model_dump(mode="json"),
            **backend.info,
            "built": manifest.built,
            "measured": manifest.measured,
        }
        inference = Inference(preprocess, space, least_size, source, decoders)
        layouts = manifest.tiles.items()
        tiled = {
            name: np.array(points[options.operating_point], np.float32) for name, points in layouts
        }
        measured = TileThresholds(bundle.labels, deployed, tiled)
        tried = deque([space.bank], maxlen=256)
        return cls(
            backend,
            inference,
            space,
            thresholds,
            info,
            bundle.labels,
            frame,
            deployed,
            measured,
            tiled,
            tried,
        )

    def with_labels(self, backend: Backend, bank: LabelBank, options: Options) -> LoadedPlan:
        """The same open plan with another label bank: both share everything else. ``backend`` is that of this plan.

        Raises:
            BackendError: the plan is closed.
            LabelBankError: the plan cannot use the bank, or its scores are not finite or saturated.
            OptionError, UnknownLabelError: as for ``Tagger``.
        """
        if not isinstance(bank, LabelBank):
            raise errors.OptionError(
                "bank", "a LabelBank", type(bank).__name__, "LabelBank.load reads one from a file."
            )
        space = replace(self.space, names=tuple(bank.names), bank=bank.sha256)
        has_both = bank.precise_thresholds is not None
        precise = bank.precise_thresholds if options.operating_point == "precise" else None
        deployed = bank.thresholds if precise is None else precise
        thresholds = thresholds_for(deployed, space.index, options.threshold)
        backend = backend.with_labels(bank)
        if space.bank not in self.tried:  # an inference, which waits behind those of other threads
            golden.check_labels(self.frame, backend, self.inference.preprocess, bank)
            self.tried.append(space.bank)
        accept(bank.signature, options.trust or False)
        changed = replace(
            self,
            backend=backend,
            inference=replace(self.inference, space=space),
            space=space,
            thresholds=thresholds,
            info={
                **self.info,
                "labels": len(bank),
                "bank": space.bank,
                "operating_point": options.operating_point if has_both else None,
            },
            bank=bank,
            deployed=deployed,
            tiled=self.measured.of(bank, deployed),
        )
        changed._workers = self._workers
        changed._process = self._process
        return changed

    def thresholds_of(
        self, layout: Layout | None, wanted: float | Mapping[str, float] | None
    ) -> NDArray[np.float32]:
        """The thresholds (C,) of a tile layout, which ``wanted``, the tagger's option, may replace; None: without
        tiles."""
        if layout is None:
            return self.thresholds
        values = corrected_thresholds(self.deployed, layout[0] * layout[1])
        measured = self.tiled.get(layout_name(layout))
        if measured is not None:
            values = np.where(np.isnan(measured), values, measured)
        return thresholds_for(np.maximum(values, self.deployed), self.space.index, wanted)

    def stream(
        self, backend: Backend, request: Request, frames: Iterable[FrameLike]
    ) -> Iterator[TagResult | errors.FrameError]:
        """The results of frames in order, several inferences at once; see ``Tagger.predict_stream``."""
        work = partial(self.inference.tag, backend, request)
        # One worker more than parallel inferences: while one waits for the disk, the others keep the engine busy.
        return overlapped(work, frames, workers=backend.parallel + 1, together=backend.together)

    def submit(self, backend: Backend, call: Callable[[], TagResult]) -> AwaitableFuture[TagResult]:
        """Call it in a worker thread. Neither this nor ``close`` may run in two threads at once."""
        if self._workers is None:
            self._workers = Workers(_call, backend.parallel + 1)
        return self._workers.submit(call)

    def check(self, backend: Backend | None) -> Backend:
        """This plan's backend, if it can be used.

        Raises:
            BackendError: it is None, because the plan is closed, or another process loaded it.
        """
        if backend is None:
            raise errors.BackendError(
                "tagger", "an open tagger", "a closed one", "Create a new one."
            )
        if self._process != os.getpid():
            # The runtime's worker threads don't exist in a forked child: an inference would never return.
            raise errors.BackendError(
                "tagger",
                "a tagger created in this process",
                "one inherited through a fork",
                'Start workers with multiprocessing\'s "spawn" method, and create it in each worker.',
            )
        return backend

    def close(self) -> None:
        """Free the model once the calls in progress and those submitted are done."""
        self.backend = None
        workers = self._workers
        self._workers = None
        if workers is not None:
            workers.close()
        self.inference.close()


def _call(calls: list[Callable[[], TagResult]]) -> list[TagResult]:
    return [call() for call in calls]
