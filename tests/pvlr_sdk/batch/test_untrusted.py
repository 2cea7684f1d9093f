"""Archives, tables and URLs from outside: bounded memory, one row with its error, and everything else is tagged."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tarfile
import threading
import tracemalloc
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pvlr_sdk import errors
from pvlr_sdk.batch import TagBatch, images
from pvlr_sdk.batch.archive import read_members

from .test_pages import write_lie

MIB = 2**20


def header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def member(name: str, data: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    return header(name, len(data), kind) + data + bytes(-len(data) % 512)


def sparse(name: str, extended: int = 0) -> bytes:
    """500 MiB without data, with more headers of its map."""
    block = bytearray(header(name, kind=tarfile.GNUTYPE_SPARSE))
    block[386:398] = block[483:495] = b"%011o\0" % (500 * MIB)
    block[398:410], block[482] = b"%011o\0" % 0, extended > 0
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + b"".join(
        bytes(504) + bytes([i < extended - 1]) + bytes(7) for i in range(extended)
    )


def pax(**values: str) -> bytes:
    records = b""
    for name, value in values.items():
        text = f" {name.replace('__', '.')}={value}\n".encode()
        length = len(text) + len(str(len(text) + 2))
        records += str(length).encode() + text
    return member("PaxHeader", records, tarfile.XHDTYPE)


HOSTILE = {
    "sparse": lambda: sparse("a.jpg") * 64,
    "sparse map": lambda: sparse("a.jpg", extended=10_000),
    "sparse pax": lambda: (
        pax(GNU__sparse__major="1", GNU__sparse__name="a.jpg") + member("b", b"9" * 30 + b"\n")
    ),
    "pax": lambda: header("p", 20 * MIB, tarfile.XHDTYPE) + bytes(20 * MIB) + member("a.jpg", b""),
    "pax chain": lambda: member("p", bytes(MIB // 2), tarfile.XHDTYPE) * 12 + member("a.jpg", b""),
    "long name": lambda: (
        header("p", 20 * MIB, tarfile.GNUTYPE_LONGNAME) + bytes(20 * MIB) + member("a.jpg", b"")
    ),
    "zeros": lambda: header("a.jpg", 10 * MIB) + bytes(10 * MIB),
    "large": lambda: pax(size=str(17 * MIB)) + header("a.jpg") + bytes(17 * MIB),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_a_member_that_breaks_a_limit_is_an_error_and_the_rest_is_read(name, tmp_path, monkeypatch):
    monkeypatch.setattr("pvlr_sdk.batch.archive._PLAIN", 8 * MIB)
    others = (
        "global",
        member("g", bytes(2 * MIB), tarfile.XGLTYPE),
        member("l" * 100, bytes(2 * MIB), b"K"),
    )
    data = (
        HOSTILE[name]()
        + others[1]
        + others[2]
        + pax(path="é.jpg")
        + member("x", b"good")
        + bytes(1024)
    )
    with gzip.open(tmp_path / "a.tar.gz", "wb", 1) as file:
        file.write(data)
    del data
    with open(tmp_path / "a.tar.gz", "rb") as file:
        *found, last = read_members(file, "s", lambda name: name.endswith(".jpg"), 16 * MIB)
    assert last == ("s/é.jpg", b"good")
    assert len(found) == (64 if name == "sparse" else 1)
    assert {(place, type(error).__name__) for place, error in found} == {
        ("s/a.jpg", "ImageSizeError")
    }


def test_an_archive_that_is_too_large_unpacked_ends_with_an_error(monkeypatch):
    monkeypatch.setattr("pvlr_sdk.batch.archive._MAX_UNPACKED", 10 * MIB)
    data = gzip.compress(member("a.jpg", b"1") + header("b", 20 * MIB) + bytes(20 * MIB))
    first, (place, error) = read_members(
        io.BytesIO(data), "s", lambda name: name.endswith(".jpg"), MIB
    )
    assert first == ("s/a.jpg", b"1")
    assert (place, error.got) == ("s", f"more than {10 * MIB} bytes when unpacked")


def test_a_member_that_is_compressed_too_well_is_not_held_in_memory(monkeypatch):
    monkeypatch.setattr("pvlr_sdk.batch.archive._PLAIN", 2 * MIB)
    data = gzip.compress(member("a.jpg", bytes(50 * MIB)) + bytes(1024), 1)
    tracemalloc.start()
    ((_, error),) = read_members(io.BytesIO(data), "s", lambda _: True, 100 * MIB)
    assert (error.got, tracemalloc.get_traced_memory()[1] < 10 * MIB) == (
        "data that is compressed too well",
        True,
    )
    tracemalloc.stop()


@pytest.fixture
def endless():
    """A server whose answer never ends, whatever range is asked for."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(bytes(MIB))
            except OSError:
                pass

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/a.jpg"
    server.shutdown()


