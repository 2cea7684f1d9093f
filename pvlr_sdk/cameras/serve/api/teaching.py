"""The routes that teach labels to an open plan: ``/v1/teach`` and ``/v1/bank``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from ...control.control import Control
from ...events import rfc3339
from ...stream import Observation
from ..server.audit import Audit
from ..server.bodies import BodyRoute, json_of
from ..server.problems import ProblemError, responses
from ..server.turns import Turns
from .cameras import newest
from .images import BINARY
from .live_feed import LiveFeed
from .schemas import (
    ExampleChoice,
    ExampleModel,
    ExamplesModel,
    TaughtModel,
    TeachRequest,
    WordModel,
    WordRequest,
)

_BANK: dict[int | str, dict[str, Any]] = {200: {"content": {"application/octet-stream": BINARY}}}
Last = Annotated[bool, Query(description="The example that was picked last, alone.")]
Label = Annotated[
    str,
    Query(description="A label, new or not.", examples=["my mug"], min_length=1, max_length=1000),
]


def make_router(control: Control, audit: Audit, feed: LiveFeed, turns: Turns) -> APIRouter:
    """The routes below ``/v1``."""
    router = APIRouter(prefix="/v1", tags=["teach"], route_class=BodyRoute)

    @router.get("/teach/examples", responses=responses(422, 503))
    @turns.route
    def examples(label: Label) -> ExamplesModel:
        """The frames that were picked for a label."""
        return _examples(control, label)

    @router.post("/teach/examples", responses=responses(404, 408, 413, 422, 503))
    @turns.route
    def add(
        request: Request, choice: Annotated[ExampleChoice, json_of(ExampleChoice)]
    ) -> ExamplesModel:
        """Pick a frame of a camera as one that shows a label, or does not: the newest, one that a browser shows, or the
        one with the highest score of an event."""
        with audit.recorded(
            "example", request.scope, **choice.model_dump(by_alias=True, exclude_none=True)
        ):
            seen: Observation | str | None = choice.event or newest(control.site, choice.camera)
            if choice.event is None and choice.time is not None:
                seen = feed.shown(choice.camera, choice.time)
            if not seen:
                raise ProblemError(503, "No browser shows this frame any more.", Retry_After="1")
            if not control.add_example(seen, choice.label, choice.shows):
                what = "event" if choice.event else "camera"
                raise ProblemError(
                    503, f"The {what} has no frame of the plan in use.", Retry_After="1"
                )
        return _examples(control, choice.label)

    @router.delete("/teach/examples", responses=responses(422, 503))
    @turns.route
    def clear(request: Request, label: Label, last: Last = False) -> ExamplesModel:
        """Remove the examples of a label, or the last one alone; what was taught stays."""
        with audit.recorded("clear examples", request.scope, label=label, last=last):
            control.clear_examples(label, last=last)
        return _examples(control, label)

    @router.post("/teach", responses=responses(408, 409, 413, 422, 503))
    @turns.route
    def teach(
        request: Request, wanted: Annotated[TeachRequest, json_of(TeachRequest)]
    ) -> TaughtModel:
        """Learn a label from its examples, and use it from the next frame on."""
        with audit.recorded("teach", request.scope, **wanted.model_dump(exclude_defaults=True)):
            report = asdict(control.teach(wanted.label, replace=wanted.replace))
        return TaughtModel(
            **report, labels=control.label_bank().names, bank_file=_bank_file(control)
        )

    @router.delete("/teach", responses=responses(409, 422, 503))
    @turns.route
    def forget(request: Request, label: Label) -> ExamplesModel:
        """Undo the teaching of a label; its examples stay."""
        with audit.recorded("forget", request.scope, label=label):
            control.forget(label)
        return _examples(control, label)

    @router.post("/words", responses=responses(408, 409, 413, 422, 503))
    @turns.route
    def word(request: Request, wanted: Annotated[WordRequest, json_of(WordRequest)]) -> WordModel:
        """Use a word as a label, without examples, from the next frame on. DELETE /v1/teach undoes it."""
        with audit.recorded("word", request.scope, **wanted.model_dump()):
            provenance = control.add_word(wanted.label)
        names = control.label_bank().names
        file = _bank_file(control)
        return WordModel(label=wanted.label, **provenance, labels=names, bank_file=file)

    @router.get("/bank", responses={**_BANK, **responses(422, 503)}, response_class=Response)
    @turns.route
    def bank() -> Response:
        """The label bank in use, for `pvlr teach --bank`, `pvlr serve --bank` and `Tagger.set_labels`."""
        name = {"Content-Disposition": 'attachment; filename="bank.safetensors"'}
        return Response(
            control.label_bank().to_bytes(), media_type="application/octet-stream", headers=name
        )

    return router


def _examples(control: Control, label: str) -> ExamplesModel:
    examples = control.examples(label)
    positives = sum(example.shows for example in examples)
    return ExamplesModel(
        label=label,
        positives=positives,
        negatives=len(examples) - positives,
        taught=label in control.label_bank().taught,
        teachable=0 < positives < len(examples) and control.can_teach(label),
        bank_file=_bank_file(control),
        examples=[
            ExampleModel(
                camera=example.camera,
                time=rfc3339(example.time),
                shows=example.shows,
                score=example.score,
            )
            for example in examples
        ],
    )


def _bank_file(control: Control) -> str | None:
    return control.bank_file.name if control.bank_file else None
