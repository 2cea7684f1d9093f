"""The store of a memory, bounded by size and age."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from ... import errors
from ...frames.bgr import encode_jpeg
from .moments import Moment
from .reader import ASIDE, QUALITY, Reader
from .recorder import Recorded
from .recording import Chunk, Context

Answer: TypeAlias = Literal["yes", "no", "unclear"]
_TRIMS = 20
"""Parts of the store of which the oldest is deleted when it is full."""
_CHECKED = 64
"""Writes between two checks of the size."""
_STEADY = 3600.0
"""Seconds for which the system clock must have been steady each time before age deletes anything."""
_PART = 50
"""Chunks or moments that are changed in one transaction."""
_LATEST = "coalesce((SELECT max(id) FROM chunks), 0)"


class Store(Reader):
    """A memory of events in a folder, to record and to delete. Arguments and errors as for :class:`Reader`.

    Other processes may read it, and delete from it.
    """

    def __init__(self, folder: Path, *, write: bool = False) -> None:
        super().__init__(folder, write=write)
        self._written = 0
        self._steady = (time.time() - time.monotonic(), time.monotonic())

    def write(self, item: Recorded) -> None:
        """Store a chunk, a moment or an event: completely or not at all, also if the process is killed.

        Raises:
            OutputError: no space, or no permission.
            sqlite3.DatabaseError: the file is damaged.
        """
        with self._reported(), self._transaction():
            if isinstance(item, Chunk):
                times = item.arrays["wall"].tolist() or [time.time()]
                self._insert("chunks", *item.place, min(times), max(times), self._context(item.context), item.run,
                             item.number, *(item.closed or (None, None)), item.pack())  # fmt: skip
            elif isinstance(item, Moment):
                self._write_moment(item)
            elif item[0].state == "on":
                event, context = item
                self._insert("moments", event.camera, event.region, event.start, None, self._context(context),
                             self._newest(), "event", event.label, event.id, event.pack(), *[None] * 5)  # fmt: skip
            else:
                change = "UPDATE moments SET ended = ?, end = ? WHERE event = ?"
                self._database.execute(change, (item[0].pack(), item[0].end, item[0].id))

    def answer(
        self,
        number: int,
        answer: Answer | None,
        label: str | None = None,
        alike: Sequence[int] = (),
        *,
        drawn: bool = True,
    ) -> None:
        """Store whether an event is right, or whether a sampled frame shows a label, instead of an earlier answer and
        those that were stored with it (None: only remove them); and the same of the events ``alike``, if they have its
        label and no answer. What a frame shows is an example, and proves nothing of events.

        ``drawn``: whether an event was drawn at random. One that a person chose counts once a review has drawn a later
        one, as those alike do: it would have been drawn before.

        Raises:
            OptionError: there is no such event, or no such frame with this label.
            OutputError: no space, or no permission.
        """
        rows_found = self.rows("id = ? AND kind <> 'health'", (number,))
        if not rows_found or label not in (
            (None,) if rows_found[0].event else rows_found[0].context.names
        ):
            raise errors.OptionError(
                "answer",
                "an event, or a sampled frame and a label",
                f"{number}, {label!r}"[:100],
                "It may have been deleted.",
            )
        with self._changing(), self._transaction():
            name = label or rows_found[0].label
            earlier = "DELETE FROM answers WHERE (id = ? AND label = ?) OR alike = ?"
            self._database.execute(earlier, (number, name, number))
            if answer is not None:
                about = {"label": name, "answer": answer, "time": time.time()}
                pairs = [(None if drawn else number, number), *((number, other) for other in alike)]
                chosen = "id = :id AND (:like IS NULL OR label = :label)"
                query = (
                    f"SELECT id, event, :label, :answer, :time, :like FROM moments WHERE {chosen}"
                )
                rows = [{**about, "like": like, "id": event_number} for like, event_number in pairs]
                self._database.executemany(f"INSERT OR IGNORE INTO answers {query}", rows)

    def _insert(self, table: str, *values: Any) -> int:
        marks = ", ".join("?" * len(values))
        return (
            self._database.execute(f"INSERT INTO {table} VALUES (NULL, {marks})", values).lastrowid
            or 0
        )

    def _newest(self) -> int:
        return int(self._database.execute(f"SELECT {_LATEST}").fetchone()[0])

    def _write_moment(self, moment: Moment) -> None:
        peak = moment.time, moment.score, moment.space, moment.logits.astype(np.float16).tobytes()
        if moment.event is None:
            number = self._insert("moments", *moment.place, moment.time, moment.time, self._context(moment.context),
                                  self._newest(), moment.kind, *[None] * 4, *peak)  # fmt: skip
        else:
            query = "SELECT moments.id, data FROM moments JOIN contexts ON contexts.id = context WHERE event = ?"
            stored = self._database.execute(query, (moment.event,)).fetchone()
            if not stored:  # it was deleted meanwhile
                return
            number = stored[0]
            names = Context.unpack(stored[1]).names
            if names != moment.context.names:  # the labels have changed since the event began
                by_name = dict(zip(moment.context.names, moment.logits, strict=True))
                logits = np.array([by_name.get(name, -np.inf) for name in names], np.float16)
                peak = *peak[:3], logits.tobytes()
            change = "UPDATE moments SET time = ?, score = ?, space = ?, logits = ? WHERE id = ?"
            self._database.execute(change, (*peak, number))
        jpeg = encode_jpeg(moment.picture, QUALITY)
        heat = None if moment.heat is None else moment.heat.tobytes()
        self._database.execute(
            "INSERT OR REPLACE INTO pictures VALUES (?, ?, ?)", (number, jpeg, heat)
        )
        if moment.features is not None:
            # Before the commit: if the process is killed here, the next moment gets this number and overwrites them.
            self.features.write(moment.space, number, moment.features)

    def _context(self, context: Context) -> int:
        data = context.pack()
        self._database.execute("INSERT OR IGNORE INTO contexts VALUES (NULL, ?)", (data,))
        return int(
            self._database.execute("SELECT id FROM contexts WHERE data = ?", (data,)).fetchone()[0]
        )

    def trim(self, max_bytes: int, max_days: float) -> None:
        """Delete what is older than ``max_days``, and the oldest of what is more than ``max_bytes``. Called after each
        write; it looks only after some.

        The age counts after each hour in which the system clock was steady: a clock that was set deletes nothing, and
        to look for what is old reads all tables.
        """
        self._written += 1
        if self._written % _CHECKED:
            return
        now = time.monotonic()
        offset = time.time() - time.monotonic()
        if abs(offset - self._steady[0]) > 60:
            self._steady = offset, now
        with self._reported():
            if now - self._steady[1] >= _STEADY:
                self._steady = offset, now
                until = time.time() - 86400 * max_days
                aside = self._path.with_name(ASIDE)
                self.delete(until=until)
                if aside.exists() and aside.stat().st_mtime < until:
                    shutil.rmtree(aside)
            while self.size() > max_bytes:
                query = f"SELECT id FROM chunks ORDER BY id LIMIT 1 OFFSET (SELECT count(*) / {_TRIMS} FROM chunks)"
                oldest = self._database.execute(query).fetchone()
                if oldest is None:
                    break
                self._delete(("at <= ?", oldest), ("id <= ?", oldest))

    def size(self) -> int:
        """The bytes of what is stored."""
        names = ("page_count", "freelist_count", "page_size")
        pages, free, each = (
            self._database.execute(f"PRAGMA {name}").fetchone()[0] for name in names
        )
        return int((pages - free) * each) + self.features.size()

    def delete(
        self,
        camera: str | None = None,
        label: str | None = None,
        since: float | None = None,
        until: float | None = None,
    ) -> int:
        """Delete everything of a camera, a label and a time (all that are not None), and overwrite it on disk.

        Of a label, its events with their pictures, and its scores; of a time, whole chunks. Returns the number of
        events and sampled frames.
        """
        wanted = {
            "camera = ?": camera,
            "coalesce(end, start) >= ?": since,
            "start <= ?": until,
            "label = ?": label,
        }
        chosen = {text: value for text, value in wanted.items() if value is not None}
        moments = " AND ".join(chosen) or "1", tuple(chosen.values())
        chosen.pop("label = ?", None)
        chunks = " AND ".join(chosen) or "1", tuple(chosen.values())
        with self._changing():
            if label is not None:
                self._forget(label, chunks)
                chunks = "0", ()
            return self._delete(moments, chunks)

    def _forget(self, label: str, chunks: tuple[str, tuple[Any, ...]]) -> None:
        """In parts, so that a site can write in between; if the process is killed, a part is done."""
        condition = f"label = ? AND id IN (SELECT id FROM moments WHERE {chunks[0]})"
        values = (label, *chunks[1])
        with self._transaction():
            self._database.execute(f"DELETE FROM answers WHERE {condition}", values)
        for table, change in (("chunks", self._forget_scores), ("moments", self._forget_logits)):
            numbers = [
                number
                for (number,) in self.query(f"SELECT id FROM {table} WHERE {chunks[0]}", *chunks[1])
            ]
            for start in range(0, len(numbers), _PART):
                with self._transaction():
                    change(label, f"id IN ({', '.join(map(str, numbers[start : start + _PART]))})")

    def _forget_scores(self, label: str, where: str) -> None:
        for number, chunk in list(self._chunks(where)):
            change = chunk.without(label).pack(), number
            self._database.execute("UPDATE chunks SET arrays = ? WHERE id = ?", change)

    def _forget_logits(self, label: str, where: str) -> None:
        for row in self.rows(where):
            if row.logits is not None and label in row.context.names:
                row.logits[row.context.names.index(label)] = -np.inf
                data = row.logits.astype(np.float16).tobytes()
                self._database.execute("UPDATE moments SET logits = ? WHERE id = ?", (data, row.id))

    def _delete(
        self, moments: tuple[str, tuple[Any, ...]], chunks: tuple[str, tuple[Any, ...]]
    ) -> int:
        with self._transaction():
            numbers = [
                number
                for (number,) in self.query(
                    f"SELECT id FROM moments WHERE {moments[0]}", *moments[1]
                )
            ]
            self._database.execute(f"DELETE FROM moments WHERE {moments[0]}", moments[1])
            self._database.execute(f"DELETE FROM chunks WHERE {chunks[0]}", chunks[1])
            for table in ("pictures", "answers"):
                self._database.execute(
                    f"DELETE FROM {table} WHERE id NOT IN (SELECT id FROM moments)"
                )
            used = "SELECT context FROM chunks UNION SELECT context FROM moments"
            self._database.execute(f"DELETE FROM contexts WHERE id NOT IN ({used})")
            # before the commit: if the process is killed here, none is left for ever
            self.features.clear(numbers)
        # the journal has copies
        for statement in (
            "PRAGMA incremental_vacuum",
            "PRAGMA wal_checkpoint(TRUNCATE)",
        ):
            self._database.execute(statement).fetchall()
        return len(numbers)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise
