"""A fuzz target for the rows of tables: python tests/pvlr_sdk/batch/fuzz_rows.py -max_total_time=600

Any text is a regular file, an address that may be requested, or an error; any id and any image is a row.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["pvlr_sdk.batch.images", "pvlr_sdk.batch.columns"]):
    from pvlr_sdk import errors
    from pvlr_sdk.batch import images
    from pvlr_sdk.batch.columns import Columns

import pyarrow as pa

_SCHEMES = (
    "",
    "file",
    "local",
    "FILE",
    "http",
    "https",
    "s3",
    "gs",
    "zip",
    "dir",
    "simplecache",
    "memory",
    "reference",
)
_PARTS = (
    "://",
    "::",
    "/",
    "\0",
    "%00",
    "%2e",
    "..",
    "[",
    "]",
    "@",
    ":",
    "#",
    "?",
    "dev",
    "zero",
    "é",
    "\ud800",
    "x" * 300,
)
_REQUESTED = ("http", "https", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "hf")
_IDS = (
    pa.timestamp("us"),
    pa.timestamp("ns"),
    pa.duration("s"),
    pa.date64(),
    pa.time64("us"),
    pa.int64(),
    pa.float64(),
)


def _fetch(url: str, count: int) -> bytes:
    if url.partition("://")[0].lower() not in _REQUESTED or "::" in url:
        _refused.append(url)
    return bytes(min(2000, count))


_refused: list[str] = []


images._fetch = _fetch


def check(data: bytes) -> None:
    """One input."""
    provider = atheris.FuzzedDataProvider(data)
    text = provider.PickValueInList(list(_SCHEMES)) + provider.PickValueInList(["://", "://", ":", "::", ""])
    for _ in range(provider.ConsumeIntInRange(0, 6)):
        text += provider.PickValueInList(list(_PARTS)) if provider.ConsumeBool() else provider.ConsumeUnicode(4)
    loaded = list(images.load([images.of_row(text)], 2**18))
    ((frame, size),) = loaded
    if _refused:
        raise AssertionError(f"{_refused} is requested")
    if not (isinstance(frame, (bytes, Path, errors.FrameError)) and 0 <= size <= 2**15):
        raise AssertionError((text, frame, size))
    raw = provider.ConsumeBytes(8).ljust(8, b"\0")
    ids = pa.array([int.from_bytes(raw, "little", signed=True)], pa.int64()).view(provider.PickValueInList(list(_IDS)))
    image = pa.array([raw]).view(pa.string()) if provider.ConsumeBool() else pa.array([raw])
    if provider.ConsumeBool():
        image = pa.StructArray.from_arrays(
            [pa.nulls(1, pa.binary()), ids if provider.ConsumeBool() else image], ["bytes", "path"]
        )
    columns = Columns().checked(pa.schema({"id": ids.type, "image": image.type}), "table")
    ((name, _),) = columns.rows(pa.table({"id": ids, "image": image}))
    if not isinstance(name, str):
        raise AssertionError(name)


if "PVLR_PLANTED_BUG" in os.environ:  # archives are opened
    images._REMOTE = (*images._REMOTE, "zip", "dir")

if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
