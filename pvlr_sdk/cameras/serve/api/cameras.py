"""Routes of cameras: their states, newest frames and attention maps."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from ...site import Site
from ...sources import redacted
from ...stream import Observation
from ..server.problems import ProblemError, responses
from ..server.turns import Turns
from .images import JPEG, attention_map, encode
from .schemas import AttentionMap, CameraModel, CamerasModel
from .tagging import tag_models

CameraName = Annotated[str, Path(description="A camera's name.", examples=["door"])]
LabelName = Annotated[str, Query(description="One of the model's labels.", examples=["person"])]


def make_router(site: Site | None, turns: Turns) -> APIRouter:
    """The routes; without a site there are no cameras."""
    router = APIRouter(prefix="/v1")

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
    @turns.route
    def picture(name: CameraName) -> Response:
        """The newest frame as a JPEG of at most 960 pixels in width."""
        return Response(encode(newest(site, name).frame), media_type="image/jpeg")

    @router.get("/cameras/{name}/attention", tags=["cameras"], responses=responses(404, 422, 503))
    @turns.route
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
