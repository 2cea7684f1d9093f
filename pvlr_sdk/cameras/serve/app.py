"""The web application."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request

from ..._util.version import __version__
from ..bridges import galleries, label_studio, open_inference
from ..control.control import Control
from ..site import Site
from .api import (
    cameras,
    corrections,
    events,
    explanations,
    live,
    monitoring,
    plans,
    reviews,
    search,
    teaching,
)
from .api import settings as site_settings
from .api import uploads as images
from .api.live_feed import LiveFeed
from .api.memory import MemoryAccess
from .api.tagging import UploadTagger
from .page import routes as page
from .server import problems
from .server.access import AccessControl, AccessMiddleware
from .server.problems import Problem
from .server.settings import ServeSettings
from .server.turns import Turns

_GLANCES = 2
"""Pictures that are encoded at the same time."""
_PLANS = 2
"""Changes of the plan: one is loaded, while others are refused."""
_ABOUT = (
    "Tags images and reports what cameras see. Each failure is a problem document (RFC 9457); docs/errors.md describes "
    "each class of `error`."
)


def create_app(
    control: Control,
    access: AccessControl,
    feed: LiveFeed,
    uploads: UploadTagger,
    settings: ServeSettings,
) -> FastAPI:
    """The application. Its caller also runs ``feed`` in the same event loop, and the site in another thread."""
    tagger = control.tagger
    site = control.site
    # Without FastAPI's documentation, which loads scripts from another server; page/routes.py has our own.
    app = FastAPI(
        title="pvlr serve", version=__version__, description=_ABOUT, docs_url=None, redoc_url=None
    )
    problems.install(app)
    # What a client asks for never waits for what takes longer: each has threads of its own.
    glances = Turns(_GLANCES)
    changes = Turns()
    app.include_router(images.make_router(control, uploads))
    app.include_router(site_settings.make_router(control, access.audit, changes))
    app.include_router(events.make_router(site, glances))
    app.include_router(cameras.make_router(site, glances))
    app.include_router(plans.make_router(control.deployment, access.audit, Turns(_PLANS)))
    app.include_router(teaching.make_router(control, access.audit, feed, changes))
    memory = MemoryAccess(control, Turns())
    app.include_router(search.make_router(control, memory))
    app.include_router(explanations.make_router(control, memory))
    app.include_router(reviews.make_router(control, memory, access.audit))
    app.include_router(corrections.make_router(control, memory, access.audit))
    app.include_router(live.make_router(feed, access))
    app.include_router(monitoring.make_probes(site, feed))
    app.include_router(monitoring.make_router(tagger, site, feed, uploads.counts, glances))
    app.include_router(page.make_router(access))

    async def tag(request: Request, find: galleries.Finder) -> Sequence[galleries.Tag]:
        return (await uploads.tag(request, find=find)).tags

    def name() -> str:
        return str(tagger.info["name"])

    async def tag_shown(request: Request, find: galleries.Finder) -> Sequence[galleries.Tag]:
        tags = (await uploads.tag(request, find=find)).tags
        return [tag.model_copy(update={"label": control.shown(tag.label)}) for tag in tags]

    if settings.galleries:
        app.include_router(galleries.make_router(tag_shown, name, tagger.info["input"]["width"]))
    if settings.open_inference:
        app.include_router(open_inference.make_router(tag, name))
    if (studio := settings.label_studio) is not None:
        app.include_router(
            label_studio.make_router(tag, name, studio.url, studio.token, settings.max_bytes)
        )
    app.add_middleware(AccessMiddleware, access=access)
    _complete_openapi(app, access.tokens.required)
    return app


def create_probes(site: Site | None, access: AccessControl, feed: LiveFeed) -> FastAPI:
    """The application of the probes' own port."""
    app = FastAPI(openapi_url=None)
    problems.install(app)
    app.include_router(monitoring.make_probes(site, feed))
    app.add_middleware(AccessMiddleware, access=access)
    return app


def _complete_openapi(app: FastAPI, protected: bool) -> None:
    """Add the schema of problems and the token, which all routes share, to the OpenAPI document."""
    make = app.openapi

    def complete() -> dict[str, Any]:
        document = make()
        components = document.setdefault("components", {})
        components.setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
        if protected:
            components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            document["security"] = [{"token": []}]
        return document

    app.openapi = complete  # type: ignore[method-assign]
