"""Tags uploads, a few at a time, so that they exhaust neither the memory nor the engine that the cameras share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from contextlib import nullcontext
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import anyio
from starlette.requests import Request

from ....errors import BundleError
from ....frames.frames import color_of
from ....frames.isolated import Decoders, available
from ....result import TagResult
from ...control.control import Control
from ..server.bodies import decode_upload, read_body, read_upload
from ..server.problems import ProblemError
from ..server.settings import ServeSettings
from ..server.turns import PENALTY, Turns, client_of
from .images import attention_map
from .schemas import TagModel, TagsModel

_WORKERS = 2
"""Number of images decoded and tagged at the same time; with cameras one."""
_BUFFERED = 8
"""Images of the maximum size that may arrive or wait at the same time; more if they are smaller."""
_WAITING = 8, 64
"""Minimum and maximum number of images that wait; between, as many as are tagged within a third of the time limit."""
_AROUND = 100_000
"""Bytes of a JSON body around its image."""


@dataclass(eq=False, slots=True)
class Upload:
    """A request with an image: its client, how to end it, the bytes that have arrived, and whether these are all."""

    client: Hashable
    scope: anyio.CancelScope
    held: int = 0
    waiting: bool = False

    def began(self) -> None:
        """It is tagged: nothing is gained by ending it from now on."""
        self.held = 0
        self.waiting = False


class UploadTagger:
    """Tags uploads within the limits of the settings, at the current thresholds. Call it in the event loop."""

    def __init__(self, control: Control, settings: ServeSettings) -> None:
        self._control = control
        self._settings = settings
        self._between_frames = control.site.between_frames if control.site else nullcontext
        self._count = 1 if control.site else _WORKERS
        self._turns = Turns(self._count, _WAITING[1], settings.timeout)
        # they start with the first images
        self._decoders = Decoders(self._count) if available() else None
        self._uploads: list[Upload] = []
        self._stopping = False
        self.counts = {"tagged": 0, "failed": 0, "turned away": 0}
        """Responses to uploads, by their kind."""

    async def tag(
        self,
        request: Request,
        threshold: float | None = None,
        top_k: int | None = None,
        attention: bool = False,
        find: Callable[[bytes], bytes] | None = None,
    ) -> TagsModel:
        """Tag the image in the body of a request; ``find`` finds it in JSON, which has it as base64.

        Raises ProblemError, and what the functions of bodies.py or ``find`` raise.
        """
        result = "failed"
        try:
            tags = await self._tag(request, find, threshold, top_k, attention)
            result = "tagged"
            return tags
        except ProblemError as error:
            result = "turned away" if error.status == 503 else "failed"
            raise
        finally:
            self.counts[result] += 1

    def stop(self) -> None:
        """End all requests with a problem."""
        self._stopping = True
        for upload in self._uploads:
            upload.scope.cancel()

    def close(self) -> None:
        """End the decoders. Safe in any thread."""
        if self._decoders:
            self._decoders.close()

    async def _tag(
        self, request: Request, find: Callable[[bytes], bytes] | None, *how: Any
    ) -> TagsModel:
        upload = Upload(client_of(request.scope), anyio.CancelScope())
        with upload.scope:
            if self._stopping:
                upload.scope.cancel()
            self._uploads.append(upload)
            try:
                most = self._settings.max_bytes
                read, most = (read_body, most * 4 // 3 + _AROUND) if find else (read_upload, most)
                data = await read(
                    request, most, self._settings.timeout, lambda n: self._arrived(upload, n)
                )
                upload.waiting = True
                fewest, largest = _WAITING
                fitting = int(self._settings.timeout / 3 * self._count / self._turns.seconds)
                self._limit(lambda other: other.waiting, min(max(fewest, fitting), largest))
                with anyio.fail_after(self._settings.timeout):
                    return await self._turns.run(
                        upload.client,
                        lambda: self._work(find(data) if find else data, *how),
                        upload.began,
                    )
            except TimeoutError:
                raise ProblemError(
                    503, "Tagging the image took too long.", Retry_After="10"
                ) from None
            finally:
                self._uploads.remove(upload)
        if self._stopping:
            raise ProblemError(503, "The server is stopping.", Retry_After="5", Connection="close")
        await anyio.sleep(PENALTY)
        seconds = self._turns.seconds_of(sum(other.waiting for other in self._uploads))
        raise ProblemError(503, "More images arrive than can be tagged.", Retry_After=str(seconds))

    def _arrived(self, upload: Upload, count: int) -> None:
        upload.held += count
        self._limit(lambda other: other.held, _BUFFERED * self._settings.max_bytes)

    def _limit(self, size: Callable[[Upload], int], most: int) -> None:
        """While uploads together exceed a limit, turn away the largest of the client with the most, the newest first:
        neither many images of one client nor slow ones keep out the images of another."""
        going = [upload for upload in self._uploads if not upload.scope.cancel_called]
        while sum(map(size, going)) > most:
            totals = Counter[Hashable]()
            for upload in going:
                totals[upload.client] += size(upload)
            client = max(totals, key=totals.__getitem__)
            victim = max(
                (upload for upload in reversed(going) if upload.client == client), key=size
            )
            victim.scope.cancel()
            going.remove(victim)

    def _work(
        self, data: bytes, threshold: float | None, top_k: int | None, attention: bool
    ) -> TagsModel:
        control = self._control
        with self._between_frames():
            began = perf_counter()
            frame = decode_upload(data, self._settings.max_pixels, self._decoders)
            decoded = 1e3 * (perf_counter() - began)
            color = color_of(frame.order)
            in_use = {
                label: decided.value for label, decided in control.thresholds.in_use().items()
            }
            limits = in_use if threshold is None else threshold
            try:
                result = control.tagger.predict(
                    frame.pixels, color=color, threshold=limits, top_k=top_k
                )
            except BundleError as error:
                control.deployment.failed(error)
                raise
        timing = {**result.timing, "decode": decoded, "total": result.timing["total"] + decoded}
        return TagsModel(
            width=result.frame_size[1],
            height=result.frame_size[0],
            plan=result.plan,
            tags=tag_models(result),
            attention=[attention_map(result, tag.label) for tag in result] if attention else [],
            timing_ms={stage: round(value, 3) for stage, value in timing.items()},
        )


def tag_models(result: TagResult) -> list[TagModel]:
    return [TagModel(**tag._asdict()) for tag in result]
