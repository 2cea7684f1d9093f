"""The configuration of a site: one YAML file, every key checked."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from ..errors import ConfigError, MissingPartError
from .environment import expand


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _suggest(cls, raw: Any) -> Any:
        """Name the key that was probably meant, where pydantic would only say that there is no such key."""
        if isinstance(raw, dict):
            for key in raw:
                if key not in cls.model_fields:
                    raise PydanticCustomError(
                        "unknown_key", "unknown key", {"key": str(key), "known": list(cls.model_fields)}
                    )
        return raw


def _beside_the_config(path: Path, info: ValidationInfo) -> Path:
    return (info.context or {}).get("folder", Path()) / path.expanduser()


Place = Annotated[Path, AfterValidator(_beside_the_config)]
"""A path; a relative one starts at the folder of the configuration file."""
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$", max_length=64)]
"""What may stand in a topic, a URL and a file name."""
Score = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]


class CameraConfig(_Strict):
    """One camera: see :class:`pvlr_sdk.Camera`. ``region`` is left, top, width and height as fractions of the picture;
    ``labels`` and ``deny`` replace those of ``events`` for this camera."""

    uri: str = Field(repr=False)
    transport: Literal["tcp", "udp"] = "tcp"
    timeout: Annotated[float, Field(gt=0)] = 5.0
    loop: bool = False
    region: tuple[Score, Score, Score, Score] | None = None
    labels: tuple[str, ...] | None = None
    deny: tuple[str, ...] | None = None


class EventsConfig(_Strict):
    """How scores become events: see :class:`pvlr_sdk.events.EventSettings`.

    ``snapshots`` is a folder for a JPEG of the frame that turned an event on; it is kept below ``snapshots_mb``.
    """

    smoothing: Seconds = 0.5
    margin: Score = 0.1
    min_duration: Seconds = 0.5
    min_gap: Seconds = 0.0
    thresholds: dict[str, Score] = {}
    off_thresholds: dict[str, Score] = {}
    labels: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    snapshots: Place | None = None
    snapshots_mb: Annotated[float, Field(gt=0)] = 1000.0


class StreamConfig(_Strict):
    """The loop: a result older than ``staleness`` seconds counts as late; the frames of several cameras are tagged
    together if they come within ``window`` seconds; ``every_frame`` of a file, not the newest only."""

    staleness: Seconds = 0.5
    window: Seconds = 0.005
    every_frame: bool = False


class JsonlConfig(_Strict):
    """One JSON object a line. ``path`` ``-`` is stdout; a file is rotated at ``max_mb``, and ``keep`` old ones stay."""

    kind: Literal["jsonl"]
    path: Literal["-"] | Place = Field(union_mode="left_to_right")
    max_mb: Annotated[float, Field(gt=0)] | None = None
    keep: Annotated[int, Field(ge=0)] = 5


class SqliteConfig(_Strict):
    """One row an event in the table ``events`` of an SQLite file."""

    kind: Literal["sqlite"]
    path: Place


class _Spooled(_Strict):
    """``queue`` is the file where events wait, at most ``capacity`` of them."""

    queue: Place | None = None
    capacity: Annotated[int, Field(ge=2)] = 100_000


class MqttConfig(_Spooled):
    """A broker, as ``mqtt://HOST[:PORT]`` or ``mqtts://...``; events go to ``PREFIX/CAMERA/events``.

    ``ca`` is a file with the certificates to trust in place of the system's; ``cert`` and ``key`` are this device's
    own. ``discovery`` announces a binary sensor for each camera and label to Home Assistant.
    """

    kind: Literal["mqtt"]
    url: str = Field(repr=False)
    user: str | None = None
    password: SecretStr | None = None
    ca: Place | None = None
    cert: Place | None = None
    key: Place | None = None
    client_id: str | None = None
    prefix: str = "pvlr"
    discovery: bool = False


class WebhookConfig(_Spooled):
    """A web server that gets a POST for each notice, signed with ``secret`` (Standard Webhooks)."""

    kind: Literal["webhook"]
    url: str = Field(repr=False)
    secret: SecretStr | None = None
    headers: dict[str, SecretStr] = {}
    timeout: Annotated[float, Field(gt=0)] = 10.0


class VideoConfig(_Strict):
    """Annotated video of the cameras (all, or those in ``cameras``), a new file every ``minutes``; the files of a
    camera are kept below ``max_mb``."""

    kind: Literal["video"]
    folder: Place
    cameras: tuple[Name, ...] | None = None
    minutes: Annotated[float, Field(gt=0)] = 10.0
    max_mb: Annotated[float, Field(gt=0)] = 10_000.0


class ServeConfig(_Strict):
    """Where ``pvlr serve`` listens: see :class:`pvlr_sdk.serve.ServeSettings`. ``pvlr watch`` takes no notice of it."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    token: SecretStr | None = None
    names: tuple[str, ...] = ()
    tls_cert: Place | None = None
    tls_key: Place | None = None


