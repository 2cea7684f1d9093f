"""A TensorRT plan on the GPU, which threads share, and its recovery after a lost CUDA context."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from ... import errors
from ..._util.cores import available_cores
from ..backend import Backend, Slot
from . import compatibility, library, plugins
from .driver import open_cuda
from .engine import Engine, Shapes
from .pixels import open_pixels
from .session import LOCK, Session, renew, sessions

if TYPE_CHECKING:
    from ...bundle.bundle import Bundle


def load(
    bundle: Bundle,
    precision: str | None,
    num_threads: int | None,
    *,
    device: str,
    throughput: bool,
    fresh: bool,
    trusted: bool,
) -> TensorRtBackend:
    """Load a verified bundle; see :func:`pvlr_sdk.backends.open_backend`.

    ``num_threads``, ``device`` and ``fresh`` are for OpenVINO. A plan that is not trusted does not get here.
    """
    built = bundle.manifest.precision
    if precision not in (None, "auto", built):
        hint = "A TensorRT plan has one precision: build another plan for another precision."
        raise errors.OptionError("precision", expected=built, got=repr(precision), hint=hint)
    return TensorRtBackend(bundle, throughput=throughput)


class TensorRtBackend(Backend):
    """A TensorRT plan on the GPU; threads share it.

    If the CUDA context is lost, for example by a fault in another library's kernel, every inference in flight fails
    with DeviceLostError. Restarting the process is the only recovery that CUDA guarantees. Until then, once no slot of
    any plan is in use, the next ``acquire`` resets the context, once for all plans of the process, and tries to load
    the plan into the new one; the others follow with their next ``acquire``.

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
        self._cuda = open_cuda()
        gpu, version = self._cuda.gpu(), library.version()
        compatibility.check(manifest, bundle.path, version, gpu, plugins.version() if spec.plugins else None)
        self._source = str(bundle.path)
        self._payload = bundle.payload
        self._other_version = library.parse_version(spec.version) != library.parse_version(version)
        self._spec = spec
        self._batch = spec.batch[2] if throughput else spec.batch[0]
        self._shapes = Shapes(
            height=manifest.input.height,
            width=manifest.input.width,
            tokens=manifest.attention.rows * manifest.attention.columns,
            labels=len(manifest.labels),
        )
        self._pixels = open_pixels(manifest.input)
        with LOCK:
            self._session = self._open()
        self.precision: str = manifest.precision
        self.parallel = self._batch * self._session.contexts
        self.info: dict[str, Any] = {
            "backend": "tensorrt",
            "version": version,
            "device": gpu.name,
            "precision": self.precision,
            "attention": spec.attention,
            "threads": available_cores(),
            "from_cache": False,
            "batch": self._batch,
            "parallel": self.parallel,
            "cuda": self._cuda.name,
            "cuda_graph": self._session.no_graph or "in use",
            "preprocessing": "GPU" if self._pixels else "CPU",
        }

    def acquire(self) -> Slot:
        session = self._session
        if session.lost is not None:
            session = self._revived(session)
        return session.acquire()

    def release(self, slot: Slot) -> None:
        self._session.release(slot)  # type: ignore[arg-type]  # created by acquire

    def compute_times(self, count: int) -> list[float]:
        """GPU time of the network alone in ms, measured ``count`` times with CUDA events; for benchmarks."""
        return self._session.compute_times(count)

    def free_memory(self) -> int:
        """Free device memory in bytes."""
        with self._session.guarded():
            return self._cuda.free_memory()

    def __del__(self) -> None:
        # At interpreter exit, anything that this needs may be gone already.
        with contextlib.suppress(Exception):
            if self._session.lost is None:
                self._session.close()

    def _open(self) -> Session:
        def engine() -> Engine:
            return Engine(
                self._payload,
                self._source,
                self._shapes,
                other_version=self._other_version,
                with_plugins=self._spec.plugins is not None,
                dla=self._spec.dla,
            )

        session = Session(self._cuda, engine, self._source, self._shapes, self._batch, self._pixels)
        sessions.add(session)
        return session

    def _revived(self, lost: Session) -> Session:
        """A session in a new context, which all plans of the process share."""
        with LOCK:
            if self._session is lost:
                try:
                    renew(self._cuda, lost)
                    self._session = self._open()
                except errors.DeviceLostError:
                    sessions.add(lost)  # the new context, if there is one, is broken too
                    raise
                except Exception as error:
                    expected = "a new CUDA context after the old one was lost"
                    hint = "Restart the process; see pvlr doctor."
                    raise errors.DeviceLostError(self._source, expected=expected, got=str(error), hint=hint) from error
            return self._session
