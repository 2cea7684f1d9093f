"""``pvlr serve``: a page that shows what the cameras see, a REST API that tags photos, and figures for Prometheus."""

from __future__ import annotations

from .settings import ServeSettings

__all__ = ["ServeSettings"]
