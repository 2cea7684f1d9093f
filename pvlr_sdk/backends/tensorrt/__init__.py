"""The GPU backend: NVIDIA's TensorRT, on a Jetson as on a server.

Nothing is deserialised before the manifest, the hashes, the versions and the GPU were checked (``fit``). ``session``
runs the plan, ``lane`` is one execution context in it, ``slot`` one frame, ``cuda`` the CUDA calls behind them.
"""

from __future__ import annotations

import contextlib
from threading import Lock
from typing import TYPE_CHECKING, Any

from ... import errors
from ...cores import available_cores
from ...tensorrt import library, plugins
from .. import Backend
from . import fit
from .cuda import open_cuda
from .engine import Engine, Shapes
from .pixels import open_pixels
from .session import Session

if TYPE_CHECKING:
    from ...bundle import Bundle
    from .. import Slot


class TensorRtBackend(Backend):
    """A TensorRT plan on the GPU; threads share it.

    If the CUDA context is lost, for example by a fault in another library's kernel, everything under way ends with
    DeviceLostError, and the next ``acquire`` loads the plan into a fresh context as soon as nobody holds a slot.

    Args:
        bundle: the verified bundle of a TensorRT plan.
        throughput: run batches of the plan's largest size, filled by the frames that wait; else frame by frame.

    Raises:
        MissingPartError: TensorRT, a CUDA binding or the plugin library is not here.
        PlanMismatchError: the plan was built for something else than what is here.
        BackendError, DeviceMemoryError, ModelError: TensorRT does not take it.
    """

    def __init__(self, bundle: Bundle, *, throughput: bool = False) -> None:
        manifest = bundle.manifest
        spec = manifest.tensorrt
        assert spec is not None
        library.require()
        self._cuda = open_cuda()
        gpu, version = self._cuda.gpu(), library.version()
        fit.check(manifest, bundle.path, version, gpu, plugins.version() if spec.plugins else None)
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
        self._lock = Lock()
        self._session = self._open()
        self.precision: str = manifest.precision
        self.parallel = self._batch * self._session.lanes
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
        self._session.release(slot)  # type: ignore[arg-type]  # it is one of ours

    def compute_times(self, count: int) -> list[float]:
        """Milliseconds of the network alone on the GPU, measured ``count`` times by CUDA events; for benchmarks."""
        return self._session.compute_times(count)

    def free_memory(self) -> int:
        """Bytes of device memory that nobody uses."""
        with self._session.guarded():
            return self._cuda.free_memory()

    def __del__(self) -> None:
        # The last user is gone. At the interpreter's end anything may be gone already.
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

        return Session(self._cuda, engine, self._source, self._shapes, self._batch, self._pixels)

    def _revived(self, lost: Session) -> Session:
        """A session in a fresh context. A lost context takes all memory with it, so nobody may still use that."""
        with self._lock:
            if self._session is lost:
                if lost.in_use():
                    raise lost.loss()
                lost.forget()
                try:
                    self._cuda.reset()
                    self._session = self._open()
                except errors.DeviceLostError:
                    raise
                except Exception as error:
                    raise errors.DeviceLostError(
                        self._source,
                        expected="a fresh CUDA context after the old one was lost",
                        got=str(error),
                        hint="Start the process again; see pvlr doctor.",
                    ) from error
            return self._session
