"""What the browsers are sent, collected once for all of them: frames, events, states and a short history."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from ...._util.version import __version__
from ....labels.moving import learned
from ....tagger import Tagger
from ...site import Site
from ...sources import redacted
from ...stream import Observation
from .images import attention_map, encode

INTERVAL = 0.04
"""Seconds between two reads of the site. It is polled, so that no browser can delay a camera."""
_KEPT = 24
"""Frames of a camera that a browser may name, about two seconds: a few kB each."""
_SHOWN = 8
"""Number of labels sent with a frame, by the largest margins."""
_HUNG = 10.0
_HISTORY = 600
"""Seconds of history, so that a new page has its charts immediately."""
_SHAPES: Any = {"region": True, "regions": {"__all__": {"polygon", "exclude"}}}
_HISTORY_COUNTS = ("tagged", "dropped", "late")


class LiveFeed:
    """Polls a site in the server's event loop. Unless stated otherwise, call its methods in that thread only."""

    def __init__(self, tagger: Tagger, site: Site | None, shown: Callable[[str], str]) -> None:
        self._tagger = tagger
        self._shown = shown
        self._site = site
        self.cameras = list(site.config.cameras) if site else []
        """Their names."""
        self._encoded: dict[str, tuple[Observation, asyncio.Future[bytes]]] = {}
        self._workers = ThreadPoolExecutor(1, "pvlr-images")
        self._history = History(self.cameras)
        self._states: dict[str, str] = {}
        self._alive = time.monotonic()
        self.viewers = 0
        self._sent: dict[tuple[object, str], tuple[Observation, ...]] = {}
        self.stopping = False
        self.stats_message: dict[str, Any] = {}
        self.labels_message: dict[str, Any] = {}
        self._shapes: tuple[object, dict[str, Any]] = None, {}

    async def run(self) -> None:
        """Poll the site until :meth:`stop`."""
        while not self.stopping:
            self._poll()
            await asyncio.sleep(INTERVAL)

    def stop(self) -> None:
        """End everything that waits here; safe in any thread."""
        self.stopping = True
        self._workers.shutdown(wait=False, cancel_futures=True)

    def alive(self) -> bool:
        """Whether the event loop has polled the site within ten seconds; safe in any thread."""
        return time.monotonic() - self._alive < _HUNG

    def hello(self) -> dict[str, Any]:
        """The first message to a browser, but for the events."""
        return {
            "kind": "hello",
            "version": __version__,
            "model": str(self._tagger.info["name"]),
            "precision": str(self._tagger.info["precision"]),
            "now": time.time(),
            "cameras": [
                {"name": name, "uri": redacted(camera.uri), **camera.model_dump(include=_SHAPES)}
                for name, camera in (self._site.config.cameras.items() if self._site else ())
            ],
            "history": self._history.to_dict(),
            "snapshots": bool(self._site and self._site.config.events.snapshots),
            "memory": bool(self._site and self._site.config.memory),
        }

    def events_after(self, count: int) -> tuple[int, list[dict[str, Any]]]:
        """See :meth:`Site.events_after`."""
        total, fresh = self._site.events_after(count) if self._site else (0, [])
        return total, [event.to_dict() for event in fresh]

    def newest(self, camera: str) -> Observation | None:
        """The newest observation of a camera; None while it has none."""
        return self._site.latest(camera) if self._site else None

    def sent(self, viewer: object, seen: Observation) -> None:
        """Keep the latest frames that a browser is sent, without their pixels: a click of a person comes later."""
        before = self._sent.get((viewer, seen.camera), ())
        kept = replace(seen, frame=replace(seen.frame, pixels=np.empty(0, np.uint8)))
        self._sent[viewer, seen.camera] = (*before[1 - _KEPT :], kept)

    def left(self, viewer: object) -> None:
        """Forget the frames of a browser."""
        for name in self.cameras:
            self._sent.pop((viewer, name), None)

    def shown(self, camera: str, wall: float) -> Observation | None:
        """The frame of this time that a browser shows, however long it has been paused, or has just shown; without
        pixels. Safe in any thread."""
        frames = (
            seen for (_, name), kept in list(self._sent.items()) if name == camera for seen in kept
        )
        return next((seen for seen in frames if seen.frame.wall == wall), None)

    async def frame_message(
        self, seen: Observation, label: str | None, pinned: str | None
    ) -> bytes:
        """A message with a frame: the length of its JSON header in 4 bytes (big-endian), the header, the JPEG.

        It includes the attention map and the score of ``label``, and the score of ``pinned``. A frame is encoded once
        for all browsers.
        """
        name = seen.camera
        encoding = self._encoded.get(name)
        if encoding is None or encoding[0] is not seen:
            loop = asyncio.get_running_loop()
            encoding = seen, loop.run_in_executor(self._workers, encode, seen.frame)
            self._encoded[name] = encoding
        jpeg = await asyncio.shield(encoding[1])
        header = json.dumps(self._header(seen, label, pinned)).encode()
        return len(header).to_bytes(4, "big") + header + jpeg

    def _header(self, seen: Observation, label: str | None, pinned: str | None) -> dict[str, Any]:
        assert self._site is not None
        levels = self._site.levels(seen.camera)
        shown = sorted(levels, key=lambda name: levels[name][1] - levels[name][0])[:_SHOWN]
        shown += [
            name for name in dict.fromkeys((label, pinned)) if name in levels and name not in shown
        ]
        header = {
            "camera": seen.camera,
            "time": seen.frame.wall,
            "age": round(seen.age, 4),
            "late": seen.late,
            "tags": [[name, *(round(level, 4) for level in levels[name])] for name in shown],
        }
        if label is not None and label in seen.result.labels:  # they may have changed since
            header["map"] = {**attention_map(seen.result, label).model_dump(), "label": label}
        return header

    def _regions(self) -> dict[str, Any]:
        """The shapes of all cameras, which any browser may change: another one must not undo that with its own."""
        if self._site and self._shapes[0] is not self._site.config:
            cameras = self._site.config.cameras.items()
            shapes = {
                name: camera.model_dump(include=_SHAPES)["regions"] for name, camera in cameras
            }
            self._shapes = self._site.config, shapes
        return self._shapes[1]

    def _poll(self) -> None:
        self._alive = time.monotonic()
        labels = self._tagger.labels
        message = {
            "kind": "labels",
            "labels": labels,
            "names": {label: self._shown(label) for label in labels},
            "open": bool(self._tagger.info.get("max_labels")),
        }
        message |= {"taught": learned(self._tagger.label_bank), "regions": self._regions()}
        if message != self.labels_message:
            self.labels_message = message
        if self._site is None:
            return
        for name in self.cameras:
            seen = self._site.latest(name)
            if seen is None:
                self._encoded.pop(name, None)
            else:
                self._history.add(seen)
        states = self._site.cameras
        if states != self._states or self._history.due():
            self._states = states
            cameras = self._site.stats()["cameras"]
            second = self._history.close(time.time(), cameras) if self._history.due() else None
            self.stats_message = {"kind": "stats", "cameras": cameras, "second": second}


