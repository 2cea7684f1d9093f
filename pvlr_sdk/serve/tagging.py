"""Photos that are sent to be tagged: a few at a time, so that they take neither the memory nor the cameras' engine."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import perf_counter

import anyio
from starlette.requests import Request

from ..result import TagResult
from ..tagger import Tagger
from .attention import attention_map
from .models import TagModel, TagsModel
from .problems import ProblemError
from .settings import ServeSettings
from .uploads import decode_upload, read_upload

_AT_ONCE = 2
"""Pictures that are decoded and tagged at the same time."""
_MOST = 8
"""Requests that hold a picture, those that still arrive among them."""


class PhotoTagger:
    """Tags uploads within the settings' bounds."""

    def __init__(self, tagger: Tagger, settings: ServeSettings) -> None:
        self._tagger = tagger
        self._settings = settings
        self._workers = ThreadPoolExecutor(_AT_ONCE, "pvlr-photos")
        self._held = 0
        self._scopes: set[anyio.CancelScope] = set()

    async def tag(self, request: Request, threshold: float | None, top_k: int | None, attention: bool) -> TagsModel:
        """The tags of the picture in a request's body.

        Raises:
            ProblemError: too many requests at once, it took too long, or the body is none of the picture types.
            ImageSizeError, FrameError: the picture is too large, or none.
        """
        if self._held >= _MOST:
            raise ProblemError(503, f"{_MOST} pictures are being tagged already.", Retry_After="1")
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                return await self._read_and_tag(request, threshold, top_k, attention)
            finally:
                self._scopes.discard(scope)
        raise ProblemError(503, "The server is being stopped.")

    def stop(self) -> None:
        """End every request under way, with a problem; to be called in the event loop."""
        for scope in self._scopes:
            scope.cancel()

    def close(self) -> None:
        """Take no more work; don't wait for what is under way."""
        self._workers.shutdown(wait=False, cancel_futures=True)

    async def _read_and_tag(
        self, request: Request, threshold: float | None, top_k: int | None, attention: bool
    ) -> TagsModel:
        self._held += 1
        try:
            data = await read_upload(request, self._settings.max_bytes, self._settings.timeout)
            work = self._workers.submit(self._work, data, threshold, top_k, attention)
        except BaseException:
            self._held -= 1
            raise
        # Held until the thread has ended: one that takes too long can't be stopped, but no others may pile up behind.
        loop = asyncio.get_running_loop()

        def ended(_: object) -> None:
            with suppress(RuntimeError):  # the server has ended before it
                loop.call_soon_threadsafe(self._release)

        work.add_done_callback(ended)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(work), self._settings.timeout)
        except asyncio.TimeoutError:
            raise ProblemError(503, "The picture took too long.", Retry_After="10") from None

    def _release(self) -> None:
        self._held -= 1

    def _work(self, data: bytes, threshold: float | None, top_k: int | None, attention: bool) -> TagsModel:
        began = perf_counter()
        frame = decode_upload(data, self._settings.max_pixels)
        decoded = 1e3 * (perf_counter() - began)
        color = "bgr" if frame.order == "gray" else frame.order
        result = self._tagger.predict(frame.pixels, color=color, threshold=threshold, top_k=top_k)
        timing = {**result.timing, "decode": decoded, "total": result.timing["total"] + decoded}
        return TagsModel(
            width=result.frame_size[1],
            height=result.frame_size[0],
            tags=tag_models(result),
            attention=[attention_map(result, tag.label) for tag in result] if attention else [],
            timing_ms={stage: round(value, 3) for stage, value in timing.items()},
        )


def tag_models(result: TagResult) -> list[TagModel]:
    """The tags of a result, for an answer."""
    return [TagModel(**tag._asdict()) for tag in result]
