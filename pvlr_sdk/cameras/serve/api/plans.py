"""The routes that change the plan: ``/v1/plan``, ``/v1/reload`` and ``/v1/rollback``."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Request, Response

from ....errors import OptionError
from ....models.catalogue import is_model
from ...control.deployment import Deployment
from ..server.audit import Audit
from ..server.bodies import BodyRoute, json_of
from ..server.problems import responses
from ..server.turns import Turns, client_of
from .schemas import PlanChange, PlanModel

_PATIENCE = 40.0
"""Seconds until a request is answered although the plan is still loading: clients give up after a minute."""
_LATER: dict[int | str, dict[str, Any]] = {
    202: {"description": "The plan is still loading; ask for /v1/plan.", "model": PlanModel}
}


def make_router(deployment: Deployment, audit: Audit, turns: Turns) -> APIRouter:
    """The routes below ``/v1``."""
    router = APIRouter(prefix="/v1", tags=["plan"], route_class=BodyRoute)

    def describe() -> PlanModel:
        return PlanModel.model_validate(deployment.status, from_attributes=True)

    async def change(
        request: Request, response: Response, action: str, call: Callable[[], Any], **details: Any
    ) -> Any:
        def recorded() -> None:
            with audit.recorded(action, request.scope, **details):
                call()

        with anyio.move_on_after(_PATIENCE) as scope:
            await turns.run(client_of(request.scope), recorded)
        response.status_code = 202 if scope.cancelled_caught else 200
        return describe()

    @router.get("/plan", responses=responses())
    async def plan() -> PlanModel:
        """The plan in use, and how its deployment went."""
        return describe()

    @router.post("/reload", responses={**_LATER, **responses(408, 409, 413, 422, 503)})
    async def reload(
        request: Request,
        response: Response,
        wanted: Annotated[PlanChange, json_of(PlanChange, empty=True)],
    ) -> PlanModel:
        """Put another plan in use, without a pause: the new plan is loaded and tested, and the previous one returns
        if it fails."""
        source = wanted.plan
        if source is None:
            return await change(request, response, "reload", deployment.reload)
        if not (os.path.isabs(source) or is_model(source)) or "\0" in source:
            raise OptionError(
                "plan",
                "an absolute path, or the name of a model",
                ascii(source),
                "See pvlr models.",
            )
        call = partial(deployment.deploy, source)
        return await change(request, response, "reload", call, plan=source)

    @router.post("/rollback", responses={**_LATER, **responses(409, 422, 503)})
    async def rollback(request: Request, response: Response) -> PlanModel:
        """Return to the plan that was in use before."""
        return await change(request, response, "rollback", deployment.rollback)

    return router
