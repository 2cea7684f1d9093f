"""What the API answers, as schemas: the OpenAPI document is made from these."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

Score = float
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class AttentionMap(BaseModel):
    """Where the model looked: weights of a grid over the tagged part of the picture, row by row from its top left,
    the largest being 1."""

    label: str
    rows: int
    columns: int
    weights: list[float] = Field(description="rows * columns numbers from 0 to 1")


class TagModel(BaseModel):
    """One label that the picture shows; ``margin`` is ``score - threshold``."""

    label: str
    score: Score
    threshold: Score
    margin: float


class TagsModel(BaseModel):
    """The tags of one picture, best first."""

    width: int
    height: int
    tags: list[TagModel]
    attention: list[AttentionMap] = Field(description="of each tag, if it was asked for")
    timing_ms: dict[str, float] = Field(description="decode, preprocess, inference, head and total")


class LabelModel(BaseModel):
    """A label, and the score from which on it is a tag."""

    label: str
    threshold: Score


class LabelsModel(BaseModel):
    """What the model knows."""

    model: str
    labels: list[LabelModel]


class EventModel(BaseModel):
    """A notice: a label appeared at a camera, or went away. docs/events.md explains the fields."""

    event: Literal["on", "off"]
    id: str
    camera: str
    label: str
    time: Moment
    score: Score
    peak: Score
    peak_time: Moment
    start: Moment
    end: Moment | None = None
    duration: float | None = Field(default=None, description="seconds; only in `off`")
    reason: str | None = None
    snapshot: str | None = None


class EventsModel(BaseModel):
    """Notices, oldest first."""

    events: list[EventModel]


class CameraModel(BaseModel):
    """A camera: its state, its figures since the start, and what it shows now."""

    name: str
    uri: str = Field(description="without credentials")
    state: Literal["starting", "live", "lost", "ended"]
    reason: str = Field(description="why it is lost or has ended")
    width: int | None
    height: int | None
    fps: float = Field(description="captured frames a second, over the last few seconds")
    captured: int
    tagged: int
    dropped: int
    late: int
    failed: int
    reconnects: int
    decode_errors: int
    age_p50: float | None = Field(description="seconds from capture to tags")
    age_p99: float | None
    tags: list[TagModel] = Field(description="of the newest frame; empty while there is none")


class CamerasModel(BaseModel):
    """All cameras, in the order of the configuration."""

    cameras: list[CameraModel]


class HealthModel(BaseModel):
    """Whether all is well, and if not, why."""

    status: Literal["ok", "failing"]
    reason: str