def test_urls_of_rows(plan, tmp_path, images, endless):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "a b.jpg").write_bytes(images(1)[0])
    refused = [
        f"local://{tmp_path}/fifo",
        f"FILE://{tmp_path}/fifo",
        f"{tmp_path}/fifo",
        "local:///dev/zero",
        "/dev/zero",
    ]
    refused += [
        "zip://x::file:///dev/zero",
        "dir://x",
        "simplecache::file:///dev/zero",
        "http://x::file:///dev/zero",
    ]
    refused += [
        "reference://",
        "generic://x",
        "jupyter://x",
        "async_wrapper://x",
        "memory://x",
        "data://x",
        "file://[x",
    ]
    refused += [
        "s3://",
        "http://",
        "http://[",
        "https://a:b/",
        "a\0b",
        "x" * 5000,
        "simplecache://",
        "://",
        "",
        endless,
    ]
    good = [
        str(tmp_path / "a b.jpg"),
        f"local://{tmp_path}/a%20b.jpg",
        f"FILE://{tmp_path}/a%20b.jpg",
    ]
    tag = TagBatch(plan, memory=64 * MIB)
    found = tag(pa.table({"url": [*refused, *good]})).to_pylist()
    tag.tagger.close()
    assert [row["id"] for row in found] == [*refused, *good]
    assert [row["id"] for row in found if row["error"] is None] == good
    assert {row["id"]: row["error"]["type"] for row in found if row["error"]}[
        endless
    ] == "ImageSizeError"


def test_a_file_of_the_system_is_not_read():
    """Its size is 0, and six times /proc/self/pagemap took 3.5 GB."""
    assert list(images.load(["/proc/self/pagemap"], MIB)) == [(b"", 0)]


def test_rows_that_python_cannot_hold(plan, images):
    (image,) = images(1)
    cases = [
        pa.array([2**62], pa.timestamp("us")),
        pa.array([2**62], pa.duration("s")),
        pa.array([2**31 - 1], pa.date32()),
        pa.array([b"\xff"]).view(pa.string()),
        pa.array(["x" * 9000]),
        pa.array([5]).view(pa.timestamp("us", "No/Where")).dictionary_encode(),
        pa.array([b"\x7f" + bytes(31)], pa.binary(32)).view(pa.decimal256(76, -100)),
    ]
    tag = TagBatch(plan)
    ids = [tag(pa.table({"id": ids, "bytes": [image]})).to_pylist()[0]["id"] for ids in cases]
    struct = pa.array(
        [{"bytes": None, "path": 5}], pa.struct({"bytes": pa.binary(), "path": pa.int64()})
    )
    rows = [
        tag(pa.table({"image": column})).to_pylist()[0]
        for column in (struct, pa.array([b"\xff"]).view(pa.string()))
    ]
    failed = tag.table(
        [("a", errors.FrameError("x", expected="\ud800", got="\x1b" * 2000, hint=""))]
    ).to_pylist()
    assert failed[0]["error"]["message"] == ("expected \\ud800, got " + "\\x1b" * 250)[:1000]
    tag.tagger.close()
    assert ids == [str(2**62), str(2**62), str(2**31 - 1), "0", "x" * 8192, "0", "0"]
    assert [row["error"]["type"] for row in rows] == ["FrameTypeError", "ImageNotFoundError"]


