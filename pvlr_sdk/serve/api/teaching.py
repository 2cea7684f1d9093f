"""The routes that teach labels to an open plan: ``/v1/teach`` and ``/v1/bank``."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

from ...watch import Site
from ..server.audit import Audit
from ..server.problems import responses
from .cameras import newest
from .schemas import ExampleChoice, ExamplesModel, TaughtModel, TeachRequest
from .teacher import Teacher
from .uploads import read_json

_MAX_BYTES, _SECONDS = 10_000, 5.0
_BANK: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}
Label = Annotated[str, Query(description="A label, new or not.", examples=["my mug"], min_length=1, max_length=1000)]


def make_router(teacher: Teacher, site: Site | None, audit: Audit) -> APIRouter:
    """The routes below ``/v1``."""
    router = APIRouter(prefix="/v1", tags=["teach"])

    @router.get("/teach/examples", responses=responses(422))
    def examples(label: Label) -> ExamplesModel:
        """The frames that were picked for a label."""
        return teacher.describe(label)

    @router.post("/teach/examples", responses=responses(404, 408, 413, 422, 503), openapi_extra=_body(ExampleChoice))
    async def add(request: Request) -> ExamplesModel:
        """Pick the newest frame of a camera as one that shows a label, or does not."""
        choice = await read_json(request, ExampleChoice, _MAX_BYTES, _SECONDS)

        def recorded() -> ExamplesModel:
            details = choice.model_dump(by_alias=True)
            with audit.recorded("example", request.scope, **details):
                return teacher.add(newest(site, choice.camera), choice.label, choice.shows)

        return await run_in_threadpool(recorded)

    @router.delete("/teach/examples", responses=responses(422))
    def clear(request: Request, label: Label) -> ExamplesModel:
        """Remove the examples of a label; what was taught stays."""
        with audit.recorded("clear examples", request.scope, label=label):
            return teacher.clear(label)

    @router.post("/teach", responses=responses(408, 409, 413, 422, 503), openapi_extra=_body(TeachRequest))
    async def teach(request: Request) -> TaughtModel:
        """Learn a label from its examples, and use it from the next frame on."""
        wanted = await read_json(request, TeachRequest, _MAX_BYTES, _SECONDS)

        def recorded() -> TaughtModel:
            with audit.recorded("teach", request.scope, **wanted.model_dump(exclude_defaults=True)):
                return teacher.teach(wanted.label, replace=wanted.replace)

        return await run_in_threadpool(recorded)

    @router.delete("/teach", responses=responses(409, 422, 503))
    def forget(request: Request, label: Label) -> ExamplesModel:
        """Undo the teaching of a label; its examples stay."""
        with audit.recorded("forget", request.scope, label=label):
            return teacher.forget(label)

    @router.get("/bank", responses={**_BANK, **responses(422)}, response_class=Response)
    def bank() -> Response:
        """The label bank in use, for `pvlr teach --bank`, `pvlr serve --bank` and `Tagger.set_labels`."""
        name = {"Content-Disposition": 'attachment; filename="bank.safetensors"'}
        return Response(teacher.bank(), media_type="application/octet-stream", headers=name)

    return router


def _body(model: type[BaseModel]) -> dict[str, Any]:
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}
