"""Routes that find remembered events and frames, and show their pictures."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from fastapi import APIRouter, Path, Query, Response

from ....labels.edit import LinearFunction, taught_function
from ....result.tags import sigmoid
from ...control.control import Control
from ...memory import search as find
from ..server.bodies import BodyRoute
from ..server.problems import ProblemError, responses
from .events import OnlyCamera, OnlyLabel
from .images import JPEG
from .memory import MemoryAccess, MomentsModel, moment_of


def make_router(control: Control, memory: MemoryAccess) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1/memory", tags=["memory"], route_class=BodyRoute)

    @router.get("/search", responses=responses(404, 422, 503))
    @memory.turns.route
    def search(
        words: Annotated[
            str,
            Query(description="A word, a phrase or a label; empty: the newest.", max_length=200),
        ] = "",
        camera: OnlyCamera = None,
        label: OnlyLabel = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 24,
    ) -> MomentsModel:
        """Remembered events and frames, the best first: recorded labels by their scores, also by a synonym or by what
        they are kinds of; other words by features."""
        with memory.opened() as store:
            only = find.chosen(camera, label, None, None)
            if not words.strip():
                rows = store.rows(f"id IN (SELECT id FROM moments WHERE {only[0]} ORDER BY id DESC LIMIT ?)",
                                  (*only[1], limit))  # fmt: skip
                return MomentsModel(grade=None, moments=[moment_of(row) for row in reversed(rows)])
            grade = None
            if labels := control.tree.matching(words, find.recorded_labels(store)):
                ranked = find.by_label(store, labels, only, limit)
            else:
                features, function, grade = _function_of(words, control)
                ranked = find.by_features(store, features, function, only, limit)
            moments = [moment_of(row, float(sigmoid(np.array(score)))) for row, score in ranked]
            return MomentsModel(grade=grade, moments=moments)

    @router.get(
        "/pictures/{id}", responses=JPEG | responses(404, 422, 503), response_class=Response
    )
    @memory.turns.route
    def picture(
        id: Annotated[int, Path(ge=1, le=2**62)],
        attention: Annotated[
            bool, Query(description="With the attention map of the event's label, if it has one.")
        ] = False,
    ) -> Response:
        """The picture of an event's peak, or of a sampled frame, as a JPEG of at most 320 pixels."""
        with memory.opened() as store:
            jpeg = store.picture(id, attention)
        if jpeg is None:
            raise ProblemError(404, "There is no such picture any more.")
        return Response(jpeg, media_type="image/jpeg")

    return router


def _function_of(words: str, control: Control) -> tuple[str, LinearFunction, str | None]:
    """The name of the features of images, the function of these that words stand for, and how far to trust it; None:
    the words are a taught label."""
    bank = control.label_bank()
    function = taught_function(bank, words)
    grade = None
    if function is None:
        bank = control.words.bank(words, force=True)
        function = taught_function(bank, bank.names[0])
        grade = bank.taught[bank.names[0]]["grade"]
    assert function is not None, "a word has one"
    return bank.text["features"], function, grade
