"""What the browsers are told, gathered once for all of them: newest pictures, notices, states, and a short history."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from typing import Any

import numpy as np

from .. import __version__
from ..events import Event
from ..site import Site
from ..sources import redacted
from ..stream import Observation
from ..tagger import Tagger
from .attention import weights
from .history import History
from .pictures import encode

_PAUSE = 0.04
"""Seconds between two looks at the site. It is never called back, so that no browser can hold a camera up."""
_NOTICES = 1000
_SHOWN = 8
"""Labels that a picture comes with: those with the largest margins."""
_HUNG = 10.0


class Hub:
    """Looks at a site from the server's event loop. Only its thread may call the methods, but for those that say so.

    Args:
        tagger: whose labels the numbers in the messages mean.
        site: None: there are no cameras.
    """

    def __init__(self, tagger: Tagger, site: Site | None) -> None:
        self._tagger = tagger
        self._site = site
        self._names = list(site.config.cameras) if site else []
        self._index = {label: position for position, label in enumerate(tagger.labels)}
        # For each camera the labels that it can report, as positions, and their thresholds.
        self._watched = {name: _columns(site, name, self._index) for name in self._names} if site else {}
        self._newest: dict[str, Observation] = {}
        self._encoded: dict[str, tuple[Observation, asyncio.Future[bytes]]] = {}
        self._workers = ThreadPoolExecutor(1, "pvlr-pictures")
        self._notices: deque[dict[str, Any]] = deque(maxlen=_NOTICES)
        self._history = History(self._names)
        self._states: dict[str, str] = {}
        self._changed = asyncio.Condition()
        self._alive = time.monotonic()
        self._unsubscribe: Callable[[], None] | None = None
        self.viewers = 0
        self.stopping = False
        self.figures: dict[str, Any] = {}
        self.ticks = self.figured = self.noticed = 0

    async def run(self) -> None:
        """Look at the site until :meth:`stop`; to be started before the site runs, so that no notice is missed."""
        loop = asyncio.get_running_loop()

        def note(event: Event) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._note, event)

        self._unsubscribe = self._site.subscribe(note) if self._site else None
        while not self.stopping:
            self._look()
            await self._tell()
            await asyncio.sleep(_PAUSE)
        await self._tell()

    def stop(self) -> None:
        """Let everything that waits here end. Any thread may call it."""
        self.stopping = True
        if self._unsubscribe:
            self._unsubscribe()
        self._workers.shutdown(wait=False, cancel_futures=True)

    def alive(self) -> bool:
        """Whether the event loop has looked here within ten seconds. Any thread may ask."""
        return time.monotonic() - self._alive < _HUNG

    async def tick(self, last: int) -> int:
        """Wait for a look later than the one with this number, and give its number."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.ticks > last)
            return self.ticks

    def hello(self) -> dict[str, Any]:
        """What a browser needs to begin."""
        return {
            "kind": "hello",
            "version": __version__,
            "model": str(self._tagger.info["name"]),
            "precision": str(self._tagger.info["precision"]),
            "now": time.time(),
            "labels": self._tagger.labels,
            "cameras": [self._introduce(name) for name in self._names],
            "history": self._history.to_dict(),
            "notices": list(self._notices),
        }

    def notices_after(self, count: int) -> tuple[int, list[dict[str, Any]]]:
        """How many notices there were in all, and those after the first ``count`` (the last thousand at most)."""
        fresh = min(self.noticed - count, len(self._notices))
        return self.noticed, list(islice(self._notices, len(self._notices) - fresh, None))

    def newest(self, camera: str) -> Observation | None:
        """The newest result of a camera; None while it has none."""
        return self._newest.get(camera)

    async def picture(self, seen: Observation, label: str | None) -> bytes:
        """A message with a picture: the length of its JSON header in 4 bytes (big-endian), the header, the JPEG.

        ``label`` is the one whose attention map comes along. A picture is encoded once, however many watch it.
        """
        name = seen.camera
        known = self._encoded.get(name)
        if known is None or known[0] is not seen:
            loop = asyncio.get_running_loop()
            known = seen, loop.run_in_executor(self._workers, encode, seen.frame)
            self._encoded[name] = known
        jpeg = await asyncio.shield(known[1])
        header = json.dumps(self._header(seen, label)).encode()
        return len(header).to_bytes(4, "big") + header + jpeg

    async def _tell(self) -> None:
        async with self._changed:
            self.ticks += 1
            self._changed.notify_all()

    def _header(self, seen: Observation, label: str | None) -> dict[str, Any]:
        columns, thresholds = self._watched[seen.camera]
        scores = seen.result.scores[columns]
        best = np.argsort(thresholds - scores, kind="stable")[:_SHOWN]
        if label in self._index and self._index[label] not in columns[best]:
            best = np.append(best, np.flatnonzero(columns == self._index[label]))
        rows = zip(columns[best].tolist(), scores[best].tolist(), thresholds[best].tolist(), strict=True)
        header = {
            "camera": seen.camera,
            "time": seen.frame.wall,
            "age": round(seen.age, 4),
            "late": seen.late,
            "tags": [[column, round(score, 4), round(threshold, 4)] for column, score, threshold in rows],
        }
        if label is not None:
            heat = weights(seen.result, label)
            cells = base64.b64encode((255 * heat).round().astype(np.uint8).tobytes()).decode()
            header["map"] = {"label": label, "rows": heat.shape[0], "columns": heat.shape[1], "cells": cells}
        return header

    def _introduce(self, name: str) -> dict[str, Any]:
        assert self._site is not None
        camera = self._site.config.cameras[name]
        return {"name": name, "uri": redacted(camera.uri), "region": camera.region}

    def _note(self, event: Event) -> None:
        self._notices.append(event.to_dict())
        self.noticed += 1

    def _look(self) -> None:
        self._alive = time.monotonic()
        if self._site is None:
            return
        for name in self._names:
            seen = self._site.latest(name)
            if seen is None:
                self._newest.pop(name, None)
                self._encoded.pop(name, None)
            elif seen is not self._newest.get(name):
                self._newest[name] = seen
                self._history.add_age(name, seen.age)
        states = self._site.cameras
        if states != self._states or self._history.due():
            self._states = states
            cameras = self._site.stats()["cameras"]
            second = self._history.close(time.time(), cameras) if self._history.due() else None
            self.figures = {"kind": "figures", "cameras": cameras, "second": second}
            self.figured += 1


def _columns(site: Site, camera: str, index: dict[str, int]) -> tuple[Any, Any]:
    watched = site.watched(camera)
    columns = np.array([index[label] for label in watched], np.intp)
    return columns, np.array(list(watched.values()), np.float64)
