"""Parquet files whose pages, lengths or columns are larger than they say."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pvlr_sdk import errors
from pvlr_sdk.batch.columns import Columns
from pvlr_sdk.batch.pages import Pages
from pvlr_sdk.batch.shards import Input, read

MIB = 2**20


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.int8()),
        pa.struct({"a": pa.int8()}),
        pa.fixed_shape_tensor(pa.int8(), [9]),
        pa.binary(2**30),
    ],
)
def test_columns_whose_values_may_be_larger_than_the_file(kind):
    """2^27 nulls in a list are a file of 1 kB."""
    image = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    Columns().checked(pa.schema({"id": pa.decimal256(76), "image": image}), "s")
    for schema in (
        {"id": kind, "bytes": pa.binary()},
        {"image": pa.struct([*image, pa.field("more", kind)])},
    ):
        with pytest.raises(
            errors.OptionError, match=r"s, column (id|image): expected (numbers|strings), .*, got "
        ):
            Columns().checked(pa.schema(schema), "s")


def write_lie(path, size, **options):
    """A Parquet file with a value of so many zeros, of at least 2 MiB, which according to the footer has 99 bytes."""
    table = pa.table({"id": ["a"], "bytes": pa.array([bytes(size)], pa.large_binary())})
    pq.write_table(table, path, compression="zstd", **options)
    stated = 2 * pq.read_metadata(path).row_group(0).column(1).total_uncompressed_size
    data = path.read_bytes().replace(
        bytes(stated >> 7 * i & 127 | 128 * (i < 3) for i in range(4)), b"\xc6\x81\x80\0"
    )
    path.write_bytes(data)
    assert pq.read_metadata(path).row_group(0).column(1).total_uncompressed_size == 99


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"use_dictionary": False}, {"data_page_version": "2.0"}])
@pytest.mark.parametrize("plain", [MIB, 64 * MIB])
def test_a_page_that_is_larger_than_the_footer_says(options, plain, tmp_path, monkeypatch):
    monkeypatch.setattr("pvlr_sdk.batch.archive._PLAIN", plain)
    write_lie(tmp_path / "a.parquet", 20 * MIB, **options)
    (shard,) = Input(str(tmp_path / "a.parquet")).shards(lambda error: pytest.fail(str(error)))
    with pytest.raises(
        errors.SourceOpenError, match=r"pages of at most \d+ bytes, .* got 2097\d{4} bytes"
    ):
        list(read(shard, Columns(), 64 * MIB))
    if plain == 64 * MIB:
        ((name, image),) = read(shard, Columns(), 100 * MIB)
        assert (name, len(image)) == ("a", 20 * MIB)


def test_a_footer_has_a_limit(tmp_path):
    table = pa.table({"bytes": [b"x"]})
    pq.write_table(table.replace_schema_metadata({"a": "b" * MIB}), tmp_path / "a.parquet")
    (shard,) = Input(str(tmp_path / "a.parquet")).shards(lambda error: pytest.fail(str(error)))
    with pytest.raises(errors.SourceOpenError, match=r"a footer of 24\d{5} bytes"):
        list(read(shard, Columns(), 32 * MIB))
    assert len(list(read(shard, Columns(), 64 * MIB))) == 1


@pytest.mark.parametrize(
    "header",
    [
        b"\x15\0\x15\x80\x80\x80\x08\x15\2\0",  # 8 MiB
        b"\x15\0\x15\1\x15\2\0",  # -1 bytes
        b"\x15\0\x15\2\x15\x13\0",  # the next page would be this one
        b"\x15\0\x15\x80\x80\x80\x88\x40\x15\2\0",  # 8 MiB and 2^33, of which 32 bits are read
        b"\x15\0\x15\2\0",  # no third field
        b"\x15\0\x15\x80\x80\x80\x08\x15\2\5\5\2\0",  # and the second again, as -3
        b"\x15\0\x15\x80\x80\x80\x08\x15\2" + b"\xf1" * 4369 + b"\x05\4\2\0",  # as 2^16 + 2
        b"\x15\0\x15\x80\x80\x80\x08\x16\2\0",  # the third with 64 bits
        b"\x15\0\x15\2\x15\2\x19\2\0",  # a list
        b"\x15\0\x15\2\x15\2" + b"\x1c" * 9999,  # nested
        b"\x15\0\x15",
    ],
)
def test_page_headers_that_are_refused(header):
    pages = Pages(io.BytesIO(header + bytes(99)), "s", 4 * MIB)
    pages.chunks.append((0, len(header)))
    with pytest.raises((errors.SourceOpenError, ValueError, KeyError, IndexError, RecursionError)):
        pages.read(1)


@pytest.mark.parametrize("encoding", ["DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_a_page_that_states_many_values(encoding, version, tmp_path):
    """2^28 lengths are 1 GB in pyarrow."""
    table, path = pa.table({"bytes": pa.array([b"1" * 200])}), tmp_path / "a.parquet"
    options = {"compression": "none", "use_dictionary": False, "column_encoding": encoding}
    pq.write_table(table, path, data_page_version=version, **options)
    one, many = b"\x80\1\4\1", b"\x80\x80\x80\x80\4\1\x80\x80\x80\x80\1\0\0\0"
    data = path.read_bytes()
    path.write_bytes(data[: data.index(one)] + many + data[data.index(one) + len(many) :])
    (shard,) = Input(str(path)).shards(lambda error: pytest.fail(str(error)))
    with pytest.raises(errors.SourceOpenError, match="without delta encoding, got "):
        list(read(shard, Columns(), 64 * MIB))
