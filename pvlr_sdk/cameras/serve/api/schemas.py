"""The responses of the API, from which its OpenAPI document is generated."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ...sinks.settings import Name


def readable(text: object) -> object:
    """A text with ? for each lone surrogate, which no response can contain; other objects as they are."""
    return text.encode("utf-8", "replace").decode() if isinstance(text, str) else text


Text = Annotated[str, BeforeValidator(readable)]
"""A text from outside, such as a label of a model or the name of a file."""
Score = float
BankFile = Annotated[
    Text | None,
    Field(description="name of the file that keeps taught labels; null: they hold until the end"),
]
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class RequestModel(BaseModel):
    """What a client sends: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid")


class AttentionMap(BaseModel):
    """Where the model looks for a label: weights of a grid over the tagged part of the image, row by row from the top
    left, with a maximum of 1."""

    label: Text
    rows: int
    columns: int
    weights: list[float] = Field(description="rows * columns numbers from 0 to 1")


class TagModel(BaseModel):
    """A label at or above its threshold; ``margin`` is ``score - threshold``."""

    label: Text
    score: Score
    threshold: Score
    margin: float


class TagsModel(BaseModel):
    """The tags of one image, best first."""

    width: int
    height: int
    plan: str = Field(description="SHA-256 of the plan that tagged it")
    tags: list[TagModel]
    attention: list[AttentionMap] = Field(description="one for each tag, if requested")
    timing_ms: dict[str, float] = Field(description="decode, preprocess, inference, head and total")


class PlanModel(BaseModel):
    """The plan in use, and how far its deployment is."""

    model: Text
    plan: str = Field(description="SHA-256 of the plan, as in the results")
    state: Literal["in use", "loading", "probation"] = Field(
        description="loading: another plan is loaded and tested; probation: it returns to the previous plan if it fails"
    )
    reason: Text = Field(
        description="why the last change was refused or undone; empty if it was not"
    )


class PlanChange(RequestModel):
    """Which plan to load."""

    plan: Annotated[str, Field(min_length=1, max_length=4096)] | None = Field(
        default=None,
        description="absolute path of a plan or its folder on the server's machine, or the name of a model; null: the "
        "plan that the site file names now",
        examples=[None],
    )


class LabelModel(BaseModel):
    """A label, the score at or above which it is a tag, and where this threshold comes from."""

    label: Text
    threshold: Score
    source: Text = Field(
        description="such as `of the plan`, `set for the site`, `proven by 72 answers`"
    )


class LabelsModel(BaseModel):
    """The labels of the model."""

    model: Text
    labels: list[LabelModel]


class SettingModel(LabelModel):
    """A label's threshold, the plan's for the cameras' tiles, and whether its events are reported."""

    plan_threshold: Score
    reported: bool


class SettingsModel(BaseModel):
    """The thresholds and the labels of events."""

    labels: list[SettingModel]
    state_file: Text | None = Field(
        description="path of the file that keeps changes; null: they hold until the end"
    )
    own_labels: list[str] = Field(
        description="cameras whose own `labels` in the site file take precedence"
    )
    denied: dict[Text, list[Text]] = Field(
        description="by camera, the labels that it does not report"
    )


class SettingsChange(RequestModel):
    """A change of some settings; all other settings stay."""

    thresholds: dict[str, Annotated[float, Field(ge=0, le=1, strict=True)]] = Field(
        default_factory=dict,
        description="new thresholds of some labels",
        examples=[{"person": 0.7}],
    )
    labels: list[str] | None = Field(
        default=None,
        description="report the events of these labels only; null: no change",
        examples=[None],
    )


class DeniedChange(RequestModel):
    """Which labels a camera does not report."""

    labels: list[str] = Field(
        max_length=10_000, description="all of them", examples=[["cell phone"]]
    )


class ExampleChoice(RequestModel):
    """A frame of a camera as an example of a label."""

    camera: str = Field(max_length=64, examples=["door"])
    label: str = Field(min_length=1, max_length=1000, examples=["my mug"])
    shows: bool = Field(
        alias="is", description="whether the frame shows the label", examples=[True]
    )
    time: float | None = Field(
        default=None, description="of a frame that a browser shows; null: the newest frame"
    )
    event: str | None = Field(
        default=None, max_length=64, description="id of an event: the frame of its highest score"
    )


class ExampleModel(BaseModel):
    """A frame that was picked for a label, and the label's score then; null: there was no such label."""

    camera: Text
    time: Moment
    shows: bool = Field(serialization_alias="is")
    score: Score | None


class ExamplesModel(BaseModel):
    """The examples of a label, in the order in which they were picked. Another plan begins without any."""

    label: Text
    positives: int = Field(description="frames that show it")
    negatives: int = Field(description="frames that do not")
    taught: bool = Field(
        description="whether the label bank has it from teaching, so that it can be forgotten"
    )
    teachable: bool = Field(description="whether POST /v1/teach can learn it now")
    bank_file: BankFile
    examples: list[ExampleModel]


