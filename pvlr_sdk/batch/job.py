"""A job: tags each shard of an input that has no results yet, with any engine."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import blake2b, sha256
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from .. import errors
from .._util.files import system_errors
from ..bundle.bundle import knowledge_path, labels_path, manifest_path
from ..models.find import find_plan
from ..result.spans import VideoTags
from ..tagger import Tagger
from .dataset import Dataset
from .images import local_path
from .shards import Input, Shard, read
from .tag_batch import Outcome, TagBatch

_CHUNK = 64
"""Results that become a table at once: each has attention maps."""
_ROWS = 8192
_BYTES = 2**24
"""Most of a row group, about."""
_NAMED = 100
"""Failures that a summary names."""


class Task(NamedTuple):
    """A shard to tag and the name of its file. ``known``: files whose ids to leave out; ``retry``: only failed rows."""

    shard: Shard
    name: str
    known: tuple[str, ...] = ()
    retry: bool = False


@dataclass
class Summary:
    """The totals of a run, or of a task.

    Attributes:
        dataset: path or URL of the results.
        images: rows that were processed; ``tagged`` and ``failed`` (by class of the error) add up to it.
        shards: number processed; ``present``: number that had results already.
        examples: rows that failed, by their id, the first 100.
        unreadable: shards and folders that could not be read, by their path, the first 100.
        seconds: duration of the run; ``core_hours``: CPU time of all workers.
    """

    dataset: str = ""
    images: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    examples: dict[str, errors.PvlrError] = field(default_factory=dict)
    shards: int = 0
    present: int = 0
    unreadable: dict[str, errors.PvlrError] = field(default_factory=dict)
    seconds: float = 0.0
    core_hours: float = 0.0

    @property
    def tagged(self) -> int:
        """Rows that were tagged."""
        return self.images - self.failed.total()

    def add(self, task: Summary) -> None:
        self.images += task.images
        self.shards += task.shards
        self.core_hours += task.core_hours
        self.failed.update(task.failed)
        self.examples.update(islice(task.examples.items(), _NAMED - len(self.examples)))
        for error in task.unreadable.values():
            self.add_unreadable(error)

    def add_unreadable(self, error: errors.PvlrError) -> None:
        if len(self.unreadable) < _NAMED:
            self.unreadable[error.argument] = error

    def add_outcomes(self, outcomes: Sequence[tuple[str | None, Outcome]]) -> None:
        """Count rows, by their ids and results or errors."""
        failures = [
            (str(name), outcome)
            for name, outcome in outcomes
            if isinstance(outcome, errors.PvlrError)
        ]
        self.images += len(outcomes)
        self.failed.update(type(error).__name__ for _, error in failures)
        self.examples.update(failures[: _NAMED - len(self.examples)])

    def to_dict(self) -> dict[str, Any]:
        """All numbers, ready for JSON, with ``images_per_second``."""
        rate = self.images / self.seconds if self.seconds else 0.0
        rounded = {"seconds": round(self.seconds, 3), "core_hours": round(self.core_hours, 6)}
        named = {
            name: {
                path: f"{type(error).__name__}: {error}"
                for path, error in getattr(self, name).items()
            }
            for name in ("examples", "unreadable")
        }
        counts = {
            "tagged": self.tagged,
            "failed": dict(self.failed),
            "images_per_second": round(rate, 1),
        }
        return {**vars(self), **counts, **named, **rounded}


@dataclass(frozen=True)
class Job:
    """What to tag, with what, and where the results go.

    Args:
        input: where the images are.
        out: the folder of the dataset, a path or a URL.
        plan: as for :class:`pvlr_sdk.Tagger`.
        scores: write the scores of all labels too.
        only_new: tag only images whose ids have no row yet, where a shard has changed; rows of images that are gone
            stay. Otherwise the whole shard is tagged again, and its new file replaces the old one.
        retry_failed: tag the rows with an error again.
        options: of the ``Tagger`` that change its results: ``threshold``, ``top_k``, ``precision``, ...
        machine: of the ``Tagger`` that do not, ``num_threads``, ``device``, ..., and ``memory`` of :class:`TagBatch`.
        tag_video: tags a video of the input, such as :func:`pvlr_sdk.cameras.stream.video.tag_video`; None: videos are
            left out.
    """

    input: Input
    out: str
    plan: str | os.PathLike[str] | None = None
    scores: bool = False
    only_new: bool = False
    retry_failed: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    tag_video: Callable[[Tagger, Path], VideoTags] | None = None

    def __post_init__(self) -> None:
        plan = find_plan(self.plan)
        # a worker has another working directory
        object.__setattr__(self, "plan", os.path.abspath(plan))
        object.__setattr__(
            self, "out", self.out if "://" in self.out else os.path.abspath(self.out)
        )
        source = (
            self.input.source if "://" in self.input.source else os.path.abspath(self.input.source)
        )
        resolved = replace(self.input, source=source, videos=self.tag_video is not None)
        object.__setattr__(self, "input", resolved)

    def dataset(self) -> Dataset:
        """The dataset of this plan with these options. Raises what :class:`Dataset` raises, or ``Tagger``."""
        plan = Path(self.plan)  # type: ignore[arg-type]
        # The manifest has the thresholds. Nothing is parsed: the signature is verified when the plan is loaded.
        knowledge = knowledge_path(plan) if self.options.get("words") else None
        labels = labels_path(plan), knowledge, self.options.get("bank")
        every = plan, manifest_path(plan), *map(Path, filter(None, labels))
        bundle = [path for path in every if path.is_file()]
        expected = "a readable plan"
        hint = "Check its permissions."
        with system_errors(errors.PlanNotFoundError, str(plan), expected=expected, hint=hint):
            files = [sha256(path.read_bytes()).hexdigest() for path in bundle]
        options = {name: value for name, value in self.options.items() if value is not None}
        if self.tag_video:  # which adds a column
            options["spans"] = True
        text = json.dumps([files, self.scores, options], sort_keys=True)
        return Dataset(self.out, blake2b(text.encode(), digest_size=8).hexdigest())

    def run(
        self, engine: Engine | None = None, on_report: Callable[[Summary], object] = lambda _: None
    ) -> Summary:
        """Tag what has no results yet. Two runs on one target at once share the work, or do a part of it twice.

        Args:
            engine: does the tasks, on this machine or on others; None: in this process.
            on_report: is called with the totals after each shard.

        Raises:
            ImageNotFoundError: the input has no images.
            OutputError: the results cannot be written. What was complete stays.
            SourceOpenError: the store is unknown.
            PvlrError: what ``Tagger`` raises.
        """
        began = time.perf_counter()
        dataset = self.dataset()
        summary = Summary(dataset.address)
        present = dataset.names()
        tasks = self._tasks(dataset, present, summary)
        first = next(tasks, None)
        if first is None and not summary.present:
            hint = "Files are recognised by their extension: .jpg, .png, .heic, .parquet, .tar; videos need --spans."
            nothing = errors.ImageNotFoundError(
                self.input.source, "at least one image", "none", hint
            )
            raise next(iter(summary.unreadable.values()), nothing)
        if first is not None:
            for done in (engine or here)(self, chain([first], tasks)):
                summary.add(done)
                summary.seconds = time.perf_counter() - began
                on_report(summary)
        if not (self.only_new or summary.unreadable):
            dataset.remove(present)
        summary.seconds = time.perf_counter() - began
        return summary

    def count(self) -> int:
        """The number of shards that :meth:`run` would tag: for progress bars only."""
        dataset = self.dataset()
        return sum(1 for _ in self._tasks(dataset, dataset.names(), Summary()))

    def _tasks(self, dataset: Dataset, present: set[str], summary: Summary) -> Iterator[Task]:
        """What is to do. At the end, ``present`` has only the files that this input's shards have replaced."""
        old: dict[str, list[str]] = {}
        for name in present if self.only_new else ():
            old.setdefault(_group_of(name), []).append(name)
        groups_found: set[str] = set()
        for shard in self.input.shards(summary.add_unreadable, dataset.root):
            full = f"{shard.group}-{shard.key}.parquet"
            partial = f"{shard.group}-{shard.key}-new.parquet"
            names = [full, partial] if self.only_new else [full]
            existing = next((name for name in names if name in present), None)
            groups_found.add(shard.group)
            if existing is None:
                earlier = tuple(old.get(shard.group, ()))
                yield Task(shard, partial if earlier else full, earlier)
                continue
            present.discard(existing)
            if self.retry_failed and dataset.failed(existing):
                yield Task(shard, existing, retry=True)
            else:
                summary.present += 1
        present -= {name for name in present if _group_of(name) not in groups_found}


