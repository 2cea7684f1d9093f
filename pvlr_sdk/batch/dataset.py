"""A Parquet dataset with one file per shard: a file that exists is complete."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .. import errors
from .._util.files import write_files
from .images import local_path, open_filesystem

_ATOMIC = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "memory"}
"""Stores in which an object appears when its upload is complete; in others, a file is renamed."""
_META = b"pvlr"


class Dataset:
    """The results of one plan with one set of options: ``ROOT/plan=KEY/SHARD.parquet``.

    Args:
        root: the folder that the user named, a path or a URL.
        key: the hash of plan and options.

    Raises:
        SourceOpenError: the store is unknown.
        OutputError: the folder cannot be created; of each method: a file cannot be read or written.
    """

    def __init__(self, root: str, key: str) -> None:
        root = root if "://" in root else os.path.abspath(root)
        self._store, path = open_filesystem(root)
        self._local = local_path(root) is not None
        self._folder = f"{path}/plan={key}"
        self.root = os.path.realpath(path) if self._local else path
        self.address = f"{root.rstrip('/')}/plan={key}"
        protocol = self._store.protocol
        self._atomic = not _ATOMIC.isdisjoint([protocol] if isinstance(protocol, str) else protocol)
        with self._reported(self.address):
            # there are no folders in an object store; s3fs would create a bucket
            if not self._atomic:
                self._store.makedirs(self._folder, exist_ok=True)
            if self._local and not os.access(self._folder, os.W_OK):
                raise PermissionError(0, "Permission denied")

    def names(self) -> set[str]:
        """The names of the files that are there, each once it is complete. A local file that was cut is removed."""
        with self._reported(self.address):
            try:
                paths = self._store.ls(self._folder, detail=False)
            except FileNotFoundError:  # no object yet
                paths = []
            files = {os.path.basename(path) for path in paths if path.endswith(".parquet")}
            cut = {name for name in files if self._local and not _has_end(f"{self._folder}/{name}")}
        self.remove(cut)
        return files - cut

    def exists(self, name: str) -> bool:
        """Whether a file is there now."""
        with self._reported(f"{self.address}/{name}"):
            return bool(self._store.exists(f"{self._folder}/{name}"))

    def failed(self, name: str) -> bool:
        """Whether a file has rows with an error, from its footer, or none that can be read."""
        with (
            self._reported(f"{self.address}/{name}"),
            self._store.open(f"{self._folder}/{name}", "rb") as file,
        ):
            try:
                return int(json.loads(pq.read_metadata(file).metadata[_META])["failed"]) > 0
            except (pa.ArrowException, OSError, LookupError, TypeError, ValueError):
                return True

    def read(self, name: str, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """The rows of a file, by row group. OutputError: it is damaged."""
        with (
            self._reported(f"{self.address}/{name}"),
            self._store.open(f"{self._folder}/{name}", "rb") as file,
        ):
            groups = pq.ParquetFile(file, pre_buffer=False)
            yield from (
                groups.read_row_group(index, columns) for index in range(groups.num_row_groups)
            )

    def write(
        self, name: str, tables: Iterable[pa.Table], schema: pa.Schema, about: dict[str, Any]
    ) -> None:
        """Write a file, all of it or nothing; ``about`` and the number of failed rows become its metadata.

        Raises:
            OutputError: no space, no permission, no connection.
        """
        sink = pa.BufferOutputStream()
        failed = 0
        with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
            for table in tables:
                failed += len(table) - table["error"].null_count
                writer.write_table(table)
            writer.add_key_value_metadata({_META: json.dumps({**about, "failed": failed}).encode()})
        data = sink.getvalue()
        path = f"{self._folder}/{name}"
        if self._local:
            write_files({Path(path): data.to_pybytes()})
            return
        with self._reported(f"{self.address}/{name}"):
            if self._atomic:
                self._store.pipe_file(path, data.to_pybytes())
            else:
                temporary = f"{self._folder}/.{name}.{secrets.token_hex(6)}.tmp"
                self._store.pipe_file(temporary, data.to_pybytes())
                self._store.mv(temporary, path)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files that another run may have removed already."""
        for name in names:
            with self._reported(f"{self.address}/{name}"), suppress(FileNotFoundError):
                self._store.rm_file(f"{self._folder}/{name}")

    @contextmanager
    def _reported(self, address: str) -> Iterator[None]:
        try:
            yield
        except errors.PvlrError:
            raise
        except Exception as error:  # each store has its own
            raise errors.OutputError(
                address,
                "a writable folder",
                getattr(error, "strerror", None) or str(error) or type(error).__name__,
                "Free some space, or check your rights and the address; run the command again to go on.",
            ) from error


def _has_end(path: str) -> bool:
    """Whether a Parquet file was not cut short."""
    with suppress(FileNotFoundError), open(path, "rb") as file:  # another run may have removed it
        file.seek(-min(12, os.path.getsize(path)), os.SEEK_END)
        end = file.read()
        return len(end) == 12 and end.endswith(b"PAR1")
    return False
