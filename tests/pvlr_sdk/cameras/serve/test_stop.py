"""A stop under load: each request gets its response, a 503 or a closed connection, and never a 500."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from tests.pvlr_sdk.cameras.serve.conftest import JPEG

KINDS = (
    ("POST", "/v1/tag", JPEG),
    ("POST", "/v1/tag", JPEG),
    ("GET", "/v1/cameras/door/picture", None),
)


@pytest.mark.slow
@pytest.mark.parametrize("long", [False, True])  # longer than a stop may take
def test_ten_stops_under_load(serve, slow, caplog, long):
    counts: Counter[int] = Counter()
    longest = 0.0
    for _ in range(10):
        served = serve({"door": "test://?fps=30&size=64x48"}, engine=slow(1.5) if long else None)
        served.until(lambda served=served: served.get("/v1/cameras/door/picture").status == 200)
        ended = threading.Event()

        def ask(number: int, port: int = served.port, ended: threading.Event = ended) -> None:
            while not ended.is_set():
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                method, path, body = KINDS[number % len(KINDS)]
                with suppress(OSError, http.client.HTTPException):
                    while not ended.is_set():
                        connection.request(method, path, body, {"Content-Type": "image/jpeg"})
                        response = connection.getresponse()
                        response.read()
                        counts[response.status] += 1
                connection.close()

        with ThreadPoolExecutor(9) as pool:
            asking = [pool.submit(ask, number) for number in range(9)]
            answered = counts[200]
            served.until(lambda answered=answered: counts[200] > answered + 20)
            began = time.monotonic()
            served.close()
            longest = max(longest, time.monotonic() - began)
            ended.set()
        for one in asking:
            one.result()
    assert set(counts) <= {200, 503}
    assert counts[200] > 100
    assert counts[503] > 0 or not long
    assert longest < 3
    assert "Traceback" not in caplog.text
    assert "Exception" not in caplog.text
