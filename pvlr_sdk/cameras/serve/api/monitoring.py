"""Health checks and metrics: ``/healthz``, ``/readyz`` and ``/metrics``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ....tagger import Tagger
from ...site import Site
from ...site.metrics import collect, make_family, make_registry
from ..server.problems import responses
from ..server.turns import Turns
from .live_feed import LiveFeed
from .schemas import HealthModel

_OPEN: dict[str, Any] = {"security": []}
_FAILING = {"description": "The check fails.", "model": HealthModel}
_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}}
}


def make_probes(site: Site | None, feed: LiveFeed) -> APIRouter:
    """``/healthz`` and ``/readyz``."""
    router = APIRouter(tags=["operation"])

    @router.get("/healthz", responses={**responses(), 503: _FAILING}, openapi_extra=_OPEN)
    async def healthz(response: Response) -> HealthModel:
        """Whether the cameras are tagged. A camera without results is named, but is not a failure."""
        reason = "" if site is None or site.healthy() else "tagging does not go on"
        return _health(response, reason, site.unhealthy_cameras() if site else {})

    @router.get("/readyz", responses={**responses(), 503: _FAILING}, openapi_extra=_OPEN)
    async def readyz(response: Response) -> HealthModel:
        """Whether the server is ready: the plan is loaded, and each camera was tried at least once."""
        if feed.stopping:
            return _health(response, "the server is stopping", {})
        starting = {
            name: state
            for name, state in (site.cameras if site else {}).items()
            if state == "starting"
        }
        return _health(response, "not all cameras were tried yet" if starting else "", starting)

    return router


def make_router(
    tagger: Tagger, site: Site | None, feed: LiveFeed, uploads: Mapping[str, int], turns: Turns
) -> APIRouter:
    """``/metrics``, with the number of ``uploads`` by result."""
    router = APIRouter(tags=["operation"])
    registry = make_registry(tagger, site)
    collect(registry, lambda: _server_metrics(feed, uploads))

    @router.get("/metrics", responses={**_TEXT, **responses(503)}, response_class=Response)
    @turns.route
    def metrics() -> Response:
        """Metrics in Prometheus' text format."""
        return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return router


def _health(response: Response, reason: str, cameras: dict[str, str]) -> HealthModel:
    response.status_code = 503 if reason else 200
    return HealthModel(status="failing" if reason else "ok", reason=reason, cameras=cameras)


def _server_metrics(feed: LiveFeed, uploads: Mapping[str, int]) -> Iterator[Metric]:
    yield make_family(GaugeMetricFamily, "viewers", "Connected browsers.", [], [([], feed.viewers)])
    samples = [([result], count) for result, count in uploads.items()]
    yield make_family(
        CounterMetricFamily, "uploads", "Images sent to /v1/tag.", ["result"], samples
    )
