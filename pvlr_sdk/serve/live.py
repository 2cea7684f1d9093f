"""The WebSocket of the page. A browser gets a picture when it has shown the one before: however slow it is, nothing
queues up for it, and no camera and no other browser notices."""

from __future__ import annotations

import asyncio
import time
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from ..stream import Observation
from .hub import Hub

_MOST_VIEWERS = 32
_INTERVAL = 0.08
"""The least seconds between two pictures of a camera: twelve a second look like motion."""
_WRONG, _LATER, _LEAVING = 1008, 1013, 1001


class Wish(BaseModel):
    """What a browser says: that it has shown a picture (``shown`` is the camera), that it wants a label's attention
    map with the pictures of a camera (``map``; None as its label: no more), or that it pauses."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["shown", "map", "pause"]
    camera: str = ""
    label: str | None = None
    on: bool = False


class Viewer:
    """One browser."""

    def __init__(self, hub: Hub, socket: WebSocket, cameras: list[str], labels: frozenset[str]) -> None:
        self._hub = hub
        self._socket = socket
        self._labels = labels
        self._paused = False
        self._shows = {name: _Shown() for name in cameras}

    async def run(self) -> None:
        """Talk until either side has enough."""
        talking = asyncio.create_task(self._talk())
        listening = asyncio.create_task(self._listen())
        try:
            await asyncio.wait({talking, listening}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (talking, listening):
                task.cancel()
            results = await asyncio.gather(talking, listening, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, (WebSocketDisconnect, RuntimeError)):
                raise result

    async def _talk(self) -> None:
        hub, tick, figured = self._hub, 0, 0
        count = hub.noticed
        await self._socket.send_json(hub.hello())
        while not hub.stopping:
            count, fresh = hub.notices_after(count)
            if fresh:
                await self._socket.send_json({"kind": "notices", "notices": fresh})
            if figured != hub.figured:
                figured = hub.figured
                await self._socket.send_json(hub.figures)
            for name, shown in self._shows.items():
                seen = hub.newest(name)
                if seen is not None and shown.wants(seen, self._paused):
                    shown.sent(seen)
                    await self._socket.send_bytes(await hub.picture(seen, shown.label))
            tick = await hub.tick(tick)
        await self._socket.close(_LEAVING)

    async def _listen(self) -> None:
        while (message := await self._socket.receive())["type"] != "websocket.disconnect":
            try:
                wish = Wish.model_validate_json(message.get("text") or "")
            except ValidationError:
                await self._socket.close(_WRONG, "not a message of this protocol")
                return
            if wish.kind == "pause":
                self._paused = wish.on
            elif wish.camera not in self._shows or wish.label not in self._labels | {None}:
                await self._socket.close(_WRONG, "no such camera or label")
                return
            elif wish.kind == "map":
                self._shows[wish.camera].look_for(wish.label)
            else:
                self._shows[wish.camera].waiting = False


class _Shown:
    """What a browser has of a camera: its last picture, whether it still works on that one, and the map it wants."""

    def __init__(self) -> None:
        self.waiting = False
        self.label: str | None = None
        self._again = False
        self._last: Observation | None = None
        self._not_before = 0.0

    def wants(self, seen: Observation, paused: bool) -> bool:
        if self.waiting:
            return False
        return self._again or (not paused and seen is not self._last and time.monotonic() >= self._not_before)

    def sent(self, seen: Observation) -> None:
        self.waiting, self._again, self._last = True, False, seen
        self._not_before = time.monotonic() + _INTERVAL

    def look_for(self, label: str | None) -> None:
        self._again |= label != self.label
        self.label = label


def make_router(hub: Hub, cameras: list[str], labels: list[str]) -> APIRouter:
    """The route ``/v1/live``."""
    router = APIRouter()
    known = frozenset(labels)

    @router.websocket("/v1/live")
    async def live(socket: WebSocket) -> None:
        await socket.accept()
        if hub.viewers >= _MOST_VIEWERS:
            await socket.close(_LATER, "too many browsers")
            return
        hub.viewers += 1
        try:
            await Viewer(hub, socket, cameras, known).run()
        finally:
            hub.viewers -= 1

    return router
