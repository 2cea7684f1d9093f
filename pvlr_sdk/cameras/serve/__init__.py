"""``pvlr serve``: a page that shows what the cameras see, a REST API that tags images, and Prometheus metrics."""

from __future__ import annotations

from .server.settings import ServeSettings

__all__ = ["ServeSettings"]
