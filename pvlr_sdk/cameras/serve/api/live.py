"""The WebSocket of the page. A browser gets a frame only after it has shown the one before: nothing queues up for a
slow browser, and it affects neither a camera nor another browser."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, Literal

from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from ...._util.plain_json import Limits, read_json
from ...stream import Observation
from ..server.access import AccessControl
from .live_feed import INTERVAL, LiveFeed
from .schemas import RequestModel

_MAX_VIEWERS = 32
_INTERVAL = 0.08
"""Minimum seconds between two frames of a camera: twelve per second look fluent."""
_REQUEST = Limits(size=4096, values=100, depth=2)
_POLICY_VIOLATION = 1008
_TRY_AGAIN_LATER = 1013
_GOING_AWAY = 1001


class ViewerRequest(RequestModel):
    """A message from a browser: it has ``shown`` a frame of a camera, it requests the attention ``map`` of a label with
    the frames of a camera (None: no map), or its score alone (``pin``; None: none), or it pauses."""

    kind: Literal["shown", "map", "pin", "pause"]
    camera: str = ""
    label: str | None = None
    on: bool = False


class Viewer:
    """The connection to one browser. It ends when ``allowed()`` is false, as after its token was removed."""

    def __init__(self, feed: LiveFeed, socket: WebSocket, allowed: Callable[[], bool]) -> None:
        self._feed = feed
        self._socket = socket
        self._allowed = allowed
        self._paused = False
        self._views = {name: _CameraView() for name in feed.cameras}

    async def run(self) -> None:
        """Send and receive until either side ends."""
        tasks = {asyncio.create_task(self._send()), asyncio.create_task(self._receive())}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._feed.left(self)
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception) and not isinstance(
                result, (WebSocketDisconnect, RuntimeError)
            ):
                raise result

    async def _send(self) -> None:
        feed = self._feed
        stats: dict[str, Any] = {}
        labels: dict[str, Any] = {}
        count, events = feed.events_after(0)
        await self._send_json({**feed.hello(), "events": events})
        while not feed.stopping:
            count, fresh = feed.events_after(count)
            if fresh:
                await self._send_json({"kind": "events", "events": fresh})
            if stats != feed.stats_message:  # once per second
                if not self._allowed():
                    await self._socket.close(_POLICY_VIOLATION, "signed out")
                    return
                stats = feed.stats_message
                await self._send_json(stats)
            if labels != feed.labels_message:
                labels = feed.labels_message
                await self._send_json(labels)
            for name, view in self._views.items():
                seen = feed.newest(name)
                if seen is not None and view.wants(seen, self._paused):
                    view.sent(seen)
                    feed.sent(self, seen)
                    await self._socket.send_bytes(
                        await feed.frame_message(seen, view.label, view.pinned)
                    )
            await asyncio.sleep(INTERVAL)
        await self._socket.close(_GOING_AWAY)

    async def _send_json(self, message: dict[str, Any]) -> None:
        # ASCII: lone surrogates in names have no UTF-8
        await self._socket.send_text(json.dumps(message))

    async def _receive(self) -> None:
        while (message := await self._socket.receive())["type"] != "websocket.disconnect":
            try:
                request = ViewerRequest.model_validate(
                    read_json(message.get("text") or "", _REQUEST, printable=False)
                )
            except ValueError:  # pydantic's is one too
                await self._socket.close(_POLICY_VIOLATION, "invalid message")
                return
            if request.kind == "pause":
                self._paused = request.on
            elif request.kind == "pin" and request.camera in self._views:
                self._views[request.camera].pinned = request.label  # which may be yet to come
            elif request.camera not in self._views or request.label not in (
                None,
                *self._feed.labels_message["labels"],
            ):
                await self._socket.close(_POLICY_VIOLATION, "unknown camera or label")
                return
            elif request.kind == "map":
                self._views[request.camera].request_map(request.label)
            else:
                self._views[request.camera].waiting = False


class _CameraView:
    """A camera in a browser: its last frame, whether the browser has yet to show it, and the requested map."""

    def __init__(self) -> None:
        self.waiting = False
        self.label: str | None = None
        self.pinned: str | None = None
        self._again = False
        self._last: Observation | None = None
        self._not_before = 0.0

    def wants(self, seen: Observation, paused: bool) -> bool:
        if self.waiting:
            return False
        return self._again or (
            not paused and seen is not self._last and time.monotonic() >= self._not_before
        )

    def sent(self, seen: Observation) -> None:
        self.waiting = True
        self._again = False
        self._last = seen
        self._not_before = time.monotonic() + _INTERVAL

    def request_map(self, label: str | None) -> None:
        self._again |= label != self.label
        self.label = label


def make_router(feed: LiveFeed, access: AccessControl) -> APIRouter:
    """The route ``/v1/live``."""
    router = APIRouter()

    @router.websocket("/v1/live")
    async def live(socket: WebSocket) -> None:
        await socket.accept()
        if feed.viewers >= _MAX_VIEWERS:
            await socket.close(_TRY_AGAIN_LATER, "too many browsers")
            return
        feed.viewers += 1
        try:
            await Viewer(feed, socket, lambda: access.judge(socket.scope) is None).run()
        finally:
            feed.viewers -= 1

    return router
