"""The routes of "Not this again": a preview, the correction of a label, and its end."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from ...control.control import Control
from ...control.corrections import Corrections
from ...memory.correction import Correction
from ...memory.reader import Row
from ...memory.why import find_event
from ..server.audit import Audit
from ..server.bodies import BodyRoute
from ..server.problems import responses
from .memory import EventId, MemoryAccess, MomentModel, moment_of
from .schemas import Text

_SHOWN = 24
"""The most events of each kind that are sent."""


class CorrectionModel(BaseModel):
    """What the correction of a label would have changed in the past day, but for the event itself."""

    label: Text
    held: bool = Field(description="whether the label in use has this correction")
    gone: int = Field(description="number of other events that would not have been reported")
    stay: int = Field(description="number of those that would have been reported all the same")
    right: int = Field(
        description="number of other events that were answered with yes, of any time"
    )
    lost: list[MomentModel] = Field(description="those of `right` that would be gone")
    changes: list[MomentModel] = Field(description="the newest events that would be gone")
    notes: list[Text] = Field(description="why later events may differ")
    bank_file: str | None = Field(
        description="name of the file that keeps the label; null: it holds until the end"
    )


class HeldModel(BaseModel):
    """Whether the label in use has the correction of this event."""

    held: bool


def make_router(control: Control, memory: MemoryAccess, audit: Audit) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1/memory", tags=["memory"], route_class=BodyRoute)
    corrections = Corrections(control)
    path = "/events/{id}/correction"

    @router.get(path, responses=responses(404, 422, 503))
    @memory.turns.route
    def preview(id: EventId) -> CorrectionModel:
        """Which events of the past day would not have been reported if this one was not; nothing changes."""
        with memory.opened() as store:
            row = find_event(store, id)
            held = corrections.is_held(row)
            return _model(control, corrections.preview(store, row), held=held)

    @router.put(path, responses=responses(404, 409, 422, 503))
    @memory.turns.route
    def hold(request: Request, id: EventId) -> CorrectionModel:
        """Do not report this again: change the label from the next frame on, and answer the event with no."""
        with memory.opened() as store, audit.recorded("correct", request.scope, event=id):
            return _model(control, corrections.hold(store, find_event(store, id)), held=True)

    @router.delete(path, responses=responses(404, 409, 422, 503))
    @memory.turns.route
    def undo(request: Request, id: EventId) -> HeldModel:
        """Undo the last correction of a label, which is that of this event."""
        with memory.opened() as store, audit.recorded("undo correction", request.scope, event=id):
            corrections.undo(store, find_event(store, id))
        return HeldModel(held=False)

    return router


def _model(control: Control, correction: Correction, *, held: bool) -> CorrectionModel:
    return CorrectionModel(
        label=correction.label,
        held=held,
        gone=len(correction.gone),
        stay=len(correction.stay),
        right=correction.right,
        lost=_moments(correction.lost),
        changes=_moments(correction.gone),
        notes=correction.notes,
        bank_file=control.bank_file.name if control.bank_file else None,
    )


def _moments(rows: list[Row]) -> list[MomentModel]:
    return [moment_of(row, row.score) for row in reversed(rows[-_SHOWN:])]
