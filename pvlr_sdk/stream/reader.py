"""A camera's own thread: opens its source, reads it, and opens it again for as long as it takes."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import ExitStack

from .. import errors
from ..sources import CapturedFrame, EndOfSource, Source, open_source
from ..sources.uri import PathUri, parse_uri
from .backoff import Backoff
from .camera import Camera
from .events import CameraChange, CameraState
from .inboxes import Inboxes
from .pace import Playback
from .stats import Counters

_log = logging.getLogger(__name__)

_STEADY = 10.0
"""Seconds of frames after which a camera counts as back; one that is lost at once again waits longer each time."""


class Reader:
    """Fills one camera's inbox until the inboxes are closed or the source has ended.

    Args:
        index: the camera's place in ``inboxes``.
        every_frame: leave no frame of a file out; else a file plays at its own pace, like a camera.

    Attributes:
        waits: its source waits for the tagging, frame by frame, so that no frame is ever late.
    """

    def __init__(
        self, index: int, camera: Camera, inboxes: Inboxes, counters: Counters, reconnect: Backoff, every_frame: bool
    ) -> None:
        self._index = index
        self._camera = camera
        self._inboxes = inboxes
        self._counters = counters
        self._reconnect = reconnect
        self._every_frame = every_frame
        self._is_file = isinstance(parse_uri(camera.uri), PathUri)
        self.waits = False
        self._source: Source | None = None
        self._thread = threading.Thread(target=self._run, name=f"pvlr-camera-{camera.name}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self) -> None:
        """Close the source, after the inboxes were closed: the thread ends soon.

        One inside a library call that can't be interrupted ends after the camera's timeout at the latest.
        """
        source = self._source
        if source is not None:
            source.close()

    def join(self, timeout: float) -> None:
        """Wait for the thread, but no longer than ``timeout`` seconds."""
        self._thread.join(max(timeout, 0))

    def _run(self) -> None:
        attempt = 0
        while not self._inboxes.closed:
            began = time.monotonic()
            with ExitStack() as opened:
                try:
                    self._watch(opened)
                    return  # the inboxes were closed
                except Exception as error:
                    state, reason, wait = self._judge(error)
                # Told before the source is closed: saying goodbye to a camera that is gone takes until its timeout.
                if not self._inboxes.closed:
                    self._change(state, reason)
            if state == "ended":
                return
            attempt = 0 if time.monotonic() - began > _STEADY + self._camera.timeout else attempt
            if self._inboxes.sleep(self._reconnect.delay(attempt) if wait is None else wait):
                return
            attempt += 1
            self._counters.add(reconnects=1)

    def _watch(self, opened: ExitStack) -> None:
        """Open the source and read it; ends by an exception, or after the inboxes were closed."""
        camera = self._camera
        source = open_source(camera.uri, transport=camera.transport, timeout=camera.timeout, loop=camera.loop)
        opened.callback(source.close)
        self._source = source
        playback = Playback()
        while not self._inboxes.closed:
            damaged, skipped = source.decode_errors, source.skipped
            try:
                frame = source.read()
            finally:
                self._counters.add(decode_errors=source.decode_errors - damaged, dropped=source.skipped - skipped)
            self._change("live", "")
            self._counters.captured(frame.captured, frame.size)
            self._put(source, frame, playback)

    def _judge(self, error: Exception) -> tuple[CameraState, str, float | None]:
        """The state that an exception means, the reason to tell, and the wait if it is a special one."""
        if isinstance(error, EndOfSource):
            return "ended", "the end was reached", None
        if isinstance(error, errors.MissingPartError):
            return "ended", f"{error.got}. {error.hint}", None
        if isinstance(error, errors.PvlrError):
            reason = f"expected {error.expected}, got {error.got}"
        else:
            # Its text may hold the URI, its traceback the credentials: the type has to do.
            reason = f"unexpected {type(error).__name__}"
            _log.error("camera %s: %s", self._camera.name, reason)
        denied = isinstance(error, errors.SourceDeniedError)
        return "ended" if self._is_file else "lost", reason, self._reconnect.denied if denied else None

    def _put(self, source: Source, frame: CapturedFrame, playback: Playback) -> None:
        # A folder of pictures has no pace at which it could be played: all of them are wanted.
        self.waits = not source.live and (self._every_frame or frame.source_time is None)
        if self.waits:
            return self._inboxes.put_every_frame(self._index, frame)
        if not source.live:
            frame = playback.hold(frame, self._inboxes)
        self._counters.add(dropped=self._inboxes.put_frame(self._index, frame))
        return None

    def _change(self, state: CameraState, reason: str) -> None:
        if self._counters.changed(state, reason):
            _log.info("camera %s: %s%s", self._camera.name, state, reason and f": {reason}")
            self._inboxes.put_change(self._index, CameraChange(self._camera.name, state, reason, time.time()))
