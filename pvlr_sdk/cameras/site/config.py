"""The configuration of a site: one YAML file, every key checked."""

from __future__ import annotations

import functools
import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, Union

from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from ..._util.validation import did_you_mean, expected, joined, written
from ...bundle.schema import OperatingPoint, PlanPrecision
from ...errors import ConfigError
from ...labels.tree import LabelTree
from ...models.catalogue import is_model
from ..events import EventSettings
from ..events.settings import MOST_PER_HOUR
from ..memory.sink import MemoryConfig
from ..sinks import SINKS
from ..sinks.settings import ConfigPath, FrameSinkSettings, Name, Positive, Section, SinkSettings
from .camera_config import CameraConfig, Score, TimeZone
from .yaml_file import read_yaml

_VARIABLE = re.compile(r"\$(?:\$|([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})")
_HINT = "pvlr_sdk/cameras/site/site.yaml lists all keys."
_REMOVED = {
    ("stream", "window"): "it is 5 ms",
    ("metrics", "otlp"): "Prometheus and its collectors read /metrics",
    ("metrics", "interval"): "it belonged to otlp",
    ("deploy", "max_slowdown"): "compare plans with pvlr bench before",
    ("deploy", "min_agreement"): "compare plans with pvlr eval before",
    ("deploy", "sequential"): "set plan: and restart instead",
}
"""Keys of version 0.2, ignored with a warning until 0.4 (docs/stability.md), and what replaces each."""
_log = logging.getLogger(__name__)


def _no_switch(raw: Any) -> Any:
    if isinstance(raw, bool):  # pydantic reads it as 0 or 1
        raise ValueError("a number")
    return raw


Port = Annotated[int, Field(ge=0, le=65535), BeforeValidator(_no_switch)]
Seconds = Annotated[float, Field(ge=0, le=1e6)]


class WhenConfig(Section):
    """What other labels the events of a label need: see :class:`pvlr_sdk.cameras.events.When`."""

    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    within: Seconds


class EventsConfig(Section):
    """How scores become events: see :class:`pvlr_sdk.cameras.events.EventSettings`.

    ``threshold`` replaces the plan's thresholds of all labels, ``thresholds`` of some labels.
    ``snapshots`` is a folder for a JPEG of the frame that started each event; it is kept below ``snapshots_mb``.
    """

    smoothing: Seconds = EventSettings.smoothing
    margin: Score = EventSettings.margin
    min_duration: Seconds = EventSettings.min_duration
    min_gap: Seconds = EventSettings.min_gap
    cooldown: Seconds = EventSettings.cooldown
    max_per_hour: (
        Annotated[int, Field(ge=1, le=MOST_PER_HOUR), BeforeValidator(_no_switch)] | None
    ) = None
    when: dict[str, WhenConfig] = Field(default_factory=dict)
    groups: dict[Name, tuple[str, ...]] = Field(default_factory=dict)
    threshold: Score | None = None
    thresholds: dict[str, Score] = Field(default_factory=dict)
    off_thresholds: dict[str, Score] = Field(default_factory=dict)
    labels: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    snapshots: ConfigPath | None = None
    snapshots_mb: Positive = 1000.0


class StreamConfig(Section):
    """The loop: see :class:`pvlr_sdk.Stream`."""

    staleness: Seconds = 0.5
    every_frame: bool = False


class LabelStudioConfig(Section):
    """Answer as an ML backend of Label Studio. ``url``: of Label Studio, whose uploads are fetched with its access
    ``token``; None: images are data URLs."""

    url: str | None = None
    token: str | None = Field(default=None, repr=False)


class ServeConfig(Section):
    """Where ``pvlr serve`` listens, and for whom; ``pvlr watch`` ignores it.

    Attributes:
        host: the address to bind. Any other than a loopback address requires a token.
        port: 0 selects a free one.
        token: the token that each request must contain; None: no token.
        token_file: a file with tokens by name, instead of ``token``; it is read again when it changes, see
            :class:`pvlr_sdk.cameras.serve.server.tokens.Tokens`.
        names: names of this machine that browsers may use, besides ``localhost``, its host name and IP addresses.
        tls_cert, tls_key: PEM files that enable https.
        probe_port: the port of a second listener that has ``/healthz`` and ``/readyz`` alone, without TLS; 0 selects a
            free one, None: no such listener.
        max_connections: maximum number of open connections.
        max_connections_per_address: maximum number of connections from one address.
        audit_log: a file that records sign-ins and changes as JSON lines; None: they are only logged.
        galleries: also answer as PhotoPrism's vision API, Ollama and OpenAI, see ``docs/integrations.md``.
        open_inference: also answer the Open Inference Protocol of KServe and Triton.
        label_studio: also answer as an ML backend of Label Studio; None: do not.
    """

    host: str = "127.0.0.1"
    port: Port = 8000
    token: str | None = Field(default=None, repr=False)
    token_file: ConfigPath | None = None
    names: tuple[str, ...] = ()
    tls_cert: ConfigPath | None = None
    tls_key: ConfigPath | None = None
    probe_port: Port | None = None
    max_connections: Annotated[int, Field(ge=8, le=10_000)] = 256
    max_connections_per_address: Annotated[int, Field(ge=4, le=10_000)] = 128
    audit_log: ConfigPath | None = None
    galleries: bool = False
    open_inference: bool = False
    label_studio: LabelStudioConfig | None = None


