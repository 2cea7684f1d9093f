"""``pvlr tag --out``: a file of results, which a later run can continue."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .. import errors
from ..escape import csv_row
from ..sinks.disk import append, create_file, output_errors

if TYPE_CHECKING:
    from ..frames.find import InputFrame

HEADER = csv_row("source", "frame", "label", "score", "threshold")


class OutputFile:
    """Appends the lines of each image to a file, all of them or none, and knows which images the file has.

    Args:
        path: JSON lines, or CSV if ``as_csv``.
        as_csv: the format, as of ``writers``.
        resume: continue a file of an earlier run. Its last image is removed, to be tagged again: a power failure may
            have cut off its lines.

    Raises:
        OptionError: the file exists, without ``resume``; or it has other contents.
        OutputError: it cannot be written.
    """

    def __init__(self, path: Path, as_csv: bool, resume: bool) -> None:
        self._path, self._as_csv = path, as_csv
        self._done: set[str] = set()
        with output_errors(path, "a file to write results to"):
            if path.exists() and not path.is_file():
                raise errors.OptionError("--out", expected="a file", got=str(path), hint="Without --out, use >.")
            create_file(path)
            size = path.stat().st_size
            if size and not resume:
                hint = "Add --resume to continue it, or choose another name."
                raise errors.OptionError("--out", expected="a new file", got=f"{path}, {size} bytes", hint=hint)
            self.empty = not self._continue()

    @property
    def images(self) -> int:
        """The number of images that an earlier run wrote."""
        return len(self._done)

    def has(self, item: InputFrame) -> bool:
        """Whether an earlier run wrote the results of this image."""
        return self._key(item.source, item.frame) in self._done

    def write(self, *lines: str) -> None:
        """Append the lines of one image. After an OutputError the file is unchanged."""
        with output_errors(self._path, "space for the results", "Free some space, then continue with --resume."):
            append(self._path, "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))

    def _continue(self) -> int:
        """Note which images the file has, and remove the last one. Returns the size that is left."""
        size = kept = 0
        record, last = b"", None
        with open(self._path, "r+b") as file:
            for line in file:
                record += line
                if not line.endswith(b"\n") or (self._as_csv and record.count(b'"') % 2):  # a cell with a line break
                    continue
                image = self._read(record, first=not size)
                if image is None:
                    kept = len(record)
                elif image != last:
                    last, kept = image, size
                    self._done.add(image)
                size, record = size + len(record), b""
            begin = HEADER if self._as_csv else '{"source": '
            if not size and record[: len(begin)] != begin.encode()[: len(record)]:
                raise self._other(record)
            file.truncate(kept)
        self._done.discard(last or "")
        return kept

    def _read(self, record: bytes, *, first: bool) -> str | None:
        """The image of a record; None for the header of a CSV."""
        try:
            text = record.decode("utf-8", "surrogateescape").removesuffix("\n")
            if self._as_csv and first:
                if text == HEADER:
                    return None
                raise ValueError
            if self._as_csv:
                source, frame, *_ = next(csv.reader([text]))
                return self._key(source, frame or None)
            image = json.loads(text)
            return self._key(image["source"], image["frame"])
        except (ValueError, KeyError, TypeError, RecursionError, csv.Error) as error:
            raise self._other(record) from error

    def _other(self, record: bytes) -> errors.OptionError:
        return errors.OptionError(
            "--resume",
            expected=f"results of pvlr tag as {'CSV' if self._as_csv else 'JSON lines'} in {self._path}",
            got=repr(record[:40]),
            hint="Continue in the format of the first run, or choose another file.",
        )

    @property
    def _key(self) -> Callable[[str, int | str | None], str]:
        return _csv_key if self._as_csv else _json_key


def _json_key(source: str, frame: int | str | None) -> str:
    return json.dumps([source, frame])


def _csv_key(source: str, frame: int | str | None) -> str:
    return csv_row(source, "" if frame is None else frame)