EventSinkConfig: TypeAlias = JsonlConfig | SqliteConfig | MqttConfig | WebhookConfig
SinkConfig = Annotated[EventSinkConfig | VideoConfig, Field(discriminator="kind")]


def _uri_alone(raw: Any) -> Any:
    return {"uri": str(raw)} if isinstance(raw, (str, int)) else raw


class SiteConfig(_Strict):
    """A whole site. ``plan`` is the bundled model if left out; a camera may be just its URI."""

    plan: Place | None = None
    device: str = "auto"
    precision: str | None = None
    threads: Annotated[int, Field(ge=1)] | None = None
    cameras: dict[Name, Annotated[CameraConfig, BeforeValidator(_uri_alone)]] = Field(min_length=1)
    events: EventsConfig = EventsConfig()
    stream: StreamConfig = StreamConfig()
    sinks: tuple[SinkConfig, ...] = ()
    serve: ServeConfig = ServeConfig()

    @model_validator(mode="after")
    def _videos_have_cameras(self) -> SiteConfig:
        for sink in self.sinks:
            for name in (isinstance(sink, VideoConfig) and sink.cameras) or ():
                if name not in self.cameras:
                    raise ValueError(f"cameras of this site in a video, not {name!r}")
        return self

    @classmethod
    def parse(cls, raw: Any, *, source: str, folder: Path | None = None) -> SiteConfig:
        """Check a configuration given as plain mappings and lists; ``$NAME`` in a text is that environment variable.

        Args:
            source: what to call it in messages.
            folder: where relative paths start; None: the working directory.

        Raises:
            ConfigError: names the key that is unknown or wrong. Values of environment variables never show.
        """
        try:
            return cls.model_validate(expand(raw, source), context={"folder": folder or Path()})
        except ValidationError as error:
            raise _explained(error, raw, source) from None


def load_config(path: str | os.PathLike[str]) -> SiteConfig:
    """Read a site from a YAML file; relative paths in it start at its folder.

    Raises:
        ConfigError: no such file, no YAML, or a key in it is unknown or wrong.
        MissingPartError: PyYAML is not installed.
    """
    return SiteConfig.parse(read_yaml(path), source=str(path), folder=Path(path).parent)


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The mapping in a YAML file, unchecked; raises what :func:`load_config` does."""
    try:
        import yaml
    except ImportError:
        raise MissingPartError(
            "config", expected="the package PyYAML", got="none", hint='Install it with pip install "pvlr-sdk[cameras]".'
        ) from None
    try:
        raw = yaml.safe_load(Path(path).read_bytes())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        got = " ".join(str(error).split())
        raise ConfigError(str(path), expected="a YAML file", got=got, hint="See docs/events.md.") from None
    if not isinstance(raw, dict):
        got = type(raw).__name__
        raise ConfigError(str(path), expected="a mapping of keys", got=got, hint="See docs/events.md.")
    return raw


def _explained(error: ValidationError, raw: Any, source: str) -> ConfigError:
    first = error.errors(include_url=False)[0]
    kind, context = first["type"], first.get("ctx", {})
    keys, written = _written_keys(raw, first["loc"], missing=kind == "missing")
    expected, got, hint = first["msg"][0].lower() + first["msg"][1:], repr(written), "See docs/events.md."
    if kind == "missing":
        expected, got = "a value", "nothing"
    elif kind == "unknown_key":
        keys, expected, got = [*keys, context["key"]], "a known key", repr(context["key"])
        hint = _closest(context["key"], context["known"])
    elif kind == "union_tag_invalid":
        # Not the context's tag: it may be the value of an environment variable.
        known, tag = context["expected_tags"].replace("'", "").split(", "), str(written["kind"])
        keys, expected, got = [*keys, "kind"], f"one of {', '.join(known)}", repr(tag)
        hint = _closest(tag, known)
    return ConfigError(f"{source}: {'.'.join(keys) or 'the whole'}", expected=expected, got=got, hint=hint)


def _closest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f"Did you mean {close[0]!r}?" if close else f"Possible here: {', '.join(known)}."


def _written_keys(raw: Any, location: tuple[int | str, ...], *, missing: bool) -> tuple[list[str], Any]:
    """The keys that lead to a value, without what pydantic puts between them, and the value as it is written.

    ``missing``: the last key is one that isn't written but should be.
    """
    keys = []
    for position, part in enumerate(location):
        try:
            raw = raw[part]
        except (KeyError, TypeError, IndexError):
            if not (missing and position == len(location) - 1):
                continue
        keys.append(str(part))
    return keys, raw
