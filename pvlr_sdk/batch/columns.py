"""Which columns of a table are the ids and the images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from .. import errors
from .images import MAX_TEXT, Image, cause, of_row, unreadable

_ID = "id"
_IMAGES = ("bytes", "image", "uri", "url", "path")
_TYPES = (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())


@dataclass(frozen=True)
class Columns:
    """The names of the columns: ``id`` may be missing in a table; ``image`` None is the first of those that exist."""

    id: str = _ID
    image: str | None = None

    def checked(self, schema: pa.Schema, source: str) -> Columns:
        """These columns in a schema.

        Raises:
            OptionError: a column is missing or has another type.
        """
        choices = (self.image,) if self.image else _IMAGES
        image = next((name for name in choices if name in schema.names), None)
        if image is None:
            raise _missing(f"a column of images: {', '.join(choices)}", schema, source)
        has_ids = self.id in schema.names
        if not has_ids and self.id != _ID:
            raise _missing(f"a column of ids: {self.id}", schema, source)
        if has_ids and not _is_bounded(ids := schema.field(self.id).type):
            raise errors.OptionError(
                f"{source}, column {self.id}",
                "numbers, strings or binary",
                str(ids),
                "Name another column of ids.",
            )
        kind = schema.field(image).type
        if not _is_of_images(kind):
            raise errors.OptionError(
                f"{source}, column {image}",
                "strings, binary, or a struct with bytes and path",
                str(kind)[:500],
                "Name another column of images.",
            )
        return Columns(self.id if has_ids else "", image)

    @property
    def names(self) -> list[str]:
        """What to read of a file, for checked columns."""
        return [name for name in (self.id, self.image) if name]

    def rows(
        self, batch: Any, first: int = 0, source: str = ""
    ) -> Iterator[tuple[str | None, Image]]:
        """The id and the image of each row of a table or record batch, for checked columns.

        Where there is no id, the path or URL is the id, and for bytes the number of the row, beginning with ``first``,
        after the name of the source.
        """
        images: Sequence[Any] = batch.column(self.image)
        ids: Sequence[Any] = batch.column(self.id) if self.id else [None] * len(images)
        for number, (name, image) in enumerate(zip(ids, images, strict=True), first):
            try:
                value: Any = image.as_py()
            except Exception as error:  # such as a string that is not UTF-8
                value = unreadable(str(number), cause(error))
            path = value if isinstance(value, str) else None
            if isinstance(value, dict):
                path = value.get("path")
                value = path if value.get("bytes") is None else value["bytes"]
            by_address = path is not None and value is path
            label_of_row = (
                (str(path) if by_address else f"{source}{path or number}")
                if name is None
                else _text(name, number)
            )
            yield label_of_row and label_of_row[:MAX_TEXT], of_row(value)


def _missing(expected: str, schema: pa.Schema, source: str) -> errors.OptionError:
    return errors.OptionError(
        source,
        expected,
        f"the columns {', '.join(schema.names)}" if schema.names else "no columns",
        "Name the columns of ids and images.",
    )


def _is_of_images(kind: pa.DataType) -> bool:
    """Whether a column of this type can have images: paths or encoded bytes, or a struct with bytes."""
    if not pa.types.is_struct(kind):
        return kind in _TYPES
    parts = {kind.field(i).name: kind.field(i).type for i in range(kind.num_fields)}
    return parts.get("bytes", kind) in _TYPES and all(map(_is_bounded, parts.values()))


def _is_bounded(kind: pa.DataType) -> bool:
    """Whether a value takes about the memory that it takes in a file, where the elements of lists, and nulls of any
    width, take a few bits."""
    kind = getattr(kind, "storage_type", kind)
    wide = isinstance(kind, pa.FixedSizeBinaryType) and kind.byte_width > MAX_TEXT
    return not (wide or pa.types.is_nested(kind))


def _text(name: pa.Scalar, number: int) -> str | None:
    """An id as text; for what Python has no value for, such as some dates of Arrow, the number that it is stored as."""
    try:
        value = name.as_py()
    except Exception:  # of Arrow, decimal or zoneinfo
        value = getattr(name, "value", number) if pa.types.is_temporal(name.type) else number
    return (
        None
        if value is None
        else str(value[:MAX_TEXT] if isinstance(value, (str, bytes)) else value)
    )
