"""Where events go: files, databases, brokers, web servers. Each sink has a queue and its own thread.

:data:`SINKS` is the table of sinks. To add one, add a module with its settings, and the settings to the table.
"""

from __future__ import annotations

from .jsonl import JsonlSettings
from .mqtt import MqttSettings
from .queues import DiskQueue, MemoryQueue
from .settings import SinkSettings
from .sqlite import SqliteSettings
from .video import VideoSettings
from .webhook import WebhookSettings
from .worker import Sink, SinkStats, SinkWorker

SINKS: tuple[type[SinkSettings], ...] = (
    JsonlSettings,
    SqliteSettings,
    MqttSettings,
    WebhookSettings,
    VideoSettings,
)

__all__ = ["SINKS", "DiskQueue", "MemoryQueue", "Sink", "SinkStats", "SinkWorker"]
