"""A fuzz target for the rows of tables: python tests/pvlr_sdk/batch/fuzz_rows.py -max_total_time=600

Any text is a regular file, an address that may be requested, or an error; any id and any image is a row. An input is a
table of 1000 rows for a real tagger: the first is made of the input, the others of random bytes that it seeds.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import unquote

import atheris

with atheris.instrument_imports(include=["pvlr_sdk.batch.images", "pvlr_sdk.batch.columns"]):
    from pvlr_sdk import errors
    from pvlr_sdk.batch import TagBatch, images, tag_batch

import pyarrow as pa

_ROWS, _MEMORY = 1000, 2**18
_HERE = tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
_GOOD, _FIFO = f"{_HERE}/a b.ppm", f"{_HERE}/fifo"
Path(_GOOD).write_bytes(b"P6 2 2 255 " + bytes(12))
os.mkfifo(_FIFO)
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
    "tar",
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
)
_PARTS += ("x" * 300, _GOOD, _GOOD.replace(" ", "%20"), _FIFO, "/dev/zero", "/proc/self/mem")
_REQUESTED = ("http", "https", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "hf")
_EPS = b"%!PSftypavif\n%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
_BEGIN = (b"", b"\0\0\0\x18ftypheic", b"\0\0\0\x18ftypavif", _EPS, b"\xff\xd8\xff", b"P6 2 2 255 ")
_IDS = (
    pa.timestamp("us"),
    pa.timestamp("ns"),
    pa.duration("s"),
    pa.date64(),
    pa.time64("us"),
    pa.int64(),
)
_IDS += (pa.float64(), pa.timestamp("s", "UTC"))
_ERRORS = (OSError, KeyError, RecursionError, MemoryError, StopIteration)
_refused: list[str] = []
_rows = 0
_tag = TagBatch(os.environ.get("PVLR_FUZZ_PLAN"), memory=_MEMORY)


def _fetch(url: str, count: int) -> bytes:
    if url.partition("://")[0].lower() not in _REQUESTED or "::" in url:
        _refused.append(url)
    if "?" in url:
        raise _ERRORS[len(url) % len(_ERRORS)](url)
    return bytes(min(len(url) * 300, count))


def _checked(found: Iterable[images.Image], memory: int, **options: Any) -> Iterator[images.Loaded]:
    for frame, size in _load(found, memory, **options):
        loaded = isinstance(frame, (bytes, Path, errors.FrameError))
        if not (loaded and 0 <= size <= memory // 8):
            raise AssertionError((frame, size))
        yield frame, size


_load, tag_batch.load = images.load, _checked
images._fetch = _fetch


def _row(data: bytes) -> tuple[str, bytes]:
    provider = atheris.FuzzedDataProvider(data)
    raw = provider.PickValueInList(list(_BEGIN)) + provider.ConsumeBytes(
        provider.ConsumeIntInRange(0, 12)
    )
    text = provider.PickValueInList(list(_SCHEMES)) + provider.PickValueInList(
        ["://", "://", ":", "::", ""]
    )
    for _ in range(provider.ConsumeIntInRange(0, 6)):
        text += (
            provider.PickValueInList(list(_PARTS))
            if provider.ConsumeBool()
            else provider.ConsumeUnicode(4)
        )
    return text, raw


def check(data: bytes) -> None:
    """One table."""
    global _rows
    random = Random(data)
    made = [_row(one) for one in (data, *(random.randbytes(60) for _ in range(1, _ROWS)))]
    raw, paths = pa.array([raw for _, raw in made]), [text for text, _ in made]
    path = pa.array([text.encode(errors="surrogatepass") for text in paths]).view(pa.string())
    numbers = pa.array(
        [int.from_bytes(raw[-8:], "little", signed=True) for _, raw in made], pa.int64()
    )
    image = random.choice([path, path, raw, raw.view(pa.string())])
    if random.random() < 0.3:
        some = pa.array([raw or None for _, raw in made], pa.binary())
        image = pa.StructArray.from_arrays(
            [some, random.choice([path, numbers])], ["bytes", "path"]
        )
    ids = random.choice([numbers.view(random.choice(_IDS)), raw, path])
    direct = random.random() < 0.2  # names of files, which are not always UTF-8
    if direct:
        rows = _tag.table(_tag.tag((None, images.of_row(text)) for text in paths)).to_pylist()
    else:
        rows = _tag(
            pa.table({"image": image} if random.random() < 0.3 else {"id": ids, "image": image})
        ).to_pylist()
    if _refused:
        raise AssertionError(f"{_refused} is requested")
    if len(rows) != _ROWS or max(len(row["id"] or "") for row in rows) > 8192:
        raise AssertionError([row["id"] for row in rows])
    tagged = [text for text, row in zip(paths, rows, strict=True) if not row["error"]]
    if (direct or image is path) and (
        wrong := [text for text in tagged if _GOOD not in unquote(text)]
    ):
        raise AssertionError(f"{wrong} is tagged")
    _rows += _ROWS
    if _rows % 100_000 == 0:
        print(f"{_rows} rows", file=sys.stderr)


if "PVLR_PLANTED_BUG" in os.environ:  # archives are opened
    images._REMOTE = (*images._REMOTE, "zip", "dir")

if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
