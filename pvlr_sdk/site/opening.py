"""From the configuration of a sink to the sink."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ..events import Event
from ..sinks import DiskQueue, MemoryQueue, SinkWorker, SpooledWorker
from .config import EventSinkConfig, JsonlConfig, MqttConfig, SiteConfig, SqliteConfig, VideoConfig, WebhookConfig

if TYPE_CHECKING:
    from ..sinks.mqtt import MqttSettings
    from ..sinks.webhook import WebhookSink
    from ..stream import Observation

EventWorker: TypeAlias = "SinkWorker[Event] | SpooledWorker"
Videos: TypeAlias = "dict[str, list[SinkWorker[Observation]]]"

_FRAMES_WAITING = 4


def open_sinks(config: SiteConfig, labels: Mapping[str, Sequence[str]]) -> tuple[list[EventWorker], Videos]:
    """The running sinks of a site: those of events, and for each camera those of frames.

    ``labels`` are the labels that each camera can report.

    Raises:
        OutputError, MissingPartError, ConfigError: one can't be opened; none stays open then.
    """
    events: list[EventWorker] = []
    videos: Videos = {}
    try:
        for sink in config.sinks:
            if isinstance(sink, VideoConfig):
                for camera in sink.cameras or config.cameras:
                    videos.setdefault(camera, []).append(_video(sink, camera))
            else:
                events.append(_open(sink, labels))
    except BaseException:
        for worker in [*events, *(worker for workers in videos.values() for worker in workers)]:
            worker.close(0.0)
        raise
    return events, videos


def _open(config: EventSinkConfig, labels: Mapping[str, Sequence[str]]) -> EventWorker:
    if isinstance(config, JsonlConfig):
        from ..sinks.jsonl import JsonlFile, JsonlStream, RotatingJsonl

        if isinstance(config.path, str):
            return SinkWorker(JsonlStream(), MemoryQueue[Event]())
        if config.max_mb is None:
            return SinkWorker(JsonlFile(config.path), MemoryQueue[Event]())
        return SinkWorker(RotatingJsonl(config.path, int(config.max_mb * 1e6), config.keep), MemoryQueue[Event]())
    if isinstance(config, SqliteConfig):
        from ..sinks.sqlite import SqliteSink

        return SinkWorker(SqliteSink(config.path), MemoryQueue[Event]())
    if isinstance(config, MqttConfig):
        return _mqtt(config, labels)
    return _webhook(config)


def check_sinks(config: SiteConfig) -> None:
    """Check what can be checked of the sinks without opening a file or a connection.

    Raises:
        OptionError, MissingPartError: an address, a certificate or a package is wrong or missing.
    """
    for sink in config.sinks:
        if isinstance(sink, MqttConfig):
            from ..sinks.mqtt import check

            check(_mqtt_settings(sink, {}))
        elif isinstance(sink, WebhookConfig):
            _webhook_sink(sink)


def _mqtt(config: MqttConfig, labels: Mapping[str, Sequence[str]]) -> SpooledWorker:
    from ..sinks.mqtt import MqttSink, check

    settings = _mqtt_settings(config, labels)
    check(settings)  # before the queue, which the next attempt would find in use
    queue = _disk_queue(config)
    return SpooledWorker(MqttSink(settings), queue, longest_pause=0.5)


def _mqtt_settings(config: MqttConfig, labels: Mapping[str, Sequence[str]]) -> MqttSettings:
    from ..sinks.mqtt import MqttSettings

    return MqttSettings(
        config.url,
        config.user,
        config.password.get_secret_value() if config.password else None,
        config.ca,
        config.cert,
        config.key,
        config.client_id,
        config.prefix,
        labels if config.discovery else {},
    )


def _webhook(config: WebhookConfig) -> SpooledWorker:
    sink = _webhook_sink(config)
    return SpooledWorker(sink, _disk_queue(config), longest_pause=60.0)


def _webhook_sink(config: WebhookConfig) -> WebhookSink:
    from ..sinks.webhook import WebhookSink

    return WebhookSink(
        config.url,
        secret=config.secret.get_secret_value() if config.secret else None,
        headers={name: value.get_secret_value() for name, value in config.headers.items()},
        timeout=config.timeout,
    )


def _video(config: VideoConfig, camera: str) -> SinkWorker[Observation]:
    from ..sinks.video import VideoSink

    sink = VideoSink(config.folder / camera, config.minutes, int(config.max_mb * 1e6))
    return SinkWorker(sink, MemoryQueue(_FRAMES_WAITING), retry=False)


def _disk_queue(config: MqttConfig | WebhookConfig) -> DiskQueue:
    path = config.queue
    if path is None:
        # systemd's StateDirectory=, else where the XDG base directories say that a user's programs keep their state.
        state = os.environ.get("STATE_DIRECTORY") or os.path.join(
            os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state"), "pvlr_sdk"
        )
        target = hashlib.sha256(config.url.encode()).hexdigest()[:12]
        path = Path(state) / "queues" / f"{config.kind}-{target}.sqlite"
    return DiskQueue(path, config.capacity)
