"""A TensorRT plan on the GPU, which threads share."""

from __future__ import annotations

import contextlib
import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from ... import errors
from ..._util.cores import available_cores
from ..backend import Backend, Slot, closed
from ..openvino.labels import compile_labels, project
from . import compatibility, library, plugins
from .driver import open_cuda
from .engine import Engine, Shapes
from .pixels import open_pixels
from .session import Session
from .slot import Labels

if TYPE_CHECKING:
    from ...bundle.bundle import Bundle
    from ...bundle.label_bank import LabelBank


def load(
    bundle: Bundle,
    precision: str | None,
    num_threads: int | None,
    *,
    throughput: bool,
    **others: object,
) -> TensorRtBackend:
    """Load a verified bundle; see :func:`pvlr_sdk.backends.open_backend`.

    ``num_threads`` and ``others`` are for OpenVINO. A plan that is not trusted does not get here.
    """
    built = bundle.manifest.precision
    if precision not in (None, "auto", built):
        raise errors.OptionError(
            "precision",
            built,
            repr(precision),
            "A TensorRT plan has one precision: build another plan for another precision.",
        )
    return TensorRtBackend(bundle, throughput=throughput)


class TensorRtBackend(Backend):
    """A TensorRT plan on the GPU; threads share it.

    The engine of an open plan computes the part for frames. The part for labels runs on the CPU, once for a bank, and
    each execution context uploads the results before its next batch.

    If the CUDA context is lost, for example by a fault in another library's kernel, every inference in flight fails
    with DeviceLostError, and so does every later use of the GPU by any plan: restart the process, the only recovery
    that CUDA guarantees.

    Args:
        bundle: the verified bundle of a TensorRT plan.
        throughput: run batches of the plan's largest size, filled with waiting frames, instead of single frames.

    Raises:
        MissingPartError: TensorRT, NVIDIA's driver or the plugin library is not installed.
        PlanMismatchError: the plan was built for another TensorRT, GPU, processor or plugin library.
        BackendError, DeviceMemoryError, ModelError: TensorRT cannot load the plan.
    """

    def __init__(self, bundle: Bundle, *, throughput: bool = False) -> None:
        manifest = bundle.manifest
        spec = manifest.tensorrt
        assert spec is not None
        library.require()
        cuda = open_cuda()
        gpu = cuda.gpu()
        version = library.version()
        compatibility.check(
            manifest, bundle.path, version, gpu, plugins.version() if spec.plugins else None
        )
        self._source = str(bundle.path)
        batch = spec.batch[2] if throughput else spec.batch[0]
        self._open = manifest.open
        self._labels: Labels | None = None
        self._first: TensorRtBackend | None = None  # which closes the session that others share
        projections = {}
        if self._open:
            assert bundle.label_network is not None
            self._label_network = compile_labels(bundle.label_network, self._source)
            projections = project(self._label_network, bundle.labels, self._open, self._source)
        shapes = Shapes(
            height=manifest.input.height,
            width=manifest.input.width,
            tokens=manifest.attention.rows * manifest.attention.columns if spec.maps else 0,
            labels=self._open.max_labels if self._open else len(manifest.labels),
            features=self._open.feature_width if self._open else None,
            projections={name: array.shape for name, array in projections.items()},
        )
        pixels = open_pixels(manifest.input)
        make_engine = partial(
            Engine,
            bundle.payload,
            self._source,
            shapes,
            other_version=library.parse_version(spec.version) != library.parse_version(version),
            with_plugins=spec.plugins is not None,
            dla=spec.dla,
            largest=batch != spec.batch[0],
        )
        self._session = Session(cuda, make_engine, self._source, shapes, batch, pixels)
        if projections:
            self._labels = self._session.labels(len(bundle.labels), projections)
        self.precision: str = manifest.precision
        self.parallel = batch * len(self._session.contexts)
        self.info: dict[str, Any] = {
            "backend": "tensorrt",
            "version": version,
            "device": gpu.name,
            "precision": self.precision,
            "attention": spec.attention,
            "threads": available_cores(),
            "from_cache": False,
            "batch": batch,
            "parallel": self.parallel,
            "contexts": self._session.one_context or len(self._session.contexts),
            "cuda": cuda.name,
            "cuda_graph": next(
                (context.no_graph for context in self._session.contexts if context.no_graph),
                "in use",
            ),
            "preprocessing": "GPU" if pixels else "CPU",
        }

    def with_labels(self, bank: LabelBank) -> TensorRtBackend:
        if self._open is None:
            raise closed(self._source)
        changed = copy.copy(self)
        changed._first = self._first or self
        projections = project(self._label_network, bank, self._open, self._source)
        changed._labels = self._session.labels(len(bank), projections)
        return changed

    def acquire(self) -> Slot:
        slot = self._session.acquire()
        slot.labels = self._labels
        return slot

    def release(self, slot: Slot) -> None:
        self._session.release(slot)  # type: ignore[arg-type]  # created by acquire

    def compute_times(self, count: int) -> list[float]:
        """GPU time of the network alone in ms, measured ``count`` times with CUDA events; for benchmarks."""
        return self._session.compute_times(count)

    def __del__(self) -> None:
        # At interpreter exit, anything that this needs may be gone already.
        with contextlib.suppress(Exception):
            if self._first is None:
                self._session.close()
