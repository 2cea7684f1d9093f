"""What computes or waits for a lock has its turn: it takes one thread, and clients take turns."""

from __future__ import annotations

import asyncio
import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from inspect import iscoroutinefunction
from typing import Any

import anyio
import pytest
from fastapi.routing import APIRoute, APIWebSocketRoute

from pvlr_sdk.cameras.serve.server.problems import ProblemError
from pvlr_sdk.cameras.serve.server.turns import Turns, client_of
from tests.pvlr_sdk.cameras.serve.conftest import JPEG, PATTERN
from tests.waiting import LONG

CHEAP = {
    "/", "/docs", "/page/{name}", "/signin", "/healthz", "/readyz", "/v1/live",
    "/v1/labels", "/v1/settings", "/v1/cameras", "/v1/cameras/{name}", "/v1/plan", "/v1/models",
    "/api/tags", "/label-studio/health", "/label-studio/setup", "/v2", "/v2/health/live",
    "/v2/health/ready", "/v2/models/{name}", "/v2/models/{name}/ready",
}  # fmt: skip
"""Answered in the event loop from what is in memory."""
IN_TURN = {
    "/v1/tag", "/api/chat", "/api/generate", "/v1/chat/completions", "/api/v1/vision/labels",
    "/label-studio/predict", "/v2/models/{name}/infer", "/v1/reload", "/v1/rollback",
}  # fmt: skip
"""Read a body, then take their turn themselves: test_fairness.py and test_plans.py have them."""


def test_every_route_has_its_turn_or_costs_nothing(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[str, Callable[..., Any]] = {}
    for kind in (APIRoute, APIWebSocketRoute):
        build = kind.__init__

        def record(
            self: Any, path: str, endpoint: Any, *rest: Any, build: Any = build, **options: Any
        ) -> None:
            build(self, path, endpoint, *rest, **options)
            found[f"{sorted(getattr(self, 'methods', ()))} {path}"] = endpoint

        monkeypatch.setattr(kind, "__init__", record)
    studio = {"url": "http://127.0.0.1:8080", "token": "0123456789abcdef"}
    serve(PATTERN, galleries=True, open_inference=True, label_studio=studio)
    taken = {key for key, endpoint in found.items() if hasattr(endpoint, "turns")}
    others = {key.partition("] ")[2] for key in found.keys() - taken}
    assert len(taken) >= 20
    assert others == CHEAP | IN_TURN
    assert all(iscoroutinefunction(endpoint) for endpoint in found.values())


def test_a_client_is_a_token_at_an_address_or_network() -> None:
    def client(address: str | None, name: str | None = None) -> Hashable:
        return client_of({"client": address and (address, 1), "state": {"who": name}})

    assert client("10.0.0.1") == client("10.0.0.1") != client("10.0.0.2")
    assert client("10.0.0.1", "anna") != client("10.0.0.1", "bert")
    assert client("2001:db8::1") == client("2001:db8::2") != client("2001:db8:0:1::1")
    assert client(None) == client(None)


def test_clients_take_turns() -> None:
    """A client that asks once waits for one piece of work, however many another one has."""
    done: list[str] = []

    def work(client: str) -> None:
        time.sleep(0.01)
        done.append(client)

    async def check() -> None:
        turns = Turns(most=50)
        asked = [turns.run("many", partial(work, "many")) for _ in range(50)]
        tasks = [asyncio.create_task(one) for one in asked]
        await asyncio.sleep(0.02)
        await turns.run("few", partial(work, "few"))
        position = done.index("few")
        await asyncio.gather(*tasks)
        assert position < 6
        assert Counter(done) == {"many": 50, "few": 1}

    anyio.run(check)


def test_waiting_is_bounded_in_number_and_time() -> None:
    go_on = threading.Event()

    async def check() -> None:
        turns = Turns(most=2, patience=0.5)
        first = asyncio.create_task(turns.run("a", partial(go_on.wait, LONG)))
        await asyncio.sleep(0.1)
        began = time.monotonic()
        asked = [turns.run("a", bool) for _ in range(10)]
        refused = await asyncio.gather(*asked, turns.run("b", bool), return_exceptions=True)
        assert all(isinstance(error, ProblemError) and error.status == 503 for error in refused)
        assert all(int(error.headers["Retry-After"]) >= 1 for error in refused)
        assert 1 < time.monotonic() - began < 5
        go_on.set()
        assert await first
        assert await turns.run("a", lambda: 5) == 5

    anyio.run(check)


def test_a_thread_keeps_its_turn_until_it_ends() -> None:
    """Otherwise those who give up would let others in, until all threads are taken."""
    running: list[int] = []
    most: list[int] = []

    def work() -> None:
        running.append(1)
        most.append(len(running))
        time.sleep(0.1)
        running.pop()

    async def check() -> None:
        turns = Turns()
        for _ in range(3):
            with anyio.move_on_after(0.03):
                await turns.run("a", work)
        await turns.run("a", work)

    anyio.run(check)
    assert most[-1] == max(most) == 1


def asked(port: int, address: str, method: str, path: str, body: Any = None) -> tuple[int, float]:
    """The status of a response, and the seconds until it came."""
    began = time.monotonic()
    source = (address, 0)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30, source_address=source)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        response.read()
        return response.status, time.monotonic() - began
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/v1/settings", '{"thresholds": {"cat": 0.5}}'),
        ("PUT", "/v1/cameras/door/regions", '{"regions": {}}'),
    ],
)
def test_what_waits_for_a_lock_keeps_out_nobody(
    serve: Callable[..., Any], method: str, path: str, body: str
) -> None:
    """A hundred requests took all threads, and pictures and uploads of others had none."""
    served = serve(PATTERN, max_connections=300)
    served.until(lambda: served.get("/v1/cameras/door/picture").status == 200)
    with ThreadPoolExecutor(100) as pool:
        with served.site._changing:
            many = [
                pool.submit(asked, served.port, "127.0.0.2", method, path, body) for _ in range(100)
            ]
            served.until(lambda: sum(one.done() for one in many) == 79)
            pictures = [
                asked(served.port, "127.0.0.3", "GET", "/v1/cameras/door/picture") for _ in range(5)
            ]
            tagged = asked(served.port, "127.0.0.3", "POST", "/v1/tag", JPEG)
        statuses = Counter(one.result()[0] for one in many)
    assert [status for status, _ in (*pictures, tagged)] == [200] * 6
    assert max(seconds for _, seconds in pictures) < 2
    assert statuses == {200: 21, 503: 79}
