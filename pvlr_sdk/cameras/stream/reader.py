"""A camera's thread: opens its source, reads it, and reconnects until it is back."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from contextlib import ExitStack

from ... import errors
from ..sources import CapturedFrame, EndOfSource, Source, open_source, parse_uri
from ..sources.uri import PathUri
from .camera import Camera, CameraChange, CameraState
from .inboxes import Inboxes
from .pace import Playback
from .stats import Counters

_log = logging.getLogger(__name__)

_OPTIONS = ("transport", "timeout", "loop", "ca", "insecure", "max_pixels")
"""Of a camera, for ``open_source``."""

_GRACE = 0.5
"""Seconds beyond its timeout in which a source may report a loss itself, with the reason."""

_STEADY = 10.0
"""Seconds of frames after which the backoff is reset; a camera that is lost again sooner waits longer each time."""

_FIRST_PAUSE = 0.25
_DENIED_PAUSE = 30.0
"""Seconds between attempts after rejected credentials; many cameras lock accounts."""


class Reader:
    """Fills one camera's inbox until the inboxes are closed or the source has ended.

    Args:
        index: the camera's place in ``inboxes``.
        longest_pause: maximum seconds between two attempts to reconnect.
        every_frame: skip no frame of a file; otherwise a file plays at its own rate, like a camera.

    Attributes:
        camera: the camera; another one with the same source may replace it.
        waits: whether its source waits until each frame is taken, so that no frame is ever late.
    """

    def __init__(
        self,
        index: int,
        camera: Camera,
        inboxes: Inboxes,
        counters: Counters,
        longest_pause: float,
        every_frame: bool,
    ) -> None:
        self._index = index
        self.camera = camera
        self._inboxes = inboxes
        self._counters = counters
        self._longest_pause = longest_pause
        self._every_frame = every_frame
        self._is_file = isinstance(parse_uri(camera.uri), PathUri)
        self.waits = False
        self._source: Source | None = None
        self._lock = threading.RLock()
        self._since = math.inf
        self._thread = threading.Thread(
            target=self._run, name=f"pvlr-camera-{camera.name}", daemon=True
        )

    def start(self) -> None:
        self._since = math.inf if self._is_file else time.monotonic()
        self._thread.start()

    def check(self, now: float) -> None:
        """Report the camera as lost if it has had no frame for its timeout, whatever its source is waiting for."""
        timeout = self.camera.timeout
        with self._lock:
            if now - self._since > timeout + _GRACE:
                self._change("lost", f"no frame for {timeout:g} s")

    def close(self) -> None:
        """Close the source, after the inboxes were closed: the thread ends soon.

        Inside a library call that cannot be interrupted it ends after the camera's timeout at the latest.
        """
        source = self._source
        if source is not None:
            source.close()

    def join(self, timeout: float) -> None:
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
                # Reported before the source is closed: closing the connection to a dead camera may take its timeout.
                if not self._inboxes.closed:
                    self._change(state, reason)
            if state == "ended":
                return
            attempt = 0 if time.monotonic() - began > _STEADY + self.camera.timeout else attempt
            if self._inboxes.sleep(
                pause_before(attempt, self._longest_pause) if wait is None else wait
            ):
                return
            attempt += 1
            self._counters.add(reconnects=1)

    def _watch(self, opened: ExitStack) -> None:
        """Open the source and read it until an exception, or until the inboxes are closed."""
        camera = self.camera
        options = {name: getattr(camera, name) for name in _OPTIONS}
        source = open_source(camera.uri, **options)
        opened.callback(source.close)
        self._source = source
        playback = Playback()
        while not self._inboxes.closed:
            damaged = source.decode_errors
            skipped = source.skipped
            try:
                frame = source.read()
            finally:
                self._counters.add(
                    decode_errors=source.decode_errors - damaged, dropped=source.skipped - skipped
                )
            self._put(source, frame, playback)

    def _judge(self, error: Exception) -> tuple[CameraState, str, float | None]:
        """The state and the reason to report for an exception, and the delay if it is not that of the backoff."""
        if isinstance(error, EndOfSource):
            return "ended", "the end was reached", None
        if isinstance(error, errors.MissingPartError):
            return "ended", f"{error.got}. {error.hint}", None
        if isinstance(error, errors.PvlrError):
            reason = f"expected {error.expected}, got {error.got}"
        else:
            # Only the type: the text may contain the URI, the traceback the credentials.
            reason = f"unexpected {type(error).__name__}"
            _log.error("camera %s: %s", self.camera.name, reason)
        denied = isinstance(error, errors.SourceDeniedError)
        return "ended" if self._is_file else "lost", reason, _DENIED_PAUSE if denied else None

    def _put(self, source: Source, frame: CapturedFrame, playback: Playback) -> None:
        # A folder of images has no rate at which it could be played: each of them is tagged.
        self.waits = not source.live and (self._every_frame or frame.source_time is None)
        if not source.live and not self.waits:
            frame = playback.hold(frame, self._inboxes)
        off = "outside its hours" if self.camera.enabled else "switched off"
        on = self.camera.enabled and any(part.on(frame.wall) for part in self.camera.parts)
        since = frame.captured if source.live else math.inf
        self._change("live" if on else "paused", "" if on else off, since)
        self._counters.captured(frame.captured, frame.size)
        if not on:
            return None
        if self.waits:
            return self._inboxes.put_every_frame(self._index, frame)
        self._counters.add(dropped=self._inboxes.put_frame(self._index, frame))
        return None

    def _change(self, state: CameraState, reason: str, since: float = math.inf) -> None:
        """Set the state, and since when (``time.monotonic()``) the next frame of a live camera is awaited."""
        with self._lock:
            self._since = since
            if self._counters.changed(state, reason):
                _log.info("camera %s: %s%s", self.camera.name, state, reason and f": {reason}")
                self._inboxes.put_change(
                    self._index, CameraChange(self.camera.name, state, reason, time.time())
                )


def pause_before(attempt: int, longest: float) -> float:
    """Seconds to wait before attempt 0, 1, 2, ...: exponential backoff, with jitter for many cameras at one switch."""
    # 2 ** 60 is beyond any pause; without the bound a camera that is away for weeks overflows the power.
    return min(_FIRST_PAUSE * 2.0 ** min(attempt, 60), longest) * random.uniform(0.5, 1.0)
