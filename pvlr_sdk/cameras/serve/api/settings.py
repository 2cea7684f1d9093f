"""Routes that show and change thresholds, reported labels and regions."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request

from ...._util.plain_json import Limits
from ...control.control import Control
from ..server.audit import Audit
from ..server.bodies import BodyRoute, json_of
from ..server.problems import responses
from ..server.turns import Turns
from .cameras import CameraName, camera_of
from .schemas import DeniedChange, RegionsChange, SettingModel, SettingsChange, SettingsModel

_LIMITS = Limits(size=1_000_000, values=100_000, depth=8)
"""10,000 thresholds and as many labels, or 100 regions of many corners for each camera."""


def make_router(control: Control, audit: Audit, turns: Turns) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1", route_class=BodyRoute)

    @router.get("/settings", tags=["settings"], responses=responses())
    async def settings() -> SettingsModel:
        """The thresholds, and the labels whose events are reported."""
        return settings_of(control)

    @router.put("/settings", tags=["settings"], responses=responses(408, 409, 413, 422, 503))
    @turns.route
    def change_settings(
        request: Request, change: Annotated[SettingsChange, json_of(SettingsChange, _LIMITS)]
    ) -> SettingsModel:
        """Change thresholds and reported labels, for events and uploads; kept in the state folder, if there is one."""
        with audit.recorded("settings", request.scope, **change.model_dump(exclude_defaults=True)):
            control.configure(change.thresholds, change.labels)
        return settings_of(control)

    @router.put(
        "/cameras/{name}/deny",
        tags=["settings"],
        responses=responses(404, 408, 409, 413, 422, 503),
    )
    @turns.route
    def change_denied(
        request: Request,
        name: CameraName,
        change: Annotated[DeniedChange, json_of(DeniedChange, _LIMITS)],
    ) -> SettingsModel:
        """Exclude labels at a camera, from its next frame on; kept in the state folder, if there is one."""
        camera_of(control.site, name)
        with audit.recorded("deny", request.scope, camera=name, labels=change.labels):
            control.deny(name, change.labels)
        return settings_of(control)

    @router.put(
        "/cameras/{name}/regions",
        tags=["settings"],
        responses=responses(404, 408, 409, 413, 422, 503),
    )
    @turns.route
    def change_regions(
        request: Request,
        name: CameraName,
        change: Annotated[RegionsChange, json_of(RegionsChange, _LIMITS)],
    ) -> SettingsModel:
        """Change the regions of a camera, from its next frame on; kept in the state folder, if there is one."""
        camera_of(control.site, name)
        with audit.recorded("regions", request.scope, camera=name, regions=list(change.regions)):
            control.set_regions(
                name, {key: region.model_dump() for key, region in change.regions.items()}
            )
        return settings_of(control)

    return router


def settings_of(control: Control) -> SettingsModel:
    """The thresholds, and the labels whose events are reported, for a response."""
    events = control.events
    thresholds = control.thresholds
    reported = set(thresholds.plan if events.labels is None else events.labels) - set(events.deny)
    cameras = control.site.config.cameras if control.site else {}
    tiles = control.site.tile_thresholds if control.site else {}
    rows = (
        (label, max(value, tiles.get(label, 0.0)), thresholds.at(label, tiles=tiles))
        for label, value in thresholds.plan.items()
    )
    return SettingsModel(
        labels=[
            SettingModel(
                label=label,
                threshold=threshold.value,
                source=threshold.origin,
                plan_threshold=round(plan, 6),
                reported=label in reported,
            )
            for label, plan, threshold in rows
        ],
        state_file=str(control.state.path) if control.state else None,
        own_labels=[name for name, camera in cameras.items() if camera.labels is not None],
        denied={
            name: list(events.deny if camera.deny is None else camera.deny)
            for name, camera in cameras.items()
        },
    )
