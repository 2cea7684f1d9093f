"""Tags uploads, a few at a time, so that they exhaust neither the memory nor the engine that the cameras share."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from time import perf_counter
from typing import TYPE_CHECKING

import anyio
from starlette.requests import Request

from ...errors import BundleError
from ...frames.isolated import Decoders, available
from ...result import TagResult
from ...tagger import Tagger
from ...watch.control import Control
from ..server.audit import address_of, who
from ..server.connections import network_of
from ..server.problems import ProblemError
from ..server.settings import ServeSettings
from .fairness import Buffered, FairQueue, Upload
from .images import attention_map
from .schemas import TagModel, TagsModel
from .uploads import decode_upload, read_upload

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...watch import Site

_WORKERS = 2
"""Number of images decoded and tagged at the same time; with cameras one."""
_BUFFERED = 8
"""Images of the maximum size that may arrive or wait at the same time; more if they are smaller."""
_QUEUE = 8, 64
"""Minimum and maximum number of images that wait; between, as many as are tagged within a third of the time limit."""
_PENALTY = 1.0
"""Seconds until a request is turned away. A client that tries again at once would cost more than its image."""


class UploadTagger:
    """Tags uploads within the limits of the settings, at the current thresholds. Call it in the event loop."""

    def __init__(self, tagger: Tagger, site: Site | None, settings: ServeSettings, control: Control) -> None:
        self._tagger = tagger
        self._control = control
        self._settings = settings
        self._between_frames = site.between_frames if site else nullcontext
        self._idle = 1 if site else _WORKERS
        self._workers = ThreadPoolExecutor(self._idle, "pvlr-uploads")
        self._decoders = Decoders(self._idle) if available() else None  # they start with the first images
        self._count = self._idle
        self._seconds = 0.2  # the first ones are slow, and a queue that is too long at first takes seconds to end
        self._queue = FairQueue()
        self._turns: dict[Upload, asyncio.Event] = {}
        self._buffered = Buffered(_BUFFERED * settings.max_bytes)
        self._scopes: set[anyio.CancelScope] = set()
        self._stopping = False
        self.counts = {"tagged": 0, "failed": 0, "turned away": 0}
        """Responses to uploads, by their kind."""

    async def tag(self, request: Request, threshold: float | None, top_k: int | None, attention: bool) -> TagsModel:
        """Tag the image in the body of a request. Raises ProblemError, and what the functions of uploads.py raise."""
        try:
            tags = await self._tag(request, threshold, top_k, attention)
        except ProblemError as error:
            self.counts["turned away" if error.status == 503 else "failed"] += 1
            raise
        except BaseException:
            self.counts["failed"] += 1
            raise
        self.counts["tagged"] += 1
        return tags

    def stop(self) -> None:
        """End all requests with a problem."""
        self._stopping = True
        for scope in self._scopes:
            scope.cancel()

    def close(self) -> None:
        """Cancel what waits, without waiting for the images in progress. Safe in any thread."""
        self._workers.shutdown(wait=False, cancel_futures=True)
        if self._decoders:
            self._decoders.close()

    async def _tag(self, request: Request, threshold: float | None, top_k: int | None, attention: bool) -> TagsModel:
        if self._stopping:
            raise _stopping()
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            address = network_of(address_of(request.scope) or "")
            upload = Upload((who(request.scope), address), scope.cancel)
            self._buffered.enter(upload)
            try:
                data = await read_upload(
                    request, self._settings.max_bytes, self._settings.timeout, lambda n: self._buffered.grow(upload, n)
                )
                with anyio.fail_after(self._settings.timeout):
                    await self._turn(upload)
                    self._buffered.leave(upload)
                    return await self._run(lambda: self._work(data, threshold, top_k, attention))
            except TimeoutError:
                raise ProblemError(503, "Tagging the image took too long.", Retry_After="10") from None
            finally:
                self._buffered.leave(upload)
                self._scopes.discard(scope)
        if self._stopping:
            raise _stopping()
        await anyio.sleep(_PENALTY)
        raise ProblemError(503, "More images arrive than can be tagged.", Retry_After=str(self._delay()))

    async def _turn(self, upload: Upload) -> None:
        """Wait for a worker. The caller must then give it work."""
        if self._idle:
            self._idle -= 1
            return
        turn = self._turns[upload] = asyncio.Event()
        least, most = _QUEUE
        fitting = int(self._settings.timeout / 3 * self._count / self._seconds)
        self._queue.put(upload, min(max(least, fitting), most))
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():
                self._next()
            raise
        finally:
            self._queue.discard(upload)
            del self._turns[upload]

    def _next(self) -> None:
        """A worker is idle: give it to the next upload."""
        upload = self._queue.take()
        if upload is None:
            self._idle += 1
        else:
            self._turns[upload].set()

    async def _run(self, work: Callable[[], TagsModel]) -> TagsModel:
        loop = asyncio.get_running_loop()
        began = loop.time()

        def ended() -> None:
            self._seconds += 0.2 * (loop.time() - began - self._seconds)
            self._next()

        def report(_: object) -> None:
            with suppress(RuntimeError):  # the server has ended before it
                loop.call_soon_threadsafe(ended)

        try:
            future = self._workers.submit(work)
        except RuntimeError:
            raise _stopping() from None
        # The worker is busy until the thread is done: one that takes too long cannot be stopped.
        future.add_done_callback(report)
        return await asyncio.wrap_future(future)

    def _delay(self) -> int:
        """Seconds until the images that wait now are tagged, rounded up."""
        return 1 + int(len(self._queue) * self._seconds / self._count)

    def _work(self, data: bytes, threshold: float | None, top_k: int | None, attention: bool) -> TagsModel:
        with self._between_frames():
            began = perf_counter()
            frame = decode_upload(data, self._settings.max_pixels, self._decoders)
            decoded = 1e3 * (perf_counter() - began)
            color = "bgr" if frame.order == "gray" else frame.order
            limits = self._control.thresholds if threshold is None else threshold
            try:
                result = self._tagger.predict(frame.pixels, color=color, threshold=limits, top_k=top_k)
            except BundleError as error:
                self._control.deployment.failed(error)
                raise
        self._control.deployment.observe(result)
        timing = {**result.timing, "decode": decoded, "total": result.timing["total"] + decoded}
        return TagsModel(
            width=result.frame_size[1],
            height=result.frame_size[0],
            plan=result.plan,
            tags=tag_models(result),
            attention=[attention_map(result, tag.label) for tag in result] if attention else [],
            timing_ms={stage: round(value, 3) for stage, value in timing.items()},
        )


def _stopping() -> ProblemError:
    return ProblemError(503, "The server is stopping.", Retry_After="5", Connection="close")


def tag_models(result: TagResult) -> list[TagModel]:
    """The tags of a result for a response."""
    return [TagModel(**tag._asdict()) for tag in result]
