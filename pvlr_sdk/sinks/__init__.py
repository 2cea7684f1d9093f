"""Where events go: files, databases, brokers, web servers. Each sink has a queue and a thread of its own."""

from __future__ import annotations

from .queues import DiskQueue, MemoryQueue, Queue
from .worker import Sink, SinkStats, SinkWorker, SpooledWorker

__all__ = ["DiskQueue", "MemoryQueue", "Queue", "Sink", "SinkStats", "SinkWorker", "SpooledWorker"]
