"""Sizes and names of the members of a tar."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest

from pvlr_sdk.batch.archive import read_members
from pvlr_sdk.batch.images import of_row

from .test_untrusted import MIB, header, member, pax


@pytest.mark.parametrize("size", ["-1", "-600", "+4", "0x4", "1_0", ""])
def test_an_invalid_size_is_ignored(size):
    """-1 would be all that follows, in memory at once."""
    data = pax(size=size) + member("a.jpg", b"data") + member("b.jpg", b"good") + bytes(1024)
    found = list(read_members(io.BytesIO(data), "s", lambda _: True, MIB))
    assert found == [("s/a.jpg", b"data"), ("s/b.jpg", b"good")]


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE])
def test_a_negative_size_is_the_end(kind):
    data = gzip.compress(member("a.jpg", b"1") + header("b.jpg", -1, kind) + bytes(20 * MIB))
    first, (_, error) = read_members(io.BytesIO(data), "s", lambda _: True, MIB)
    assert (first, error.got) == (("s/a.jpg", b"1"), "a member of negative size")


@pytest.mark.parametrize(
    ("data", "got"),
    [
        (pax() * 16 + member("a.jpg", b"1"), "more than 16 headers of a member"),
        (header("a.jpg", 0) * (MIB // 4), "headers that are compressed too well"),
    ],
    ids=["of a member", "of many members"],
)
def test_headers_that_are_compressed_too_well(data, got):
    """7 MB would be three million headers, and take minutes."""
    file = io.BytesIO(gzip.compress(member("first.jpg", b"1") + data))
    first, (_, error) = read_members(file, "s", lambda name: name == "first.jpg", MIB)
    assert first == ("s/first.jpg", b"1")
    assert error.got == got


def test_names_and_addresses_are_short():
    """A megabyte in each of many members or rows would fill the memory."""
    data = pax(path="x" * 9000 + ".jpg") + member("a", b"1") + bytes(1024)
    ((place, _),) = read_members(io.BytesIO(data), "s", lambda name: name.endswith(".jpg"), MIB)
    rows = map(of_row, ["x" * 9000, "s3://" + "x" * 9000, "x" * 9000 + "://"])
    assert [len(place), *(row.got for row in rows)] == [8192, "str", "str", "str"]


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_names_are_those_of_tarfile(format):
    names = [
        "a.jpg",
        "d/" * 60 + "b.jpg",
        *(["ü.jpg", "x" * 300] if format != tarfile.USTAR_FORMAT else []),
    ]
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(name), 1.5
            archive.addfile(info, io.BytesIO(b"x" * len(name)))
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = (
            tarfile.SYMTYPE,
            "y" * 200 if format != tarfile.USTAR_FORMAT else "y",
        )
        archive.addfile(link)
    file.seek(0)
    assert list(read_members(file, "s", lambda _: True, MIB)) == [
        (f"s/{name}", b"x" * len(name)) for name in names
    ]
