"""What the routes below ``/v1/memory`` share: the memory, and its moments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Annotated

from fastapi import Path
from pydantic import BaseModel, Field

from ...control.control import Control
from ...events import rfc3339
from ...memory.reader import Row
from ...memory.store import Store
from ..server.problems import ProblemError
from ..server.turns import Turns
from .schemas import Moment, Score, Text

EventId = Annotated[
    str, Path(description="The id of a remembered event.", min_length=8, max_length=64)
]


class MemoryAccess:
    """Opens the memory for requests that have their turn.

    Attributes:
        turns: of all routes of the memory.
    """

    def __init__(self, control: Control, turns: Turns) -> None:
        self._control = control
        self.turns = turns

    @contextmanager
    def opened(self) -> Iterator[Store]:
        """Open the memory. Raises ProblemError: there is none."""
        site = self._control.site
        memory = site.config.memory if site else None
        if memory is None:
            raise ProblemError(
                404, "There is no memory. Start with --memory DIR, or set memory: in the site file."
            )
        with closing(Store(memory.folder)) as store:
            yield store


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
        default=[],
        description="why a proven precision may not hold any more, and what is proven of the recall",
    )


def moment_of(row: Row, score: float | None = None) -> MomentModel:
    """A row of the memory, with the score of a search."""
    return MomentModel(
        id=row.id, event=row.event, kind=row.kind, camera=row.camera, region=row.region,
        label=row.label, time=rfc3339(row.time or row.start), score=score,
    )  # fmt: skip