class History:
    """For each second ``[median age, maximum age, tagged, dropped, late]``; ages in seconds, None without a result."""

    def __init__(self, cameras: Sequence[str]) -> None:
        self._seconds: deque[tuple[float, dict[str, list[float | None]]]] = deque(maxlen=_HISTORY)
        self._ages: dict[str, list[float]] = {name: [] for name in cameras}
        self._last: dict[str, Observation] = {}
        self._before: Mapping[str, Mapping[str, Any]] = {
            name: dict.fromkeys(_HISTORY_COUNTS, 0) for name in cameras
        }
        self._next = time.monotonic() + 1

    def add(self, seen: Observation) -> None:
        """Add the age of a result of this second; the same result again changes nothing."""
        if seen is not self._last.get(seen.camera):
            self._last[seen.camera] = seen
            self._ages[seen.camera].append(seen.age)

    def due(self) -> bool:
        """Whether the second is over."""
        return time.monotonic() >= self._next

    def close(self, wall: float, stats: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """End the second; ``stats`` are the cameras' statistics since the start."""
        # Not always one second after the last: a process that was stopped for long would add empty ones to catch up.
        self._next = max(self._next + 1, time.monotonic() + 0.5)
        rows: dict[str, list[float | None]] = {}
        for name, ages in self._ages.items():
            new = [stats[name][count] - self._before[name][count] for count in _HISTORY_COUNTS]
            middle = (
                [round(statistics.median(ages), 4), round(max(ages), 4)] if ages else [None, None]
            )
            rows[name] = [*middle, *new]
            ages.clear()
        self._before = stats
        self._seconds.append((wall, rows))
        return {"time": wall, "cameras": rows}

    def to_dict(self) -> dict[str, Any]:
        """``{"times": [...], "cameras": {name: [row, ...]}}``, oldest first."""
        return {
            "times": [wall for wall, _ in self._seconds],
            "cameras": {name: [rows[name] for _, rows in self._seconds] for name in self._ages},
        }
