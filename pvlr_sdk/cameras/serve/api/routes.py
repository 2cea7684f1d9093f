"""The REST API, version 1."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path as Files
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BeforeValidator

from ...control.control import Control
from ...site import Site
from ...sources import redacted
from ...stream import Observation
from ..server.audit import Audit
from ..server.bodies import FORM, MEDIA_TYPES, BodyRoute, json_of
from ..server.problems import ProblemError, responses
from .images import BINARY, JPEG, attention_map, encode
from .schemas import (
    AttentionMap,
    CameraModel,
    CamerasModel,
    EventModel,
    EventsModel,
    LabelModel,
    LabelsModel,
    RegionsChange,
    SettingModel,
    SettingsChange,
    SettingsModel,
    TagsModel,
)
from .tagging import UploadTagger, tag_models

CameraName = Annotated[str, Path(description="A camera's name.", examples=["door"])]
OnlyCamera = Annotated[str | None, Query(description="Only this camera.")]
OnlyLabel = Annotated[str | None, Query(description="Only events of this label.")]
LabelName = Annotated[str, Query(description="One of the model's labels.", examples=["person"])]

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _check_time(text: object) -> object:
    """Pydantic alone would also accept seconds since the epoch, and a time without an offset."""
    if not isinstance(text, str) or not _RFC3339.fullmatch(text):
        raise ValueError("a time such as 2026-01-31T12:00:00Z")
    return text


Moment = Annotated[datetime, BeforeValidator(_check_time)]

_MAX_SETTINGS = 1_000_000
_UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The image: `curl --data-binary @photo.jpg`, or a form: `curl -F file=@photo.jpg`.",
        "content": {
            **dict.fromkeys((*MEDIA_TYPES, "application/octet-stream"), BINARY),
            FORM: {
                "schema": {
                    "type": "object",
                    "properties": {"file": BINARY["schema"]},
                    "required": ["file"],
                }
            },
        },
    }
}


def make_router(control: Control, uploads: UploadTagger, audit: Audit) -> APIRouter:
    """The routes below ``/v1``; without a site there are no cameras and no events."""
    site = control.site
    router = APIRouter(prefix="/v1", route_class=BodyRoute)

    @router.post(
        "/tag", tags=["images"], responses=responses(408, 413, 415, 422, 503), openapi_extra=_UPLOAD
    )
    async def tag(
        request: Request,
        threshold: Annotated[
            float | None,
            Query(
                ge=0, le=1, description="One threshold for all labels; by default each has its own."
            ),
        ] = None,
        top_k: Annotated[
            int | None, Query(ge=1, le=10_000, description="Maximum number of tags.")
        ] = None,
        attention: Annotated[
            bool, Query(description="Include an attention map for each tag.")
        ] = False,
    ) -> TagsModel:
        """Tag an image: a JPEG, PNG or WebP file as the body or in a form."""
        return await uploads.tag(request, threshold, top_k, attention)

    @router.get("/labels", tags=["images"], responses=responses())
    async def labels() -> LabelsModel:
        """The model's labels and the score at or above which each label is a tag."""
        thresholds = control.thresholds
        rows = ((label, thresholds.at(label)) for label in thresholds.plan)
        return LabelsModel(
            model=str(control.tagger.info["name"]),
            labels=[
                LabelModel(label=label, threshold=threshold.value, source=threshold.origin)
                for label, threshold in rows
            ],
        )

    @router.get("/settings", tags=["settings"], responses=responses())
    async def settings() -> SettingsModel:
        """The thresholds, and the labels whose events are reported."""
        return settings_of(control)

    @router.put("/settings", tags=["settings"], responses=responses(408, 409, 413, 422, 503))
    def change_settings(
        request: Request, change: Annotated[SettingsChange, json_of(SettingsChange, _MAX_SETTINGS)]
    ) -> SettingsModel:
        """Change thresholds and reported labels, for events and uploads; kept in the state folder, if there is one."""
        with audit.recorded("settings", request.scope, **change.model_dump(exclude_defaults=True)):
            control.configure(change.thresholds, change.labels)
        return settings_of(control)

    @router.get(
        "/events", tags=["cameras"], responses=responses(404, 422), response_model_exclude_none=True
    )
    async def events(
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
        responses=JPEG | responses(404),
        response_class=Response,
    )
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

    @router.get("/cameras", tags=["cameras"], responses=responses())
    async def cameras() -> CamerasModel:
        """All cameras, with their states and statistics."""
        return CamerasModel(
            cameras=[_camera(site, name) for name in site.config.cameras] if site else []
        )

    @router.get("/cameras/{name}", tags=["cameras"], responses=responses(404))
    async def camera(name: CameraName) -> CameraModel:
        """One camera."""
        return _camera(camera_of(site, name), name)

    @router.get(
        "/cameras/{name}/picture",
        tags=["cameras"],
        responses=JPEG | responses(404, 503),
        response_class=Response,
    )
    def picture(name: CameraName) -> Response:
        """The newest frame as a JPEG of at most 960 pixels in width."""
        return Response(encode(newest(site, name).frame), media_type="image/jpeg")

    @router.put(
        "/cameras/{name}/regions",
        tags=["settings"],
        responses=responses(404, 408, 409, 413, 422, 503),
    )
    def change_regions(
        request: Request,
        name: CameraName,
        change: Annotated[RegionsChange, json_of(RegionsChange, _MAX_SETTINGS)],
    ) -> SettingsModel:
        """Change the regions of a camera, from its next frame on; kept in the state folder, if there is one."""
        camera_of(site, name)
        with audit.recorded("regions", request.scope, camera=name, regions=list(change.regions)):
            control.set_regions(
                name, {key: region.model_dump() for key, region in change.regions.items()}
            )
        return settings_of(control)

    @router.get("/cameras/{name}/attention", tags=["cameras"], responses=responses(404, 422, 503))
    def attention(name: CameraName, label: LabelName) -> AttentionMap:
        """The attention map of a label for the newest frame (for the camera's region, if it has one)."""
        return attention_map(newest(site, name).result, label)

    return router


