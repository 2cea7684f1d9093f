"""Routes that explain events: why they were reported, and what another threshold would have reported."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from ...control.control import Control
from ...events import rfc3339
from ...memory.replay import changes, events_of, inexact, recorded, with_threshold
from ...memory.why import explain, find_event
from ..server.bodies import BodyRoute
from ..server.problems import responses
from .memory import EventId, MemoryAccess, MomentModel
from .schemas import EventModel, Score, Text

_POINTS = 400
"""The most points of a curve."""
_HOUR = 3600.0
"""Seconds that are replayed: a day takes seconds of CPU time, while cameras are tagged."""


class ReplayModel(BaseModel):
    """The events of a label with another threshold. ``changes``: their ``kind`` is new, gone, longer or shorter."""

    before: int = Field(description="number of events with the settings of that time")
    after: int
    changes: list[MomentModel]
    notes: list[Text] = Field(description="why events of a run with this threshold may differ")


class ExplanationModel(BaseModel):
    """Why an event was reported. ``curve``: time, score and moving average; ``others``: label, score and threshold."""

    event: EventModel
    picture: int
    attention: bool = Field(description="whether the picture has an attention map")
    upper: Score
    lower: Score
    source: Text
    began: Text
    ended: Text
    curve: list[tuple[float, float, float]]
    others: list[tuple[Text, float, float]]
    near: list[tuple[Text, float, float, float, float, Text]] = Field(
        description="label, start, end, peak, threshold and reason of what came close in the hour before its end"
    )


def make_router(control: Control, memory: MemoryAccess) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1/memory", tags=["memory"], route_class=BodyRoute)

    @router.get(
        "/events/{id}", responses=responses(404, 422, 503), response_model_exclude_none=True
    )
    @memory.turns.route
    def why(id: EventId) -> ExplanationModel:
        """Why an event was reported, and what came close in the hour before."""
        with memory.opened() as store:
            row = find_event(store, id)
            explanation = explain(store, row, near=_HOUR)
            attention = store.has_attention(row.id)
        event = row.ended or row.began
        assert event is not None, "a row of an event"
        step = 1 + len(explanation.curve) // _POINTS
        values: dict[str, Any] = {**asdict(explanation), "curve": explanation.curve[::step]}
        values |= {"picture": row.id, "attention": attention}
        return ExplanationModel(event=EventModel.model_validate(event.to_dict()), **values)

    @router.get("/replay", responses=responses(404, 422, 503))
    @memory.turns.route
    def replay(
        label: Annotated[str, Query(description="The label.", max_length=200)],
        threshold: Annotated[float, Query(ge=0, le=1, description="The other threshold.")],
    ) -> ReplayModel:
        """The events of a label in the last recorded hour, as another threshold would have given them."""
        wanted = with_threshold(label, control.thresholds.with_change(label, threshold))
        with memory.opened() as store:
            newest = "SELECT end FROM chunks ORDER BY id DESC LIMIT 1"  # by id: a clock may have been ahead once
            since = next((end - _HOUR for (end,) in store.query(newest)), 0.0)
            before, after = (
                [event for event in events_of(store, settings, since) if event.label == label]
                for settings in (recorded, wanted)
            )
            differences = [
                (change, store.nearest(change.event.camera, change.event.peak_time))
                for change in changes(before, after)
            ]
            notes = inexact(store.recorded(), wanted)
        moments = [
            MomentModel(
                id=picture,
                event=None,
                kind=change.kind,
                camera=change.event.camera,
                region=change.event.region,
                label=label,
                time=rfc3339(change.event.start),
                score=change.event.peak,
            )
            for change, picture in differences
            if picture is not None
        ]
        first, second = (len({event.id for event in events}) for events in (before, after))
        return ReplayModel(before=first, after=second, changes=moments, notes=notes)

    return router
