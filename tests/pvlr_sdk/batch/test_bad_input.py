"""Clear errors for what cannot be read or written; nothing is half-written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pvlr_sdk import errors
from pvlr_sdk.batch import Job, TagBatch
from pvlr_sdk.batch.dataset import Dataset
from pvlr_sdk.batch.shards import Input

POOL = pa.proxy_memory_pool(pa.default_memory_pool())
"""Counts what a test allocates. It stays: threads of Arrow free their buffers after the test, too."""


@pytest.fixture
def run(plan, tmp_path):
    def run(source, out=None, **options):
        return Job(Input(str(source), size=4), str(out or tmp_path / "out"), plan, **options).run()

    return run


def test_an_empty_folder(run, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(errors.ImageNotFoundError, match="at least one image, got none"):
        run(tmp_path / "empty")


def test_an_empty_parquet_file_is_a_file_without_rows(run, tmp_path, rows):
    pq.write_table(pa.table({"bytes": pa.array([], pa.binary())}), tmp_path / "a.parquet")
    summary = run(tmp_path / "a.parquet")
    assert (summary.images, summary.shards, rows(summary.dataset)) == (0, 1, {})


@pytest.mark.parametrize("source", ["none", "none/*.jpg"])
def test_an_input_that_does_not_exist(run, tmp_path, source):
    with pytest.raises(errors.SourceOpenError, match="none: expected a readable folder"):
        run(tmp_path / source)


@pytest.mark.parametrize("out", [False, True])
def test_an_unknown_store(run, photos, out):
    with pytest.raises(errors.SourceOpenError, match="nowhere://x: expected a path or URL"):
        run(photos, "nowhere://x") if out else run("nowhere://x")


def nested(levels):
    """A Parquet file with a column in so many others, from 2^14 to 2^21 - 3."""
    count = bytes([levels + 3 & 127 | 128, levels + 3 >> 7 & 127 | 128, levels + 3 >> 14])
    root, group, leaf = b"\x48\1s\x15\4\0", b"\x35\2\x18\1a\x15\2\0", b"\x15\x0c\x25\2\x18\5bytes\0"
    footer = b"\x15\2\x19\xfc" + count + root + group * levels + leaf * 2 + b"\x16\0\x19\x0c\0"
    return b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            pa.table({"bytes": pa.nulls(5000, pa.binary())}),
            "a complete file, got ValueError: more rows than bytes",
        ),
        (nested(20_000), "a complete file, got OSError: .*Exceeded size limit"),
        (b"PAR1 no more", "a complete file, got ArrowInvalid: Parquet"),
        (pa.table({"text": ["a"]}), "a column of images: bytes, .*got the columns text"),
        (pa.table([[b"a"], [b"b"]], ["bytes", "bytes"]), "a complete file, got KeyError: .*bytes"),
        (
            pa.table([["a"], [b"b"], ["c"]], ["id", "bytes", "id"]),
            "a complete file, got KeyError: .*id",
        ),
        (pa.table({"bytes": [bytes(3 << 20)]}), "pages of at most "),
    ],
)
def test_a_bad_parquet_file_is_reported_and_the_others_are_tagged(
    run, photos, rows, content, told, monkeypatch
):
    monkeypatch.setattr("pvlr_sdk.batch.archive._PLAIN", 2 << 20)
    path = str(photos / "a.parquet")
    Path(path).write_bytes(content) if isinstance(content, bytes) else pq.write_table(
        content, path, compression="zstd"
    )
    summary = run(photos)
    assert re.search(
        f"(SourceOpen|Option)Error: {path}: expected {told}", summary.to_dict()["unreadable"][path]
    )
    assert len(rows(summary.dataset)) == 12


def test_any_exception_of_a_reader_is_a_shard_with_its_error(
    run, photos, make_tar, rows, monkeypatch
):
    """Those of a store, a package and a parser are of any class."""
    make_tar(photos / "a.tar", {})

    def broken(*_):
        raise RecursionError("too deep")

    monkeypatch.setattr("pvlr_sdk.batch.shards.read_members", broken)
    summary = run(photos)
    assert "got RecursionError: too deep" in str(summary.unreadable[str(photos / "a.tar")])
    assert len(rows(summary.dataset)) == 12
    monkeypatch.setattr("pvlr_sdk.batch.shards._followed", broken)
    with pytest.raises(
        errors.SourceOpenError, match="a readable folder, got RecursionError: too deep"
    ):
        run(photos)


@pytest.mark.parametrize("where", ["member", "header", "gz"])
def test_a_tar_that_is_cut_short(run, tmp_path, images, make_tar, rows, where):
    files = dict(zip(["a.jpg", "b.jpg", "c.jpg"], images(3), strict=True))
    archive = make_tar(tmp_path / "a.tar", files)
    data = archive.read_bytes()
    size = 512 + -(-len(files["a.jpg"]) // 512) * 512
    if where == "gz":
        subprocess.run(["gzip", str(archive)], check=True)
        archive = tmp_path / "a.tar.gz"
        archive.write_bytes(archive.read_bytes()[:-2000])
    else:
        archive.write_bytes(data[: size + (600 if where == "member" else 100)])
    summary = run(archive)
    found = rows(summary.dataset)
    assert found[f"{archive}/a.jpg"]["error"] is None
    (failed,) = [name for name, row in found.items() if row["error"]]
    assert found[failed]["error"]["type"] == "ImageDecodeError"
    assert failed == (
        str(archive) if where == "header" else f"{archive}/{'c' if where == 'gz' else 'b'}.jpg"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, 0),
        ({}, 100),
        ({"retry_failed": True}, 4),
        ({"retry_failed": True}, -1),
        ({"only_new": True}, -1),
    ],
)
def test_a_file_of_the_dataset_that_was_cut_short_is_no_result(run, photos, rows, options, size):
    whole = run(photos)
    cut = sorted(Path(whole.dataset).glob("*.parquet"))[::2]
    for path in cut:
        path.write_bytes(path.read_bytes()[:size])
    summary = run(photos, **options)
    assert summary.shards >= len(cut)
    assert len(rows(summary.dataset)) == 12


def test_rows_that_failed_in_a_damaged_file_are_tagged_again_with_all_others(run, photos, rows):
    for path in Path(run(photos).dataset).glob("*.parquet"):
        data = path.read_bytes()
        end = len(data) - 8 - int.from_bytes(data[-8:-4], "little")  # the footer is whole
        path.write_bytes(data[:4] + bytes(end - 4) + data[end:])
    summary = run(photos, retry_failed=True)
    damaged = [path for path in Path(summary.dataset).glob("*.parquet") if not _readable(path)]
    assert 0 < summary.images < 12
    assert (
        len(rows([path for path in Path(summary.dataset).glob("*.parquet") if path not in damaged]))
        == summary.images
    )


def test_a_file_whose_footer_cannot_be_read_is_tagged_again(run, photos, rows):
    path = min(Path(run(photos).dataset).glob("*.parquet"))
    data = path.read_bytes()
    end = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    path.write_bytes(data[:end] + bytes(len(data) - 8 - end) + data[-8:])
    assert len(rows(run(photos, retry_failed=True).dataset)) == 12


@pytest.mark.slow
def test_a_file_of_long_ids_needs_little_memory(tmp_path):
    dataset, error = (
        Dataset(str(tmp_path), "0"),
        errors.ImageDecodeError("a", expected="b", got="c", hint="d"),
    )
    chunks = (
        [(f"{row:08}" * 1000, error) for row in range(start, start + 64)]
        for start in range(0, 6400, 64)
    )
    tag = TagBatch()
    before = pa.default_memory_pool()
    pa.set_memory_pool(POOL)
    try:
        dataset.write("a", map(tag.table, chunks), tag.schema, {})
        assert sum(map(len, dataset.read("a"))) == 6400
    finally:
        pa.set_memory_pool(before)
    assert POOL.max_memory() < 40 * 2**20  # of 51 MB


def _readable(path: Path) -> bool:
    try:
        pq.read_table(path)
    except (pa.ArrowException, OSError):
        return False
    return True


def test_a_plan_without_rights(run, photos, monkeypatch):
    def denied(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(errors.PlanNotFoundError, match="a readable plan, got Permission denied"):
        run(photos)


def test_a_target_that_is_no_folder(run, photos, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.OutputError, match="expected a writable folder"):
        run(photos, tmp_path / "file")


@pytest.mark.slow
def test_no_rights_on_the_target():
    code = "from pvlr_sdk.batch.dataset import Dataset, open_filesystem\n"
    # imports what it needs while the environment is still readable
    code += "open_filesystem('/')\n"
    code += "" if os.geteuid() else "import os; os.setuid(65534)\n"
    with tempfile.TemporaryDirectory() as target:
        os.chmod(target, 0o555)
        code += f"Dataset({target!r}, 'key')"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
        )
    assert (
        f"OutputError: {target}/plan=key: expected a writable folder, got Permission denied."
        in done.stderr
    )


def test_a_full_disk_leaves_complete_files_only(run, photos, tmp_path, rows):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "none", str(disk)]
    if os.geteuid() or subprocess.run(mount, check=False).returncode:
        pytest.skip("cannot mount a file system of 128 KB")
    try:
        full = disk / "full"
        full.write_bytes(b"x" * 114_000)
        with pytest.raises(errors.OutputError, match="No space left"):
            run(photos, disk / "out")
        assert [
            path
            for path in (disk / "out").rglob("*")
            if path.is_file() and path.stat().st_size == 0
        ] == []
        complete = len(list((disk / "out").rglob("*.parquet")))
        assert not list((disk / "out").rglob(".*"))
        assert complete
        full.unlink()
        summary = run(photos, disk / "out")
        assert summary.present == complete
        assert len(rows(summary.dataset)) == 12
    finally:
        # a process that was forked meanwhile may hold it
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