def test_images_are_read_ahead_within_the_memory(monkeypatch):
    """Whatever is slow, and whether images come as bytes or by URL."""
    memory, size = 64 * MIB, 6 * MIB
    alive: list[int] = []
    most = 0

    def found():
        nonlocal most
        for _ in range(60):
            alive.append(size)
            most = max(most, sum(alive))
            yield bytes(size)

    for _ in images.load(found(), memory):
        alive.pop()
    assert most <= memory // 2 + size
    requested: list[int] = []

    def fetch(_, count):
        requested.append(count)
        return bytes(min(size, count))

    monkeypatch.setattr(images, "_fetch", fetch)
    loaded = list(images.load((f"s3://b/{n}" for n in range(20)), memory))
    assert [len(frame) for frame, _ in loaded] == [size] * 20
    assert min(requested) * 3 * images._AT_ONCE < memory // 2
    assert requested.count(max(requested)) == 20


def test_large_frames_share_the_memory_in_the_tagger(plan, images):
    frames = [image + bytes(3 * MIB) for image in images(16)]
    tag = TagBatch(plan, memory=32 * MIB)
    few = [row["tags"] for row in tag(pa.table({"bytes": frames})).to_pylist()]
    tag.memory = 2**34
    assert few == [row["tags"] for row in tag(pa.table({"bytes": frames})).to_pylist()]
    tag.tagger.close()


SIZES = """
import sys, gzip
sys.path.insert(0, sys.argv[1])
from tests.pvlr_sdk.batch.test_untrusted import *
kind, path, good = sys.argv[2], sys.argv[3], open(sys.argv[4], "rb").read()
zeros, end = bytes(MIB), member("good.jpg", good) + bytes(1024)
with open(path, "wb") if kind == "sparse" else gzip.open(path, "wb", 1) as file:
    for _ in range({"sparse": 64, "zeros": 6, "pax": 1}[kind]):
        size = {"sparse": 0, "zeros": 400, "pax": 2048}[kind]
        first = sparse("a.jpg") if kind == "sparse" else header("a.jpg", size * MIB, b"x" if kind == "pax" else b"0")
        file.write(first)
        for _ in range(size):
            file.write(zeros)
    file.write(member("a.jpg", b"") + end)
"""
RUN = """
import sys
from pvlr_sdk.cli import main
try:
    main()
finally:
    print(next(line.split()[1] for line in open("/proc/self/status") if "VmHWM" in line), file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sparse", "zeros", "pax", "urls", "table", "pages"])
def test_the_peak_of_memory(kind, plan, tmp_path, images, rows):
    source, good = tmp_path / "in", tmp_path / "good.jpg"
    source.mkdir()
    good.write_bytes(images(1)[0])
    if kind == "urls":
        os.mkfifo(tmp_path / "fifo")
        urls = [
            f"local://{tmp_path}/fifo",
            "zip://x::file:///dev/zero",
            "local:///dev/zero",
            "dir://x",
        ]
        pq.write_table(
            pa.table({"url": [*urls, "simplecache::file:///dev/zero", str(good)]}),
            source / "a.parquet",
        )
    elif kind == "pages":
        write_lie(source / "a.parquet", 120 * MIB)
        (source / "good.jpg").write_bytes(good.read_bytes())
    elif kind == "table":  # one value, 500 times
        values = pa.array([bytes(60 * MIB)], pa.large_binary()).dictionary_encode()
        table = pa.table(
            {"bytes": pa.DictionaryArray.from_arrays(pa.array([0] * 500), values.dictionary)}
        )
        pq.write_table(table, source / "a.parquet", compression="zstd")
        (source / "good.jpg").write_bytes(good.read_bytes())
    else:
        name = source / f"a.tar{'' if kind == 'sparse' else '.gz'}"
        subprocess.run(
            [
                sys.executable,
                "-c",
                SIZES,
                str(Path(__file__).parents[3]),
                kind,
                str(name),
                str(good),
            ],
            check=True,
        )
    options = ["--plan", str(plan), "--out", str(tmp_path / "out"), "--read-ahead", "256"]
    done = subprocess.run(
        [sys.executable, "-c", RUN, "batch", str(source), *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    peak = int(done.stderr.split()[-1])
    print(kind, peak, "kB")
    assert peak < 700_000
    found = pq.read_table(tmp_path / "out").to_pylist()
    assert [row["id"].rpartition("/")[2] for row in found if row["error"] is None] == ["good.jpg"]