class TeachRequest(RequestModel):
    """Which label to learn from its examples."""

    label: str = Field(min_length=1, max_length=1000, examples=["my mug"])
    replace: bool = Field(
        default=False, description="also if the label bank has it, other than from this server"
    )


class WordRequest(RequestModel):
    """Which word to use as a label."""

    label: str = Field(min_length=1, max_length=1000, examples=["espresso"])


class WordModel(BaseModel):
    """What stands for a word."""

    label: Text
    grade: Literal["class", "caption", "doubtful", "unknown"]
    expected: dict[str, dict[str, tuple[int, int, int]]] | None = Field(
        description="by operating point, the percentage of tags that are right and of photos that are found: the "
        "mean and the interval of 95 % of the words of this grade; of a word learned from captions, its own"
    )
    concepts: dict[Text, Score] = Field(
        description="ImageNet's classes that it is most similar to, and their shares; "
        "none of a word that was learned from captions"
    )
    labels: list[Text] = Field(description="all labels in use")
    bank_file: BankFile


class MistakeModel(BaseModel):
    """An example that cross-validation gets wrong."""

    example: Text = Field(description="camera and time", validation_alias="file")
    kind: Literal["missed", "added"]
    score: Score


class TaughtModel(BaseModel):
    """What was learned. Measures are in percent, by cross-validation; null: there are too few examples."""

    label: Text
    positives: int
    negatives: int
    threshold: Score = Field(description="of the operating point f1")
    precise_threshold: Score = Field(description="of the operating point precise")
    precision: float | None
    recall: float | None
    precision_interval: tuple[float, float] | None = Field(
        description="of 1,000 other photos, in 95 of 100 cases"
    )
    recall_interval: tuple[float, float] | None
    prevalence: float = Field(
        description="share of frames with the label for which precision and thresholds hold"
    )
    advice: Text = Field(description="what would improve the label most")
    average_precision: float | None
    mistakes: list[MistakeModel] = Field(description="the worst first")
    harmful: Text | None = Field(
        description="camera and time of the example that hurts the label most; null if none does"
    )
    labels: list[Text] = Field(description="all labels in use")
    bank_file: BankFile


class EventModel(BaseModel):
    """A label appeared at a camera, or disappeared. docs/events.md describes the fields."""

    event: Literal["on", "off"]
    id: str
    camera: Text
    label: Text
    time: Moment
    score: Score
    peak: Score
    peak_time: Moment
    start: Moment
    end: Moment | None = None
    duration: float | None = Field(default=None, description="seconds; only in `off`")
    reason: Text | None = None
    snapshot: Text | None = None
    region: Text | None = None
    group: Text | None = None
    health: Text | None = None


class EventsModel(BaseModel):
    """Events, oldest first."""

    events: list[EventModel]


class CameraModel(BaseModel):
    """A camera: its state, its statistics since the start, and its current tags."""

    name: Text
    uri: Text = Field(description="without credentials")
    state: Literal["starting", "live", "paused", "lost", "ended"]
    reason: Text = Field(description="why it is paused, lost or has ended")
    width: int | None
    height: int | None
    fps: float = Field(description="captured frames per second, over the last few seconds")
    captured: int
    tagged: int
    tiles: int = Field(description="frames tagged, each counted with its tiles")
    computed: int = Field(description="how many of these did not keep their scores")
    dropped: int
    late: int
    failed: int
    reconnects: int
    decode_errors: int
    age_p50: float | None = Field(description="seconds from capture to result")
    age_p99: float | None
    tags: list[TagModel] = Field(description="tags of the newest frame; empty if there is none")


class CamerasModel(BaseModel):
    """All cameras, in the order of the configuration."""

    cameras: list[CameraModel]


class RegionModel(RequestModel):
    """A polygon of a camera's frame that is tagged by itself, or excluded."""

    polygon: list[list[float]] = Field(
        description="corners (x, y) as fractions of width and height"
    )
    exclude: bool = Field(default=False, description="mask it in all that is tagged")


class RegionsChange(RequestModel):
    """All regions of a camera, by name; a region that stays keeps its labels, thresholds and hours."""

    regions: dict[Name, RegionModel] = Field(
        max_length=100,
        examples=[{"gate": {"polygon": [[0, 0.5], [1, 0.5], [1, 1]], "exclude": False}}],
    )


class HealthModel(BaseModel):
    """The result of a health check, with the reason of a failure.

    ``cameras``: in ``/healthz``, the state of each camera that is ``lost``, or ``live`` without results for 30 seconds;
    in ``/readyz``, that of each camera that was not tried yet.
    """

    status: Literal["ok", "failing"]
    reason: Text
    cameras: dict[Text, str]
