"""What each sink declares: its section of the configuration, and how it is checked and opened."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    model_validator,
)

from ..._util.files import state_folder
from ..events import Event
from .queues import DiskQueue
from .worker import SinkWorker, SiteStatus

if TYPE_CHECKING:
    from ..stream import Observation


def beside_the_file(path: Path, info: ValidationInfo) -> Path:
    """A relative path is relative to the folder of the configuration file; ``~`` is the user's home."""
    try:
        return (info.context or {}).get("folder", Path()) / path.expanduser()
    except RuntimeError:
        raise ValueError("a path of an existing user") from None


def _not_empty(raw: object) -> object:
    # as of an empty environment variable; it would be the folder of the configuration file
    if raw == "":
        raise ValueError("a path, not an empty text")
    if "\0" in str(raw):
        raise ValueError("a path without a zero byte")
    return raw


ConfigPath = Annotated[Path, BeforeValidator(_not_empty), AfterValidator(beside_the_file)]
"""A path, relative to the folder of the configuration file."""
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*$", max_length=64)]
"""A name that is valid in a topic, a URL and a file name; not ``..``, and not a hidden file's."""
Positive = Annotated[float, Field(gt=0, le=1e9)]
Timeout = Annotated[float, Field(gt=0, le=3600)]
"""Seconds that the operating system can wait for."""


class Section(BaseModel):
    """A section of the configuration that rejects unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _remember_keys(cls, raw: Any, info: ValidationInfo) -> Any:
        """Which keys a mapping may have, so that one can be suggested instead of an unknown key."""
        if info.context:
            info.context["keys"][id(raw)] = list(cls.model_fields)
        return raw


class SinkSettings(Section):
    """The section of one sink, of events or of frames. ``kind`` is its key in the configuration."""

    kind: str

    def check(self) -> None:
        """Check without opening a file or a connection. Raises OptionError or MissingPartError."""


class EventSinkSettings(SinkSettings):
    def open(self, site: SiteStatus) -> SinkWorker[Event]:
        """Open the sink and start its worker; ``site``: see :class:`SiteStatus`.

        Raises:
            OutputError, OptionError, MissingPartError: it cannot be opened.
        """
        raise NotImplementedError


class FrameSinkSettings(SinkSettings):
    """A sink of tagged frames, opened for each of ``cameras`` (None: all)."""

    cameras: tuple[Name, ...] | None = None

    def open(self, camera: str) -> SinkWorker[Observation]:
        """Open the sink of one camera; see :meth:`EventSinkSettings.open`."""
        raise NotImplementedError


class QueuedSettings(EventSinkSettings):
    """A remote sink: at most ``capacity`` events wait for it, with a copy in the file ``queue``."""

    url: str = Field(repr=False)
    queue: ConfigPath | None = None
    capacity: Annotated[int, Field(ge=2)] = 100_000

    def open_queue(self) -> DiskQueue:
        """The queue; by default a file in the state folder, named after the URL."""
        path = self.queue
        if path is None:
            target = hashlib.sha256(self.url.encode()).hexdigest()[:12]
            path = state_folder() / "queues" / f"{self.kind}-{target}.sqlite"
        return DiskQueue(path, self.capacity)
