"""Routes of a review: the events and frames to answer, and the answers with what they prove."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field

from ...control.control import Control
from ...memory import search as find
from ...memory.examples import to_label
from ...memory.precision import statement
from ...memory.reader import Row
from ...memory.recall import recall, to_ask
from ...memory.why import find_event
from ..server.audit import Audit
from ..server.bodies import BodyRoute, json_of
from ..server.problems import responses
from .events import OnlyCamera, OnlyLabel
from .memory import EventId, MemoryAccess, MomentModel, MomentsModel, moment_of
from .schemas import RequestModel, Text

_TARGET = 0.9


class AnswerChange(RequestModel):
    """Whether an event is right; unclear counts as wrong, null removes the answer and those that were given with it."""

    answer: Literal["yes", "no", "unclear"] | None = Field(examples=["yes"])
    alike: list[Annotated[str, Field(pattern=r"^[\w-]{8,64}$")]] = Field(
        [], max_length=100, description="ids of events that look alike and get the same answer"
    )
    drawn: bool = Field(
        True,
        description="whether it is a question of the review; false: a person chose the event, and the answer counts "
        "once a review has come to it",
    )


class FrameAnswer(RequestModel):
    """Whether a sampled frame shows a label; unclear is not asked again, null removes the answer."""

    label: str = Field(max_length=200, examples=["person"])
    answer: Literal["yes", "no", "unclear"] | None = Field(examples=["yes"])


class StatementModel(BaseModel):
    """What the answers prove: of an event's label the precision, of that of a random frame the recall; of other frames,
    how many answers there are."""

    statement: Text


def _asked(questions: Iterable[tuple[Row, str]]) -> list[MomentModel]:
    """Events and frames, each with the label to ask for."""
    return [moment_of(row).model_copy(update={"label": label}) for row, label in questions]


def make_router(control: Control, memory: MemoryAccess, audit: Audit) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1/memory", tags=["memory"], route_class=BodyRoute)

    @router.get("/review", responses=responses(404, 422, 503))
    @memory.turns.route
    def review(label: OnlyLabel = None, camera: OnlyCamera = None) -> MomentsModel:
        """The next events and frames to answer, drawn at random: frames of a label whose events were answered, for its
        recall. Whether labels should be reviewed again, and what is missing up to the next test of the recall."""
        with memory.opened() as store:
            labels = store.query("SELECT DISTINCT label FROM answers WHERE event IS NOT NULL")
            proven = [statement(store, name, _TARGET, camera) for (name,) in labels]
            notes = [f"{proof.label}: {proof.drift}." for proof in proven if proof.drift]
            questions = to_ask(store, _TARGET, label, camera=camera)
            frames_of = dict.fromkeys(name for row, name in questions if not row.event)
            notes += [f"{recall(store, name, _TARGET, camera)}." for name in frames_of]
            return MomentsModel(grade=None, moments=_asked(questions), notes=notes)

    @router.get("/frames", responses=responses(404, 422, 503))
    @memory.turns.route
    def frames() -> MomentsModel:
        """The sampled frames that teach most, each with the label to ask for."""
        with memory.opened() as store:
            return MomentsModel(grade=None, moments=_asked(to_label(store)))

    @router.put("/frames/{id}/answer", responses=responses(404, 408, 413, 422, 503))
    @memory.turns.route
    def answer_frame(
        request: Request,
        id: Annotated[int, Path(ge=1, le=2**62)],
        change: Annotated[FrameAnswer, json_of(FrameAnswer)],
    ) -> StatementModel:
        """Answer whether a sampled frame shows a label: for the recall, if it was drawn at random, and as an example to
        teach and train with."""
        with (
            memory.opened() as store,
            audit.recorded("answer", request.scope, frame=id, **change.model_dump()),
        ):
            store.answer(id, change.answer, change.label)
            if store.rows("id = ? AND kind = 'random'", (id,)):
                return StatementModel(statement=str(recall(store, change.label, _TARGET)))
            query = (
                "SELECT answer, count(*) FROM answers WHERE event IS NULL AND label = ? GROUP BY 1"
            )
            counts = dict(store.query(query, change.label))
            return StatementModel(
                statement=f"{change.label}: {counts.get('yes', 0)} yes, {counts.get('no', 0)} no"
            )

    @router.get("/events/{id}/alike", responses=responses(404, 422, 503))
    @memory.turns.route
    def alike(id: EventId) -> MomentsModel:
        """Up to 100 events without an answer that look like an event of their label, the most similar first."""
        with memory.opened() as store:
            rows = find.alike(store, find_event(store, id))
            return MomentsModel(grade=None, moments=[moment_of(row) for row in rows])

    @router.put("/events/{id}/answer", responses=responses(404, 408, 413, 422, 503))
    @memory.turns.route
    def answer(
        request: Request, id: EventId, change: Annotated[AnswerChange, json_of(AnswerChange)]
    ) -> StatementModel:
        """Answer whether an event is right, and others that look alike."""
        about = {"event": id, "answer": change.answer, "alike": len(change.alike)}
        with memory.opened() as store, audit.recorded("answer", request.scope, **about):
            row = find_event(store, id)
            others = store.rows(
                f"event IN ({', '.join('?' * len(change.alike))})", tuple(change.alike)
            )
            like = [other.id for other in others]
            store.answer(row.id, change.answer, alike=like, drawn=change.drawn)
            if control.site and control.site.memory:
                control.site.memory.answered()
            return StatementModel(statement=str(statement(store, row.label or "", _TARGET)))

    return router
