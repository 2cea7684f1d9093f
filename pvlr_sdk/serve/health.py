"""For whoever looks whether the server lives: probes of an orchestrator, and Prometheus."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from ..site import Site
from .hub import Hub
from .models import HealthModel
from .problems import responses

_OPEN: dict[str, Any] = {"security": []}
_FAILING = {"description": "It is not.", "model": HealthModel}


def make_router(site: Site | None, hub: Hub, registry: CollectorRegistry) -> APIRouter:
    """``/healthz``, ``/readyz`` and ``/metrics``."""
    router = APIRouter(tags=["operation"])

    @router.get("/healthz", responses={**responses(), 503: _FAILING}, openapi_extra=_OPEN)
    async def healthz(response: Response) -> HealthModel:
        """Whether results still come from every camera that gives pictures. A camera that is away is no failure."""
        return _judge(response, None if site is None or site.healthy() else "a camera gives pictures but no results")

    @router.get("/readyz", responses={**responses(), 503: _FAILING}, openapi_extra=_OPEN)
    async def readyz(response: Response) -> HealthModel:
        """Whether it is worth sending requests: the plan is loaded, and every camera was tried."""
        if hub.stopping:
            return _judge(response, "it is being stopped")
        waiting = [name for name, state in (site.cameras if site else {}).items() if state == "starting"]
        return _judge(response, f"not tried yet: {', '.join(waiting)}" if waiting else None)

    text: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}

    @router.get("/metrics", responses={**text, **responses()}, response_class=Response)
    def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return router


def _judge(response: Response, reason: str | None) -> HealthModel:
    status: Literal["ok", "failing"] = "failing" if reason else "ok"
    response.status_code = 503 if reason else 200
    return HealthModel(status=status, reason=reason or "")
