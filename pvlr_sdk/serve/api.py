"""The REST API, version 1."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BeforeValidator

from ..site import Site
from ..sources import redacted
from ..stream import Observation
from ..tagger import Tagger
from .attention import attention_map
from .models import AttentionMap, CameraModel, CamerasModel, EventModel, EventsModel, LabelModel, LabelsModel, TagsModel
from .pictures import encode
from .problems import ProblemError, responses
from .tagging import PhotoTagger, tag_models
from .uploads import MEDIA_TYPES

CameraName = Annotated[str, Path(description="A camera's name.", examples=["door"])]
LabelName = Annotated[str, Query(description="One of the model's labels.", examples=["person"])]

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _not_a_number(text: object) -> object:
    """Pydantic would take any number for seconds since the epoch, and a time without an offset for one of anywhere."""
    if not isinstance(text, str) or not _RFC3339.fullmatch(text):
        raise ValueError("a time such as 2026-01-31T12:00:00Z")
    return text


Moment = Annotated[datetime, BeforeValidator(_not_a_number)]

_PICTURE = {"schema": {"type": "string", "format": "binary"}}
_UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The picture itself, not a form: `curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg'`.",
        "content": dict.fromkeys((*MEDIA_TYPES, "application/octet-stream"), _PICTURE),
    }
}


def make_router(tagger: Tagger, site: Site | None, photos: PhotoTagger) -> APIRouter:
    """The routes below ``/v1``; without a site there are no cameras and no events."""
    router = APIRouter(prefix="/v1")

    def camera_of(name: str) -> Site:
        if site is None or name not in site.config.cameras:
            raise ProblemError(404, "There is no such camera; /v1/cameras lists them.")
        return site

    def newest(name: str) -> Observation:
        seen = camera_of(name).latest(name)
        if seen is None:
            raise ProblemError(503, "The camera gives no picture now.", Retry_After="1")
        return seen

    @router.post("/tag", tags=["photos"], responses=responses(408, 413, 415, 422, 503), openapi_extra=_UPLOAD)
    async def tag(
        request: Request,
        threshold: Annotated[
            float | None, Query(ge=0, le=1, description="For all labels; by default each has its own.")
        ] = None,
        top_k: Annotated[int | None, Query(ge=1, le=10_000, description="At most so many tags.")] = None,
        attention: Annotated[bool, Query(description="Also say where the model looked for each tag.")] = False,
    ) -> TagsModel:
        """Tag a photo: a JPEG, PNG or WebP picture as the body."""
        return await photos.tag(request, threshold, top_k, attention)

    @router.get("/labels", tags=["photos"], responses=responses())
    async def labels() -> LabelsModel:
        """What the model knows, and from which score on each label is a tag."""
        pairs = zip(tagger.labels, tagger.thresholds.tolist(), strict=True)
        return LabelsModel(
            model=str(tagger.info["name"]),
            labels=[LabelModel(label=label, threshold=threshold) for label, threshold in pairs],
        )

    @router.get("/events", tags=["cameras"], responses=responses(404, 422), response_model_exclude_none=True)
    async def events(
        since: Annotated[
            Moment | None, Query(description="Only later ones; RFC 3339, as 2026-01-31T12:00:00Z.")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=1000, description="The newest so many.")] = 100,
        camera: Annotated[str | None, Query(description="Only of this camera.")] = None,
        label: Annotated[str | None, Query(description="Only of this label.")] = None,
    ) -> EventsModel:
        """What came and went, oldest first; the server remembers the last thousand notices."""
        if camera is not None:
            camera_of(camera)
        found = site.events(since.timestamp() if since else None, 1000) if site else []
        chosen = [event for event in found if camera in (None, event.camera) and label in (None, event.label)]
        return EventsModel(events=[EventModel.model_validate(event.to_dict()) for event in chosen[-limit:]])

    @router.get("/cameras", tags=["cameras"], responses=responses())
    async def cameras() -> CamerasModel:
        """All cameras, with their states and figures."""
        return CamerasModel(cameras=[_camera(site, name) for name in site.config.cameras] if site else [])

    @router.get("/cameras/{name}", tags=["cameras"], responses=responses(404))
    async def camera(name: CameraName) -> CameraModel:
        """One camera."""
        return _camera(camera_of(name), name)

    @router.get(
        "/cameras/{name}/picture",
        tags=["cameras"],
        responses={200: {"content": {"image/jpeg": _PICTURE}}, **responses(404, 503)},
        response_class=Response,
    )
    def picture(name: CameraName) -> Response:
        """The newest picture, a JPEG of at most 960 pixels in width."""
        return Response(encode(newest(name).frame), media_type="image/jpeg")

    @router.get("/cameras/{name}/attention", tags=["cameras"], responses=responses(404, 422, 503))
    def attention(name: CameraName, label: LabelName) -> AttentionMap:
        """Where the model looked for a label in the newest picture (in the camera's region, if it has one)."""
        return attention_map(newest(name).result, label)

    return router


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
