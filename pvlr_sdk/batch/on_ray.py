"""The engine for a Ray cluster: a pool of actors, each with one tagger, to which the driver hands shards."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from .. import errors
from ..bundle.bundle import read_manifest
from .images import cause
from .job import Engine, Job, Summary, Task, Worker

_PATIENCE = 30.0
"""Seconds to wait for a connection, and for a result before the cluster is checked."""
_AHEAD = 2
"""Tasks of an actor, of which one waits: it begins as soon as the other ends."""


def on_ray(address: str | None = None, *, workers: int | None = None, threads: int = 1) -> Engine:
    """An engine on a Ray cluster.

    A worker that dies is started again, and its shards are tagged again. What the driver keeps in memory does not grow
    with the number of images.

    Args:
        address: of the cluster, as for ``ray.init``; None: ``$RAY_ADDRESS``, else a cluster on this machine.
        workers: number of actors; None: as many as the cluster has room for.
        threads: CPU cores of each actor.

    Raises:
        MissingPartError: Ray is not installed.
        OptionError: the cluster cannot be reached, or has no room for an actor.
        BackendError: the cluster was lost.
    """
    with errors.needed("--engine ray", "Ray", "ray"):
        import ray

    def engine(job: Job, tasks: Iterable[Task]) -> Iterator[Summary]:
        ours = not ray.is_initialized()
        if ours:
            _connect(ray, address)
        gpus = int(read_manifest(str(job.plan)).backend == "tensorrt")
        room = _room(ray.cluster_resources(), threads, gpus)
        options = {
            "num_cpus": threads,
            "num_gpus": gpus,
            "max_restarts": -1,
            "max_task_retries": -1,
        }
        actor = ray.remote(_Actor).options(**options)
        job = replace(job, machine={**job.machine, "num_threads": threads})
        actors = [actor.remote(job) for _ in range(workers or room)]
        try:
            yield from _distributed(
                ray, actors, iter(tasks), lambda: ray.cluster_resources().get("CPU", 0) >= threads
            )
        except (ray.exceptions.RayError, ConnectionError) as error:
            if isinstance(raised := getattr(error, "cause", None), errors.PvlrError):  # by a worker
                raise raised from None
            raise _lost(cause(error)) from None
        finally:
            if ours:
                ray.shutdown()  # its threads print on stdout

    return engine


class _Actor:
    """A worker that loads its plan with the first task: Ray hides the class of an error in a constructor."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._worker: Worker | None = None

    def run(self, task: Task) -> Summary:
        self._worker = self._worker or Worker(self._job)
        return self._worker(task)


def _distributed(
    ray: Any, actors: list[Any], tasks: Iterator[Task], room: Callable[[], bool]
) -> Iterator[Summary]:
    running: dict[Any, Any] = {}
    free = actors * _AHEAD
    while True:
        while free and (task := next(tasks, None)) is not None:
            actor = free.pop(0)
            running[actor.run.remote(task)] = actor
        if not running:
            return
        while not (ready := ray.wait(list(running), timeout=_PATIENCE)[0]):
            if not room():  # actors wait for another node without end
                raise _lost("no node with room for a worker")
        free.append(running.pop(ready[0]))
        yield ray.get(ready[0])


def _lost(got: str) -> errors.BackendError:
    return errors.BackendError(
        "--engine ray",
        "a running cluster",
        got,
        "Start it again, then run the same command: it continues.",
    )


def _connect(ray: Any, address: str | None) -> None:
    # a local cluster would report to its makers
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    host, _, port = (
        (address or os.environ.get("RAY_ADDRESS", "")).removeprefix("ray://").rpartition(":")
    )
    try:
        if host and port.isdecimal():  # Ray itself tries for minutes
            socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        ray.init(address=address, **quiet, **({} if address else {"include_dashboard": False}))
    except Exception as error:  # Ray raises plain ones too
        raise errors.OptionError(
            "--address",
            "a Ray cluster",
            cause(error),
            "Check that the cluster runs: ray status --address ADDRESS.",
        ) from None


def _room(resources: dict[str, float], threads: int, gpus: int) -> int:
    room = int(resources.get("CPU", 0) // threads)
    room = min(room, int(resources.get("GPU", 0))) if gpus else room
    if not room:
        raise errors.OptionError(
            "--threads",
            f"{threads} CPU cores" + (" and a GPU" if gpus else ""),
            f"{resources}",
            "Use fewer threads, or a larger cluster.",
        )
    return room
