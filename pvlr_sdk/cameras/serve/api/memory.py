"""The routes of the memory of events: ``/v1/memory``."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field

from ....labels import Knowledge
from ....labels.edit import taught_function
from ....result.tags import sigmoid
from ...control.control import Control
from ...events import rfc3339
from ...memory import search as find
from ...memory.examples import to_label
from ...memory.precision import statement, to_review
from ...memory.reader import Row
from ...memory.replay import changes, events_of, inexact, recorded, with_threshold
from ...memory.store import Store
from ...memory.why import explain, find_event
from ..server.audit import Audit
from ..server.bodies import BodyRoute, json_of
from ..server.problems import ProblemError, responses
from .events import OnlyCamera, OnlyLabel
from .images import JPEG
from .schemas import EventModel, Moment, RequestModel, Score, Text

_POINTS = 400
"""The most points of a curve."""
_HOUR = 3600.0
"""Seconds that are replayed: a day takes seconds of CPU time, while cameras are tagged."""
_TARGET = 0.9
_WAITING = 20
"""Requests that wait for their turn: each has one of the 40 threads that all routes share."""
EventId = Annotated[
    str, Path(description="The id of a remembered event.", min_length=8, max_length=64)
]


class MomentModel(BaseModel):
    """A remembered event, or a sampled frame."""

    id: int = Field(description="of its picture")
    event: str | None = Field(description="its id; null: a sampled frame")
    kind: str = Field(description="event, uncertain, new or random; of a replay the change")
    camera: Text
    region: Text | None
    label: Text | None
    time: Moment
    score: Score | None = Field(description="of the words; null without words")


class MomentsModel(BaseModel):
    """What a search has found, the best first, or events to answer."""

    grade: str | None = Field(
        description="how far to trust a word, see `pvlr words`; null: a recorded or taught label"
    )
    moments: list[MomentModel]
    notes: list[Text] = Field(
        default=[], description="why a proven precision may not hold any more, by label"
    )


class ReplayModel(BaseModel):
    """The events of a label with another threshold. ``changes``: their ``kind`` is new, gone, longer or shorter."""

    before: int = Field(description="number of events with the settings of that time")
    after: int
    changes: list[MomentModel]
    notes: list[Text] = Field(description="why events of a run with this threshold may differ")


class AnswerChange(RequestModel):
    """Whether an event is right; unclear counts as wrong, null removes the answer and those that were given with it."""

    answer: Literal["yes", "no", "unclear"] | None = Field(examples=["yes"])
    alike: list[Annotated[str, Field(pattern=r"^[\w-]{8,64}$")]] = Field(
        [], max_length=100, description="ids of events that look alike and get the same answer"
    )


class FrameAnswer(RequestModel):
    """Whether a sampled frame shows a label; unclear is not asked again, null removes the answer."""

    label: str = Field(max_length=200, examples=["person"])
    answer: Literal["yes", "no", "unclear"] | None = Field(examples=["yes"])


class StatementModel(BaseModel):
    """What the answers prove of the precision of the event's label; of a frame, how many there are."""

    statement: Text


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