class MetricsConfig(Section):
    """Where ``pvlr watch`` answers Prometheus; ``pvlr serve`` ignores it and has ``/metrics`` on its own port."""

    host: str = "127.0.0.1"
    port: Port | None = None


if TYPE_CHECKING:
    SinkConfig: TypeAlias = SinkSettings
else:
    SinkConfig = Annotated[Union[SINKS], Field(discriminator="kind")]  # noqa: UP007


def _uri_alone(raw: Any) -> Any:
    return {"uri": str(raw)} if isinstance(raw, (str, int)) else raw


class DeployConfig(Section):
    """How another plan replaces the running one: see docs/update.md.

    ``probation``: seconds in which errors of the new plan bring the previous one back; 0: none.
    """

    probation: Annotated[float, Field(ge=0, le=86400)] = 30.0


class SiteConfig(Section):
    """A whole site. ``plan`` defaults to the bundled model; a camera may be just its URI; ``pvlr serve`` needs none.

    ``bank``: a label bank that an open plan uses instead of its own; ``words``: its labels, instead of a bank.
    ``timezone``: of the schedules, such as ``Europe/Berlin``; None: the system's.
    ``operating_point`` selects the thresholds of the plan, which those of ``events`` replace.
    ``names``: parents, synonyms and names of labels; ``language``: of what is shown of them (``docs/tree.md``).
    ``memory``: where and how much is remembered of events (``docs/memory.md``); None: nothing.
    ``health``: report cameras that are covered, turned, out of focus, frozen or dark (``docs/events.md``).

    ``previous_plan``: what a rollback returns to before the first deployment; earlier versions wrote it.
    ``allow_unsigned``: load a TensorRT plan, which is code, without a verified signature; False: only if
    ``PVLR_ALLOW_UNSIGNED`` is 1. ``trust``: refuse a plan that no key of this folder has signed; None: as
    ``PVLR_TRUST`` says.
    """

    plan: ConfigPath | None = None
    previous_plan: ConfigPath | None = None
    bank: ConfigPath | None = None
    words: tuple[str, ...] | None = None
    device: str = "auto"
    precision: PlanPrecision | None = None
    threads: Annotated[int, Field(ge=1, le=1024), BeforeValidator(_no_switch)] | None = None
    operating_point: OperatingPoint = "precise"
    allow_unsigned: bool = False
    trust: ConfigPath | None = None
    timezone: TimeZone = None
    names: ConfigPath | None = None
    language: str | None = None
    cameras: dict[Name, Annotated[CameraConfig, BeforeValidator(_uri_alone)]] = Field(
        default_factory=dict
    )
    events: EventsConfig = Field(default_factory=EventsConfig)
    stream: StreamConfig = Field(default_factory=StreamConfig)
    sinks: tuple[SinkConfig, ...] = ()
    memory: MemoryConfig | None = None
    health: bool = False
    serve: ServeConfig = Field(default_factory=ServeConfig)
    metrics: MetricsConfig = Field(default_factory=MetricsConfig)
    deploy: DeployConfig = Field(default_factory=DeployConfig)

    @model_validator(mode="after")
    def _sinks_have_cameras(self) -> SiteConfig:
        for number, sink in enumerate(self.sinks):
            for position, name in enumerate(
                (isinstance(sink, FrameSinkSettings) and sink.cameras) or ()
            ):
                if name not in self.cameras:
                    place = ("sinks", number, "cameras", position)
                    raise PydanticCustomError(
                        "unknown_camera", "A camera of this site", {"place": place}
                    )
        return self

    @model_validator(mode="after")
    def _words_or_bank(self) -> SiteConfig:
        # what the page teaches is kept in the bank
        if self.words is not None and self.bank is not None:
            raise PydanticCustomError(
                "words_and_bank", "words or bank, not both", {"place": ("words",)}
            )
        return self

    @functools.cached_property
    def tree(self) -> LabelTree:
        """The parents, synonyms and names of labels. Raises ConfigError, and OptionError without that language."""
        tree = LabelTree.load(self.names)
        tree.checked(self.language)
        return tree

    def shown(self, label: str) -> str:
        """The name of a label in the language of the site."""
        return self.tree.name(label, self.language or "")

    @field_validator("plan", "previous_plan", mode="wrap")
    @classmethod
    def _plan_by_name(
        cls, raw: Any, beside_the_config: ValidatorFunctionWrapHandler
    ) -> Path | None:
        path = beside_the_config(raw)
        return Path(raw) if path and is_model(raw) and not path.exists() else path

    @classmethod
    def parse(cls, raw: Any, *, source: str, folder: Path | None = None) -> SiteConfig:
        """Check a configuration given as plain mappings and lists; ``$NAME`` in a string is an environment variable.

        Args:
            source: its name in messages.
            folder: the folder of relative paths; None: the working directory.

        Raises:
            ConfigError: names the key that is unknown or invalid, and never shows values of environment variables.
        """
        found: dict[tuple[str, ...], ConfigError] = {}
        expanded = _expand(raw, (), source, found)
        _drop_removed(expanded, source)
        keys = dict[int, list[str]]()
        try:
            config = cls.model_validate(
                expanded, context={"folder": folder or Path(), "keys": keys}
            )
        except ValidationError as error:
            for problem in error.errors(include_url=False):
                place, explained = _explained(problem, raw, expanded, keys, source)
                found.setdefault(place, explained)
            hints = {(*place[:-1], problem.hint) for place, problem in found.items()}
            for place in [place for place, problem in found.items() if problem.got == "nothing"]:
                if (
                    *place[:-1],
                    f"Did you mean {place[-1]!r}?",
                ) in hints:  # missing because it is misspelled
                    del found[place]
        if found:
            raise joined(list(found.values()))
        return config


