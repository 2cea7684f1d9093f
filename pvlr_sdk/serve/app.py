"""The web application, put together."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from .. import __version__
from ..site import Site
from ..tagger import Tagger
from . import api, health, live, pages, problems
from .access import Access, Guard
from .hub import Hub
from .metrics import make_registry
from .problems import Problem
from .settings import ServeSettings
from .tagging import PhotoTagger

_ABOUT = (
    "Tags photos, and tells what cameras see. Anything that fails is a problem document (RFC 9457); docs/errors.md has "
    "a section on each class of `error`."
)


def create_app(tagger: Tagger, site: Site | None, settings: ServeSettings, hub: Hub, photos: PhotoTagger) -> FastAPI:
    """The application. Whoever runs it also runs ``hub`` in the same event loop, and the site in another thread."""
    # The interactive documents of FastAPI load scripts from a foreign server.
    app = FastAPI(title="pvlr serve", version=__version__, description=_ABOUT, docs_url=None, redoc_url=None)
    problems.install(app)
    guard = Guard(settings)
    app.include_router(api.make_router(tagger, site, photos))
    app.include_router(live.make_router(hub, list(site.config.cameras) if site else [], tagger.labels))
    app.include_router(health.make_router(site, hub, make_registry(tagger, site, hub)))
    app.include_router(pages.make_router(guard))
    app.add_middleware(Access, guard=guard)
    _complete_openapi(app, settings.token is not None)
    return app


def _complete_openapi(app: FastAPI, protected: bool) -> None:
    """Add to the document what every route shares: the schema of problems, and the token."""
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