def _group_of(name: str) -> str:
    """The group of the shard that a file of the dataset belongs to."""
    return name.partition("-")[0]


Engine: TypeAlias = Callable[[Job, Iterable[Task]], Iterable[Summary]]


class Worker:
    """Does the tasks of a job, with one tagger."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._dataset = job.dataset()
        columns = job.input.columns
        self._tag = TagBatch(
            job.plan,
            id=columns.id,
            image=columns.image,
            scores=job.scores,
            spans=job.tag_video is not None,
            **job.options,
            **job.machine,
        )
        self._known: tuple[tuple[str, ...], set[int]] = (), set()

    def __call__(self, task: Task) -> Summary:
        """Tag a shard and write its file. Raises what :meth:`Job.run` raises, except for a shard that is unreadable."""
        began = time.process_time()
        done = Summary(shards=1)
        if not task.retry and self._dataset.exists(task.name):
            return done  # written by another run
        about = {"source": task.shard.source, "plan": self._tag.tagger.info["name"]}
        try:
            self._dataset.write(task.name, self._tables(task, done), self._tag.schema, about)
        except (
            errors.SourceOpenError,
            errors.OptionError,
        ) as error:  # the options of the tagger were checked
            return Summary(unreadable={error.argument: error})
        done.core_hours = (time.process_time() - began) / 3600
        return done

    def close(self) -> None:
        self._tag.tagger.close()

    def _tables(self, task: Task, done: Summary) -> Iterator[pa.Table]:
        """The row groups of a task's file: of a retry, the rows that stay come first."""
        rows = read(task.shard, self._job.input.columns, self._tag.memory)
        failed = self._ids(task.name, failed=True) if task.retry else None
        if failed is not None:
            for table in self._dataset.read(task.name):
                yield table.filter([hash(name) not in failed for name in table["id"].to_pylist()])
            rows = (row for row in rows if hash(row[0]) in failed)
        elif task.known:
            known_ids = self._known_ids(task.known)
            rows = (row for row in rows if hash(row[0]) not in known_ids)
        tag = self._tag_videos if task.shard.kind == "video" else self._tag.tag
        yield from _row_groups(self._tagged(tag(rows), done))

    def _tag_videos(self, rows: Iterable[Any]) -> Iterator[tuple[str | None, Outcome]]:
        """The spans or the error of each video, by its id and its path or URL."""
        assert self._job.tag_video is not None
        for name, address in rows:
            path = local_path(address)
            if path is None:
                hint = "Copy the video to this machine, or leave it out with --exclude."
                yield name, errors.ImageNotFoundError(address, "a local video", "a URL", hint)
                continue
            try:
                yield name, self._job.tag_video(self._tag.tagger, Path(path))
            except (errors.FrameError, errors.NonFiniteError) as error:
                yield name, error

    def _tagged(
        self, outcomes: Iterator[tuple[str | None, Outcome]], done: Summary
    ) -> Iterator[pa.Table]:
        """These results in small tables, counted in ``done``."""
        while chunk := list(islice(outcomes, _CHUNK)):
            done.add_outcomes(chunk)
            yield self._tag.table(chunk)

    def _known_ids(self, names: tuple[str, ...]) -> set[int]:
        """Hashes of the ids in some files, kept for the next task: the shards of a folder follow each other."""
        if self._known[0] != names:
            self._known = names, set().union(*filter(None, map(self._ids, names)))
        return self._known[1]

    def _ids(self, name: str, *, failed: bool = False) -> set[int] | None:
        """Hashes of the ids in a file, or of those with an error: ids may be long. None if the file is damaged."""
        ids: set[int] = set()
        with suppress(errors.OutputError):
            # All columns, if the rows are kept: a damaged one is found before the first row is written.
            for table in self._dataset.read(name, None if failed else ["id"]):
                rows = table.filter(pc.is_valid(table["error"])) if failed else table
                ids.update(map(hash, rows["id"].to_pylist()))
            return ids
        return None


def _row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Small tables, joined to row groups."""
    group = []
    for table in tables:
        group.append(table)
        if len(group) * _CHUNK >= _ROWS or sum(table.nbytes for table in group) >= _BYTES:
            yield pa.concat_tables(group)
            group = []
    if group:
        yield pa.concat_tables(group)


def here(job: Job, tasks: Iterable[Task]) -> Iterator[Summary]:
    """The engine for this process: one shard after the other, on all its cores."""
    worker = Worker(job)
    try:
        yield from map(worker, tasks)
    finally:
        worker.close()