def load_config(path: str | os.PathLike[str]) -> SiteConfig:
    """Read a site from a YAML file; relative paths in it are relative to its folder.

    Raises:
        ConfigError: the file does not exist, is not YAML, or has an unknown or invalid key.
        MissingPartError: ruamel.yaml is not installed.
    """
    return SiteConfig.parse(read_yaml(path), source=str(path), folder=Path(path).parent)


def _explained(
    problem: ErrorDetails, raw: Any, expanded: Any, known: Mapping[int, list[str]], source: str
) -> tuple[tuple[str, ...], ConfigError]:
    """Where an error of pydantic is, and the error for it; ``known`` are the keys of each mapping in ``expanded``."""
    kind = problem["type"]
    location = problem.get("ctx", {}).get("place", problem["loc"])
    keys, value = written(
        raw, location, keep_last=kind in ("missing", "extra_forbidden", "invalid_key")
    )
    # the key is what is wrong, not its value
    if location[-1:] == ("[key]",) or kind == "invalid_key":
        value = keys[-1]
    wanted = expected(problem)
    got = "nothing" if kind == "missing" else repr(value)
    hint = _HINT
    if kind == "extra_forbidden":
        # None below a key that is no text
        names = known.get(id(written(expanded, location[:-1], keep_last=False)[1]))
        got = repr(keys[-1])
        hint = _closest(keys[-1], names) if names else hint
        if len(keys) > 1 and keys[-1] in SiteConfig.model_fields:
            hint = f"{keys[-1]} is a key of the file's top level."
    elif kind == "unknown_camera":
        hint = _closest(str(value), list(raw["cameras"]))
    elif kind in ("union_tag_invalid", "union_tag_not_found"):
        # Not the context's tag: it may be the value of an environment variable.
        kinds = [str(sink.model_fields["kind"].default) for sink in SINKS]
        tag = value.get("kind")
        keys = [*keys, "kind"]
        wanted = f"one of {', '.join(kinds)}"
        got = "nothing" if tag is None else repr(tag)
        hint = _closest(str(tag), kinds)
    place = ".".join(keys) or "top level"
    return tuple(keys), ConfigError(f"{source}: {place}", wanted, got, hint)


def _drop_removed(raw: Any, source: str) -> None:
    """Remove the keys that a version has removed, each with a warning."""
    for (section, key), instead in _REMOVED.items():
        values = raw.get(section) if isinstance(raw, dict) else None
        if isinstance(values, dict) and key in values:
            del values[key]
            _log.warning("%s: %s.%s has no effect any more: %s.", source, section, key, instead)


def _closest(name: str, known: Sequence[str]) -> str:
    return did_you_mean(name, known, 1) or f"Known here: {', '.join(known)}."


def _expand(
    value: Any, keys: tuple[str, ...], source: str, unset: dict[tuple[str, ...], ConfigError]
) -> Any:
    """A copy of nested mappings and lists with ``$NAME`` and ``${NAME}`` in strings replaced; ``$$`` is a dollar.

    Variables that are not set are added to ``unset``.
    """
    if isinstance(value, dict):
        return {
            name: _expand(item, (*keys, str(name)), source, unset) for name, item in value.items()
        }
    if isinstance(value, list):
        return [
            _expand(item, (*keys, str(position)), source, unset)
            for position, item in enumerate(value)
        ]
    if not isinstance(value, str):
        return value

    def replaced(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name is None:
            return "$"
        if name not in os.environ:
            wanted = "an environment variable that is set"
            hint = f"export {name}=... first."
            unset[keys] = ConfigError(f"{source}: {'.'.join(keys)}", wanted, f"${name}", hint)
        return os.environ.get(name, "")

    return _VARIABLE.sub(replaced, value)
