"""Stores that send a byte now and then: each URL has its time, and its neighbours are read."""

from __future__ import annotations

import socket
from functools import partial

import fsspec
import pytest

from pvlr_sdk import errors
from pvlr_sdk.batch import images
from tests.pvlr_sdk.cameras.stream.hostile import HTTP, Serve, drip, served, then

MEMORY = 2**20
BODY = HTTP + b"Content-Length: 100000\r\n\r\n"
DRIPS: dict[str, tuple[str, Serve]] = {
    "head": ("http", partial(drip, first=HTTP + b"X: ", again=b"y")),
    "body": ("http", then(BODY, partial(drip, first=b"", again=b"y"))),
    "chunk": (
        "http",
        then(HTTP + b"Transfer-Encoding: chunked\r\n\r\n", partial(drip, first=b"", again=b"0")),
    ),
}


def good(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(HTTP + b"Content-Length: 4\r\nConnection: close\r\n\r\ngood")


def test_a_url_that_drips_keeps_no_other_from_being_read(monkeypatch):
    monkeypatch.setattr(images, "_SECONDS", 1.0)
    with served({**DRIPS, "good": ("http", good)}) as uris:
        *dripping, last = images.load([f"{uri}a.jpg" for uri in uris.values()], MEMORY)
        assert last == (b"good", 4)
        assert len(dripping) == len(DRIPS)
        assert all("TimeoutError" in str(error) for error, _ in dripping)


@pytest.mark.slow
@pytest.mark.parametrize("name", DRIPS)
def test_an_object_store_that_drips(monkeypatch, name):
    s3fs = pytest.importorskip("s3fs")
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setattr(images, "_SECONDS", 1.0)
    with served({name: DRIPS[name]}) as uris:
        for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(key, "test")
        monkeypatch.setenv("AWS_ENDPOINT_URL", uris[name].rstrip("/"))
        ((error, _),) = images.load(["s3://bucket/a.jpg"], MEMORY)
    s3fs.S3FileSystem.clear_instance_cache()
    assert isinstance(error, errors.ImageNotFoundError)
    assert "TimeoutError" in str(error)


def test_a_store_without_asyncio_that_hangs(monkeypatch, tmp_path):
    monkeypatch.setattr(images, "_SECONDS", 0.2)
    store = fsspec.filesystem("memory")
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def hang(*_, **__):
            socket.create_connection(silent.getsockname()).recv(1)

        monkeypatch.setattr(type(store), "cat_file", hang)
        ((error, _),) = images.load(["memory://a.jpg"], MEMORY)
    assert "TimeoutError" in str(error)
