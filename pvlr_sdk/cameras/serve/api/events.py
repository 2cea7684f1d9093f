"""Routes of the latest events and their snapshots."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path as Files
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import BeforeValidator

from ...site import Site
from ..server.problems import ProblemError, responses
from ..server.turns import Turns
from .cameras import camera_of
from .images import JPEG
from .schemas import EventModel, EventsModel

OnlyCamera = Annotated[str | None, Query(description="Only this camera.")]
OnlyLabel = Annotated[str | None, Query(description="Only events of this label.")]

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _check_time(text: object) -> object:
    """Pydantic alone would also accept seconds since the epoch, and a time without an offset."""
    if not isinstance(text, str) or not _RFC3339.fullmatch(text):
        raise ValueError("a time such as 2026-01-31T12:00:00Z")
    return text


Moment = Annotated[datetime, BeforeValidator(_check_time)]


def make_router(site: Site | None, turns: Turns) -> APIRouter:
    """The routes; without a site there are no events."""
    router = APIRouter(prefix="/v1")

    @router.get(
        "/events",
        tags=["cameras"],
        responses=responses(404, 422, 503),
        response_model_exclude_none=True,
    )
    @turns.route
    def events(
        since: Annotated[
            Moment | None,
            Query(description="Only later events; RFC 3339, such as 2026-01-31T12:00:00Z."),
        ] = None,
        limit: Annotated[
            int, Query(ge=1, le=1000, description="Maximum number of events; the newest are kept.")
        ] = 100,
        camera: OnlyCamera = None,
        label: OnlyLabel = None,
    ) -> EventsModel:
        """The latest events, oldest first; the server keeps the last thousand."""
        if camera is not None:
            camera_of(site, camera)
        latest = site.events(since.timestamp() if since else None, 1000) if site else []
        chosen = [
            event
            for event in latest
            if camera in (None, event.camera) and label in (None, event.label)
        ]
        return EventsModel(
            events=[EventModel.model_validate(event.to_dict()) for event in chosen[-limit:]]
        )

    @router.get(
        "/events/{id}/snapshot",
        tags=["cameras"],
        responses=JPEG | responses(404, 503),
        response_class=Response,
    )
    @turns.route
    def snapshot(
        id: Annotated[str, Path(description="The id of one of the latest events.")],
    ) -> Response:
        """The frame that started an event, as a JPEG, if snapshots are enabled."""
        paths = [
            event.snapshot for event in (site.events(limit=1000) if site else []) if event.id == id
        ]
        try:
            return Response(Files(paths[0] or "").read_bytes(), media_type="image/jpeg")
        except (
            IndexError,
            OSError,
        ):  # written in the background, and deleted above the limit of the folder
            raise ProblemError(404, "There is no snapshot of this event.") from None

    return router
