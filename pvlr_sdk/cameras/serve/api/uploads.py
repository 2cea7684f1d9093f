"""Routes that tag an image of a client, and list the labels."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from ...control.control import Control
from ..server.bodies import FORM, MEDIA_TYPES, BodyRoute
from ..server.problems import responses
from .images import BINARY
from .schemas import LabelModel, LabelsModel, TagsModel
from .tagging import UploadTagger

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


def make_router(control: Control, uploads: UploadTagger) -> APIRouter:
    """The routes."""
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

    return router
