"""Reads the store of a memory: an SQLite file and the files of features next to it."""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from ... import errors
from ...frames.bgr import encode_jpeg
from ...result.drawing import blend
from ..events import Event
from ..sinks.disk import closed_on_error, create_file, output_errors
from .features import FeatureFiles
from .moments import HEAT
from .recording import Chunk, Context, Place

VERSION = 5
READABLE = (4, VERSION)
FILE = "memory.sqlite"
ASIDE = "damaged"
"""The folder of a damaged store, in its own."""
QUALITY = 75
"""Of pictures, as JPEG."""
_ANSWERS = """
CREATE TABLE answers (
    id INTEGER NOT NULL, event TEXT, label TEXT NOT NULL, answer TEXT NOT NULL, time REAL NOT NULL, alike INTEGER,
    PRIMARY KEY (id, label));
CREATE INDEX answers_drawn ON answers (label, event) WHERE alike IS NULL;
"""
# `answers` are of events, or of sampled frames (event IS NULL), which may have one for each label.
_SCHEMA = f"""
CREATE TABLE contexts (id INTEGER PRIMARY KEY, data BLOB NOT NULL UNIQUE);
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, camera TEXT NOT NULL, region TEXT, start REAL NOT NULL, end REAL NOT NULL,
    context INTEGER NOT NULL, run INTEGER NOT NULL, number INTEGER NOT NULL, closed REAL, reason TEXT,
    arrays BLOB NOT NULL);
CREATE INDEX chunks_by_place ON chunks (camera, region, id);
CREATE TABLE moments (
    id INTEGER PRIMARY KEY AUTOINCREMENT, camera TEXT NOT NULL, region TEXT, start REAL NOT NULL, end REAL,
    context INTEGER NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL, label TEXT, event TEXT UNIQUE, began TEXT,
    ended TEXT, time REAL, score REAL, space TEXT, logits BLOB);
CREATE INDEX moments_by_start ON moments (start);
CREATE INDEX moments_by_camera ON moments (camera);
CREATE INDEX moments_by_label ON moments (label);
CREATE TABLE pictures (id INTEGER PRIMARY KEY, jpeg BLOB NOT NULL, heat BLOB);
{_ANSWERS}
"""
# `at` is the newest chunk at the time of writing: rows of both tables grow old in one order, whatever the clock does.
# Version 4 had one answer for each frame, and a random frame that was uncertain or new as well was kept as such: the
# others are no random sample.
_FROM_4 = f"""
DROP INDEX answers_drawn;
ALTER TABLE answers RENAME TO earlier;
{_ANSWERS}
INSERT INTO answers SELECT * FROM earlier;
DROP TABLE earlier;
UPDATE moments SET kind = 'sample' WHERE kind = 'random';
"""
_OPENING = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA wal_autocheckpoint = 64",  # pages: keeps the journal small
)
_CONTEXT = "(SELECT data FROM contexts WHERE contexts.id = context)"
UNANSWERED = "time IS NOT NULL AND ended IS NOT NULL AND id NOT IN (SELECT id FROM answers)"
# Events are drawn in the order of their random ids. Those that were answered with one that they look like would have
# been drawn, with the same answer, before a later one of their label: they count from then on. If they never counted,
# what repeats would be missing in the answers, and if they counted at once, it would have more weight than its share.
_DRAWN = (
    "SELECT id, answer, CASE WHEN alike IS NULL THEN time ELSE (SELECT min(time) FROM answers AS later WHERE alike "
    "IS NULL AND label = answers.label AND event > answers.event AND time > answers.time) END FROM answers "
    "WHERE event IS NOT NULL"
)


