"""``pvlr batch``: the totals, the statuses, Ctrl-C."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("pyarrow")


def test_totals_and_status(pvlr, folder, plan, tmp_path):
    command = ["batch", folder, "--out", tmp_path / "out", "--plan", plan, "--threads", "2"]
    done = pvlr(*command, "--json")
    assert (done.code, done.err) == (0, "")
    first = json.loads(done.out)
    assert (first["images"], first["tagged"], first["failed"]) == (3, 3, {})
    (folder / "bad.jpg").write_bytes(b"no image")
    (folder / "bad.parquet").write_bytes(b"no table")
    done = pvlr(*command)
    assert done.code == 2
    assert "1 ImageDecodeError" in done.out
    unreadable, failed, again = done.err.splitlines()
    assert unreadable.startswith(
        f"pvlr: SourceOpenError: {folder}/bad.parquet: expected a complete file"
    )
    assert failed.startswith(f"pvlr: ImageDecodeError: {folder}/bad.jpg: expected an image")
    assert (
        again
        == "pvlr: the column error of the dataset names all failed images; --retry-failed tags them again."
    )
    assert pvlr(*command, "--exclude", "bad*", "--json").code == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--engine", "spark"], "OptionError: --engine: expected one of local, ray, got 'spark'."),
        (
            ["--engine", "ray", "--address", "127.0.0.1:9"],
            "--address: expected a Ray cluster, got ConnectionRefusedError",
        ),
        (["--threshold", "2"], "OptionError: threshold: expected a number from 0 to 1, got 2.0."),
        (["--image-column", "x"], ""),  # no Parquet file
    ],
)
def test_wrong_options(pvlr, folder, plan, tmp_path, options, told):
    if "ray" in options:
        pytest.importorskip("ray", reason="needs the extra [ray]")
    done = pvlr("batch", folder, "--out", tmp_path / "out", "--plan", plan, *options)
    assert (done.code == 2) == bool(told)
    assert told in done.err


def test_the_former_name_of_read_ahead(pvlr, folder, plan, tmp_path, monkeypatch):
    from pvlr_sdk.batch import tag_batch

    given = []
    load = tag_batch.load
    monkeypatch.setattr(tag_batch, "load", lambda *args: given.append(args[1]) or load(*args))
    for option in ("--memory", "--read-ahead"):
        done = pvlr("batch", folder, "--out", tmp_path / option, "--plan", plan, option, 80)
        assert done.code == 0
        assert ("--read-ahead now" in done.err) == (option == "--memory")
        assert given.pop() == 80 << 20


def test_ctrl_c_says_how_to_continue(pvlr, folder, plan, tmp_path, monkeypatch):
    from pvlr_sdk.batch import job

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(job.Worker, "__call__", interrupted)
    done = pvlr("batch", folder, "--out", tmp_path / "out", "--plan", plan)
    assert done.code == 130
    assert "the same command continues" in done.err


def test_without_its_packages_the_message_has_the_command(pvlr, folder, monkeypatch):
    import sys

    for name in [name for name in sys.modules if name.startswith("pvlr_sdk.batch")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    done = pvlr("batch", folder, "--out", "x")
    assert done.code == 2
    assert done.err.startswith(
        "pvlr: MissingPartError: pvlr_sdk.batch: expected pyarrow and fsspec"
    )
    assert "[batch]" in done.err
