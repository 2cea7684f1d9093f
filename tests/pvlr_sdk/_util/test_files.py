"""read_file: regular files within a limit only. write_files: all or none."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pvlr_sdk import errors
from pvlr_sdk._util.files import read_file, write_files, write_folder


@pytest.mark.parametrize("size", [0, 1, 4096, 100_000])
def test_a_file_of_at_most_the_limit_is_read_whole(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data)
    assert read_file(tmp_path / "file", size) == data
    if size:
        with pytest.raises(OSError, match=f"limit of {size - 1} bytes") as caught:
            read_file(tmp_path / "file", size - 1)
        assert caught.value.errno == errno.EFBIG


def test_a_sparse_file_of_200_gb_costs_nothing(tmp_path: Path) -> None:
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(200 * 10**9)
    with pytest.raises(OSError, match="Larger"):
        read_file(tmp_path / "huge", 1 << 20)


def test_what_is_not_a_regular_file_neither_blocks_nor_floods(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero"), Path("/dev/stdin")):
        if path.is_file():
            continue  # standard input of this run
        with pytest.raises(OSError, match=r"Not a regular file|No such device"):
            read_file(path, 100)
    with pytest.raises(IsADirectoryError):
        read_file(tmp_path, 100)


def test_files_that_report_no_size_are_limited_too() -> None:
    assert read_file("/proc/self/status", 1 << 20).startswith(b"Name:")
    with pytest.raises(OSError, match="Larger"):
        read_file("/proc/self/status", 10)


def test_a_folder_leaves_no_descriptor_open(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with pytest.raises(IsADirectoryError, match=tmp_path.name):
            read_file(tmp_path, 100)
    assert os.listdir("/proc/self/fd") == before


def test_a_folder_where_a_file_belongs_changes_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "first").write_bytes(b"old")
    (tmp_path / "second").mkdir()
    with pytest.raises(errors.OutputError, match=r"second: .*Is a directory"):
        write_files({tmp_path / "first": b"new", tmp_path / "second": b"new"})
    assert (tmp_path / "first").read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["first", "second"]


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
@pytest.mark.parametrize("fails", ["second", "third"])
def test_a_rename_that_fails_leaves_every_file_as_it_was(
    fails: str, links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``second`` is new, and the others exist; without the right to replace one, as with a mount point."""
    for name in ("first", "third"):
        (tmp_path / name).write_bytes(f"old {name}".encode())
    replace = os.replace

    def refused(source: Path, target: Path) -> None:
        if target.name == fails and source.read_bytes() == b"new":
            raise OSError(errno.EBUSY, "Device or resource busy", str(target))
        replace(source, target)

    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "replace", refused)
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(errors.OutputError, match=f"{fails}: .*busy.*nothing was changed"):
        write_files({tmp_path / name: b"new" for name in ("first", "second", "third")})
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert found == {"first": b"old first", "third": b"old third"}


def test_a_folder_is_complete_or_not_there(tmp_path: Path) -> None:
    write_folder(tmp_path / "new", {"a": b"1", "b/c": b"2"})
    with pytest.raises(
        errors.OutputError, match="new: expected a writable folder, got Directory not empty"
    ):
        write_folder(tmp_path / "new", {"a": b"3"})
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert {
        path.name: path.read_bytes() for path in (tmp_path / "new").rglob("*") if path.is_file()
    } == {
        "a": b"1",
        "c": b"2",
    }


def test_a_folder_below_a_file_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(errors.OutputError, match="expected a writable path, got Not a directory"):
        write_folder(tmp_path / "file/new", {"a": b"1"})


def test_replaced_files_leave_no_second_name(tmp_path: Path) -> None:
    for text in (b"old", b"new"):
        write_files({tmp_path / name: text for name in ("first", "second")})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "first": b"new",
        "second": b"new",
    }
