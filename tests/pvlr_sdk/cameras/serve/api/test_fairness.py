"""Uploads beyond what can be tagged: slow ones hold no place, clients take turns, and the greedy are turned away."""

from __future__ import annotations

import http.client
import select
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import anyio
import pytest

from pvlr_sdk.cameras.control.control import Control
from pvlr_sdk.cameras.serve import ServeSettings
from pvlr_sdk.cameras.serve.api.tagging import Upload, UploadTagger
from tests.pvlr_sdk.cameras.serve.conftest import HEAD, JPEG


def post(port: int, address: str) -> int:
    connection = http.client.HTTPConnection(
        "127.0.0.1", port, timeout=30, source_address=(address, 0)
    )
    try:
        connection.request("POST", "/v1/tag", JPEG, {"Content-Type": "image/jpeg"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_slow_uploads_hold_no_place(serve):
    """Eight of them made 99 of 99 other uploads a 503."""
    served = serve()
    with ExitStack() as stack:
        for _ in range(20):
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", served.port)))
            slow.sendall(HEAD + b"Content-Length: 100000\r\n\r\nx")
        served.until(lambda: served.get("/healthz").status == 200)
        assert [served.tag(JPEG).status for _ in range(20)] == [200] * 20


@pytest.mark.slow
def test_a_client_with_many_uploads_does_not_keep_out_one_with_few(serve, slow):
    served = serve(engine=slow(0.15), timeout=3)
    stop = threading.Event()

    def greedy():
        found = []
        while not stop.is_set():
            found.append(post(served.port, "127.0.0.2"))
        return found

    with ThreadPoolExecutor(24) as pool:
        many = [pool.submit(greedy) for _ in range(24)]
        time.sleep(1)
        try:
            polite = [post(served.port, "127.0.0.3") for _ in range(8)]
        finally:
            stop.set()
    assert polite == [200] * 8
    statuses = [status for one in many for status in one.result()]
    assert statuses.count(200) > 5
    assert set(statuses) == {200, 503}


@pytest.mark.slow
def test_bytes_that_wait_are_limited_too(serve):
    """Each slow upload holds what has arrived: the client that holds the most is turned away."""
    served = serve(max_bytes=100_000)
    with ExitStack() as stack:
        held = []
        for _ in range(16):
            held.append(
                stack.enter_context(
                    socket.create_connection(("127.0.0.1", served.port), timeout=10)
                )
            )
            held[-1].sendall(HEAD + b"Content-Length: 100000\r\n\r\n" + bytes(90_000))
        served.until(lambda: len(_answered(held)) >= 7)
        time.sleep(0.3)
        answers = _answered(held)
        assert 7 <= len(answers) <= 9  # of 1.44 MB, 0.8 MB may wait
        for one in answers:
            answer = one.recv(1000)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: " in answer
        assert post(served.port, "127.0.0.2") == 200


def _answered(held: list[socket.socket]) -> list[socket.socket]:
    return select.select(held, [], [], 0)[0]


@pytest.mark.parametrize(
    ("uploads", "most", "ended"),
    [("aaab", 4, []), ("aaabb", 4, [2]), ("aaabbb", 4, [5, 2]), ("aaabbbc", 4, [5, 2, 1])],
)
def test_the_newest_of_the_client_with_most_is_turned_away(tagger, uploads, most, ended):
    async def check():
        limits = UploadTagger(Control(tagger), ServeSettings())
        limits._uploads = [Upload(client, anyio.CancelScope()) for client in uploads]
        limits._limit(lambda one: 1, most)
        limits.close()
        return {at for at, one in enumerate(limits._uploads) if one.scope.cancel_called}

    assert anyio.run(check) == set(ended)


@pytest.mark.slow
def test_images_are_tagged_between_the_frames_of_cameras(serve, slow):
    """One at a time, and not while a frame is in flight: a frame waits for one image at most."""
    running: list[int] = []
    begun: list[tuple[int, int]] = []

    engine = slow(0.02)
    predict = engine.predict

    def watched(*arguments, **options):
        running.append(1)
        begun.append((len(running), served.site._stream._share._in_flight))
        try:
            return predict(*arguments, **options)
        finally:
            running.pop()

    engine.predict = watched
    served = serve({"door": "test://?fps=10&size=64x48"}, engine=engine, timeout=20)
    served.until(lambda: served.site.stats()["cameras"]["door"]["tagged"] > 5)
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda _: post(served.port, "127.0.0.1"), range(40)))
    assert statuses == [200] * 40
    assert max(count for count, _ in begun) == 1
    assert sum(bool(frames) for _, frames in begun) <= 4
    metrics = served.get("/metrics").body.decode()
    assert 'pvlr_uploads_total{result="tagged"} 40.0' in metrics