def make_router(control: Control, audit: Audit) -> APIRouter:
    """The routes below ``/v1/memory``. One search, replay or statement is computed at a time."""
    router = APIRouter(prefix="/v1/memory", tags=["memory"], route_class=BodyRoute)
    lock = threading.Lock()
    waiting = threading.Semaphore(_WAITING)

    @contextmanager
    def opened() -> Iterator[Store]:
        memory = control.site.config.memory if control.site else None
        if memory is None:
            raise ProblemError(
                404, "There is no memory. Start with --memory DIR, or set memory: in the site file."
            )
        if not waiting.acquire(blocking=False):
            raise ProblemError(503, "Too many requests for the memory wait.", Retry_After="10")
        try:
            with lock, closing(Store(memory.folder)) as store:
                yield store
        finally:
            waiting.release()

    @router.get("/search", responses=responses(404, 422, 503))
    def search(
        words: Annotated[
            str,
            Query(description="A word, a phrase or a label; empty: the newest.", max_length=200),
        ] = "",
        camera: OnlyCamera = None,
        label: OnlyLabel = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 24,
    ) -> MomentsModel:
        """Remembered events and frames, the best first: a recorded label by its scores, other words by features."""
        with opened() as store:
            only = find.chosen(camera, label, None, None)
            grade = None
            if not words.strip():
                rows = store.rows(f"id IN (SELECT id FROM moments WHERE {only[0]} ORDER BY id DESC LIMIT ?)",
                                  (*only[1], limit))  # fmt: skip
                return MomentsModel(grade=None, moments=[_moment(row) for row in reversed(rows)])
            if words in {name for context in store.contexts().values() for name in context.names}:
                ranked = find.by_label(store, words, only, limit)
            else:
                bank = control.label_bank()
                function = taught_function(bank, words)
                if function is None:
                    bank = Knowledge.of_plan(
                        control.tagger.info, trust=control.tagger.trust or False
                    ).bank([words], force=True)
                    function = taught_function(bank, bank.names[0])
                    grade = bank.taught[bank.names[0]]["grade"]
                assert function is not None, "a word has one"
                ranked = find.by_features(store, bank.text["features"], function, only, limit)
            moments = [_moment(row, float(sigmoid(np.array(score)))) for row, score in ranked]
            return MomentsModel(grade=grade, moments=moments)

    @router.get(
        "/pictures/{id}", responses=JPEG | responses(404, 422, 503), response_class=Response
    )
    def picture(
        id: Annotated[int, Path(ge=1, le=2**62)],
        attention: Annotated[
            bool, Query(description="With the attention map of the event's label, if it has one.")
        ] = False,
    ) -> Response:
        """The picture of an event's peak, or of a sampled frame, as a JPEG of at most 320 pixels."""
        with opened() as store:
            jpeg = store.picture(id, attention)
        if jpeg is None:
            raise ProblemError(404, "There is no such picture any more.")
        return Response(jpeg, media_type="image/jpeg")

    @router.get(
        "/events/{id}", responses=responses(404, 422, 503), response_model_exclude_none=True
    )
    def why(id: EventId) -> ExplanationModel:
        """Why an event was reported, and what came close in the hour before."""
        with opened() as store:
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
    def replay(
        label: Annotated[str, Query(description="The label.", max_length=200)],
        threshold: Annotated[float, Query(ge=0, le=1, description="The other threshold.")],
    ) -> ReplayModel:
        """The events of a label in the last recorded hour, as another threshold would have given them."""
        wanted = with_threshold(label, control.thresholds.with_change(label, threshold))
        with opened() as store:
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

    @router.get("/review", responses=responses(404, 422, 503))
    def review(label: OnlyLabel = None) -> MomentsModel:
        """The next events to answer, drawn at random, and whether labels should be reviewed again."""
        with opened() as store:
            labels = store.query("SELECT DISTINCT label FROM answers WHERE event IS NOT NULL")
            proven = [statement(store, name, _TARGET) for (name,) in labels]
            notes = [f"{proof.label}: {proof.drift}." for proof in proven if proof.drift]
            return MomentsModel(
                grade=None, moments=[_moment(row) for row in to_review(store, label)], notes=notes
            )

    @router.get("/frames", responses=responses(404, 422, 503))
    def frames() -> MomentsModel:
        """The sampled frames that teach most, each with the label to ask for."""
        with opened() as store:
            moments = [
                _moment(row).model_copy(update={"label": label}) for row, label in to_label(store)
            ]
            return MomentsModel(grade=None, moments=moments)

    @router.put("/frames/{id}/answer", responses=responses(404, 408, 413, 422, 503))
    def answer_frame(
        request: Request,
        id: Annotated[int, Path(ge=1, le=2**62)],
        change: Annotated[FrameAnswer, json_of(FrameAnswer)],
    ) -> StatementModel:
        """Answer whether a sampled frame shows a label, as an example to teach and train with."""
        with (
            opened() as store,
            audit.recorded("answer", request.scope, frame=id, **change.model_dump()),
        ):
            store.answer(id, change.answer, change.label)
            query = (
                "SELECT answer, count(*) FROM answers WHERE event IS NULL AND label = ? GROUP BY 1"
            )
            counts = dict(store.query(query, change.label))
            return StatementModel(
                statement=f"{change.label}: {counts.get('yes', 0)} yes, {counts.get('no', 0)} no"
            )

    @router.get("/events/{id}/alike", responses=responses(404, 422, 503))
    def alike(id: EventId) -> MomentsModel:
        """Up to 100 events without an answer that look like an event of their label, the most similar first."""
        with opened() as store:
            rows = find.alike(store, find_event(store, id))
            return MomentsModel(grade=None, moments=[_moment(row) for row in rows])

    @router.put("/events/{id}/answer", responses=responses(404, 408, 413, 422, 503))
    def answer(
        request: Request, id: EventId, change: Annotated[AnswerChange, json_of(AnswerChange)]
    ) -> StatementModel:
        """Answer whether an event is right, and others that look alike."""
        about = {"event": id, "answer": change.answer, "alike": len(change.alike)}
        with opened() as store, audit.recorded("answer", request.scope, **about):
            row = find_event(store, id)
            others = store.rows(
                f"event IN ({', '.join('?' * len(change.alike))})", tuple(change.alike)
            )
            store.answer(row.id, change.answer, alike=[other.id for other in others])
            if control.site and control.site.memory:
                control.site.memory.answered()
            return StatementModel(statement=str(statement(store, row.label or "", _TARGET)))

    return router


def _moment(row: Row, score: float | None = None) -> MomentModel:
    return MomentModel(
        id=row.id, event=row.event, kind=row.kind, camera=row.camera, region=row.region,
        label=row.label, time=rfc3339(row.time or row.start), score=score,
    )  # fmt: skip