@dataclass(frozen=True)
class Row:
    """An event with its peak, or a sampled frame. ``kind``, ``score``, ``space``: as for :class:`Moment`.

    ``event``: the id of the event; ``start``, ``end``: of the event; ``time``: of the frame; ``began``, ``ended``: its
    ``on`` and its ``off``; ``logits``: float32 (C,). None: not recorded yet, or not an event.
    """

    id: int
    camera: str
    region: str | None
    start: float
    end: float | None
    context: Context
    kind: str
    label: str | None
    event: str | None
    began: Event | None
    ended: Event | None
    time: float | None
    score: float | None
    space: str | None
    logits: NDArray[np.float32] | None


class Reader:
    """A memory of events in a folder. For one thread at a time.

    Args:
        folder: has nothing else.
        write: open it to record, and create it if it does not exist.

    Raises:
        OptionError: there is no memory, or another version wrote it, or it is damaged.
        OutputError: the disk is full or read-only, or there is no permission.
    """

    def __init__(self, folder: Path, *, write: bool = False) -> None:
        self._path = folder / FILE
        self.features = FeatureFiles(folder / "features")
        if not write and not self._path.is_file():
            raise self._unusable("none", "Record one first, with pvlr watch --memory DIR.")
        # Whoever records replaces a damaged file; whoever else changes or reads it gets the OptionError.
        self._changing = self._reported if write else self._intact
        with self._changing():
            if write:
                create_file(self._path, 0o600)
            # A journal cannot be created on a read-only disk, and nothing changes there.
            fixed = "" if write or os.access(folder, os.W_OK) else "?mode=ro&immutable=1"
            place = f"{self._path.absolute().as_uri()}{fixed}"
            self._database = sqlite3.connect(
                place, timeout=5.0, isolation_level=None, check_same_thread=False, uri=True
            )
            with closed_on_error(self._database):
                self._open(write, changes=not fixed)

    def _open(self, write: bool, changes: bool) -> None:
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version not in (0, *READABLE) or (version == 0 and not write):
            hint = (
                "Use the pvlr_sdk that wrote it, or another folder." if version else "Record first."
            )
            raise self._unusable(f"one of version {version}", hint)
        if version == 0:
            self._database.execute("PRAGMA auto_vacuum = INCREMENTAL")
        for statement in (*(_OPENING if write else ()), "PRAGMA secure_delete = ON"):
            self._database.execute(statement)
        script = {0: _SCHEMA, 4: _FROM_4 if changes else ""}.get(version)
        if script:
            self._database.executescript(
                f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {VERSION}; COMMIT;"
            )
        if write:
            try:
                self.contexts()
            except errors.OptionError as error:  # all events need them, also later ones
                raise sqlite3.DatabaseError(error.got) from None

    def close(self) -> None:
        self._database.close()

    def query(self, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """The rows of a query. Raises OptionError if the file is damaged, OutputError if it cannot be read."""
        with self._intact():
            yield from self._database.execute(query, values)

    def places(self) -> list[Place]:
        """All places with scores."""
        return [
            Place(*row)
            for row in self.query("SELECT DISTINCT camera, region FROM chunks ORDER BY 1, 2")
        ]

    def contexts(self) -> dict[int, Context]:
        """All contexts by their numbers."""
        with self._intact():
            rows = list(self.query("SELECT id, data FROM contexts"))
            return {number: Context.unpack(data) for number, data in rows}

    def chunks(
        self, place: Place, since: float = -np.inf, until: float = np.inf
    ) -> Iterator[Chunk]:
        """The chunks of a place that overlap a time, in the order in which they were recorded."""
        for _, chunk in self._chunks(
            "camera = ? AND region IS ? AND end >= ? AND start <= ?", *place, since, until
        ):
            yield chunk

    def _chunks(self, where: str, *values: Any) -> Iterator[tuple[int, Chunk]]:
        columns = f"id, camera, region, {_CONTEXT}, run, number, closed, reason, arrays"
        with self._intact():
            for row in self.query(
                f"SELECT {columns} FROM chunks WHERE {where} ORDER BY id", *values
            ):
                key, camera, region, context, run, number, closed, reason, arrays = row
                place = Place(camera, region)
                ending = None if reason is None else (closed, reason)
                yield (
                    key,
                    Chunk(
                        place, Context.unpack(context), run, number, ending, Chunk.unpack(arrays)
                    ),
                )

    def rows(self, where: str = "1", values: tuple[Any, ...] = ()) -> list[Row]:
        """The events and sampled frames that a condition of SQL selects, in the order in which they were recorded."""
        names = [field.name for field in fields(Row)]
        columns = ", ".join(_CONTEXT if name == "context" else name for name in names)
        rows = []
        with self._intact():
            for stored in self.query(
                f"SELECT {columns} FROM moments WHERE {where} ORDER BY id", *values
            ):
                row: dict[str, Any] = dict(zip(names, stored, strict=True))
                row["context"] = Context.unpack(row["context"])
                for name in ("began", "ended"):
                    row[name] = row[name] and Event.unpack(row[name])
                if row["logits"] is not None:
                    row["logits"] = np.frombuffer(row["logits"], np.float16).astype(np.float32)
                rows.append(Row(**row))
        return rows

    def answers(self) -> dict[int, tuple[str, float | None]]:
        """By the number of an event, whether it is right: ``yes``, ``no`` or ``unclear``, and when it was drawn at
        random to be answered; None: it was answered with one that it looks like, and not drawn so far."""
        return {number: (answer, time) for number, answer, time in self.query(_DRAWN)}

    def picture(self, number: int, attention: bool = False) -> bytes | None:
        """The JPEG of an event or a frame, on request with its attention map, if it has one; None: there is none."""
        jpeg, heat = next(
            iter(self.query("SELECT jpeg, heat FROM pictures WHERE id = ?", number)), (None, None)
        )
        if not (attention and jpeg and heat):
            return jpeg
        image: Any = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        if image is None:  # damaged
            return jpeg
        blend(image, np.frombuffer(heat, np.uint8).reshape(HEAT).astype(np.float32))
        return encode_jpeg(image, QUALITY)

    def has_attention(self, number: int) -> bool:
        """Whether the picture of an event has an attention map."""
        return bool(
            list(self.query("SELECT 1 FROM pictures WHERE id = ? AND heat IS NOT NULL", number))
        )

    def nearest(self, camera: str, time: float) -> int | None:
        """The number of the picture of a camera that is nearest to a time; None: there is none."""
        query = "SELECT id FROM moments WHERE camera = ? AND time IS NOT NULL ORDER BY abs(time - ?) LIMIT 1"
        return next((number for (number,) in self.query(query, camera, time)), None)

    def recorded(self) -> list[tuple[Place, Context]]:
        """The places, each with every context of its scores."""
        contexts = self.contexts()
        query = "SELECT DISTINCT camera, region, context FROM chunks"
        return [
            (Place(camera, region), contexts[number])
            for camera, region, number in self.query(query)
        ]

    @contextmanager
    def _intact(self) -> Iterator[None]:
        try:
            with self._reported():
                yield
        except errors.PvlrError:
            raise
        except (
            sqlite3.DatabaseError,
            ValueError,
            KeyError,
            TypeError,
            zlib.error,
            SafetensorError,
        ) as error:
            hint = "The next start of the site sets it aside and begins a new one."
            raise self._unusable(f"a damaged one: {error}", hint) from None

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Turn errors of the system and of SQLite into OutputError, but for damage, which stays a DatabaseError."""
        try:
            with output_errors(self._path, "a memory of events"):
                yield
        except errors.OutputError as error:
            # not a subclass, such as for a full disk
            if type(error.__cause__) is sqlite3.DatabaseError:
                raise error.__cause__ from None
            raise

    def _unusable(self, got: str, hint: str) -> errors.OptionError:
        return errors.OptionError(
            str(self._path.parent), f"a memory of events, version {VERSION}", got[:200], hint
        )