def camera_of(site: Site | None, name: str) -> Site:
    """The site, if it has this camera. Raises ProblemError."""
    if site is None or name not in site.config.cameras:
        raise ProblemError(404, "Unknown camera. /v1/cameras lists all cameras.")
    return site


def newest(site: Site | None, name: str) -> Observation:
    """The newest result of a camera with its frame. Raises ProblemError: no such camera, or it has none."""
    seen = camera_of(site, name).latest(name)
    if seen is None:
        raise ProblemError(503, "The camera has no current frame.", Retry_After="1")
    return seen


def settings_of(control: Control) -> SettingsModel:
    """The thresholds, and the labels whose events are reported, for a response."""
    events = control.events
    thresholds = control.thresholds
    reported = set(thresholds.plan if events.labels is None else events.labels) - set(events.deny)
    cameras = control.site.config.cameras if control.site else {}
    rows = ((label, value, thresholds.at(label)) for label, value in thresholds.plan.items())
    return SettingsModel(
        labels=[
            SettingModel(
                label=label,
                threshold=threshold.value,
                source=threshold.origin,
                plan_threshold=round(plan, 6),
                reported=label in reported,
            )
            for label, plan, threshold in rows
        ],
        state_file=str(control.state.path) if control.state else None,
        own_labels=[
            name for name, camera in cameras.items() if (camera.labels, camera.deny) != (None, None)
        ],
    )


def _camera(site: Site, name: str) -> CameraModel:
    stats: dict[str, Any] = site.stats()["cameras"][name]
    height, width = stats.pop("size") or (None, None)
    seen = site.latest(name)
    return CameraModel(
        name=name,
        uri=redacted(site.config.cameras[name].uri),
        width=width,
        height=height,
        tags=tag_models(seen.result) if seen else [],
        **stats,
    )
