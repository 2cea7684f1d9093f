"""The cameras that requests name."""

from __future__ import annotations

from ...stream import Observation
from ...watch import Site
from ..server.problems import ProblemError


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
