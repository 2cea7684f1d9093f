"""The section of a camera, and of its regions, in the configuration of a site."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator

from ...errors import OptionError, SourceUriError
from ...frames.tiles import Tiles, check_tiles
from ..sinks.settings import ConfigPath, Name, Section, Timeout, beside_the_file
from ..sources import parse_uri
from ..sources.source import Transport
from ..sources.uri import PathUri
from ..stream.camera import check_parts
from ..stream.regions import Polygon, check_polygon
from ..stream.schedule import Schedule


def checked(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A validator that returns what a function returns, and names what its OptionError expected."""

    def validate(raw: Any) -> Any:
        try:
            return check(raw)
        except OptionError as error:
            raise ValueError(error.expected) from None

    return validate


def _path_beside_the_file(uri: str, info: ValidationInfo) -> str:
    try:
        source = parse_uri(uri)
    except SourceUriError:  # raised where the camera is used, without what may be credentials
        return uri
    return str(beside_the_file(Path(source.path), info)) if isinstance(source, PathUri) else uri


Uri = Annotated[str, AfterValidator(_path_beside_the_file)]
Score = Annotated[float, Field(ge=0, le=1)]
TilesConfig = Annotated[Tiles | None, BeforeValidator(checked(check_tiles))]
Hours = (
    Annotated[tuple[str, ...], AfterValidator(checked(lambda hours: Schedule(hours).hours))] | None
)
TimeZone = Annotated[
    str | None, AfterValidator(checked(lambda name: Schedule(("00:00-24:00",), name).timezone))
]


class RegionConfig(Section):
    """A region of a camera: see :class:`pvlr_sdk.cameras.stream.Region`.

    ``labels`` and ``schedule`` replace the camera's, ``thresholds`` the thresholds of some labels.
    """

    polygon: Annotated[Polygon, BeforeValidator(checked(check_polygon))]
    exclude: bool = False
    labels: tuple[str, ...] | None = None
    thresholds: dict[str, Score] = Field(default_factory=dict)
    schedule: Hours = None


class CameraConfig(Section):
    """One camera: see :class:`pvlr_sdk.Camera`. ``labels`` and ``deny`` replace the site's for this camera.

    ``regions``: polygons by name, instead of ``region``. ``schedule``: hours such as ``mon-fri 08:00-18:00``.
    ``enabled: false``: its frames are read, but not tagged.
    """

    uri: Uri = Field(repr=False)
    transport: Transport = "tcp"
    timeout: Timeout = 5.0
    loop: bool = False
    ca: ConfigPath | None = None
    insecure: bool = False
    max_pixels: Annotated[int, Field(gt=0, le=2**28)] | None = None
    region: tuple[Score, Score, Score, Score] | None = None
    regions: dict[Name, RegionConfig] = Field(default_factory=dict)
    tiles: TilesConfig = None
    refresh: Annotated[float, Field(gt=0, le=1e6)] | None = None
    labels: tuple[str, ...] | None = None
    deny: tuple[str, ...] | None = None
    schedule: Hours = None
    enabled: bool = True

    @model_validator(mode="after")
    def _check_parts(self) -> CameraConfig:
        try:
            check_parts(self.regions, self.tiles)
        except OptionError as error:
            raise ValueError(f"{error.expected}, not {error.got}") from None
        return self
