"""Another plan over HTTP, and under load: nothing is lost, nothing is mixed."""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pvlr_sdk import Tagger
from pvlr_sdk.cameras.control.state import State

RELOADS = int(os.environ.get("PVLR_RELOADS", "6"))
CLIENTS = 16
PATIENCE = 300.0
"""Seconds: no step takes as long, however busy the machine is."""


@pytest.fixture
def engine(plans: Path) -> Any:
    with Tagger(plans / "first", num_threads=1) as made:
        yield made


def reload(served: Any, body: Any, **headers: str) -> Any:
    return served.ask(
        "POST", "/v1/reload", body if isinstance(body, str) else json.dumps(body), headers
    )


class TestRoutes:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("body", "status", "error", "detail"),
        [({"plan": "other"}, 409, "DeployError", ""), ({"plan": "first"}, 409, "DeployError", ""),
         ("", 409, "DeployError", ""), ({"plan": "/nowhere"}, 422, "PlanNotFoundError", ""),
         ({"plan": "relative/engine.plan"}, 422, "OptionError", ""), ({"plan": "/a\0b"}, 422, "OptionError", ""),
         ({"plan": 7}, 422, "OptionError", "plan: expected a valid string, got 7."),
         ({"plans": "x"}, 422, "OptionError", "plans: expected a known key, got 'x'."),
         ([1], 422, "OptionError", "request: expected a mapping of keys, got [1]."),
         ("{", 422, "OptionError", "request: expected valid JSON, got ")],
    )  # fmt: skip
    def test_what_is_refused(
        self,
        serve: Callable[..., Any],
        engine: Tagger,
        plans: Path,
        body: Any,
        status: int,
        error: str,
        detail: str,
    ) -> None:
        served = serve(engine=engine)
        if isinstance(body, dict) and body.get("plan") in ("first", "other"):
            body = {"plan": str(plans / body["plan"])}
        before = engine.info
        answer = reload(served, body)
        assert (answer.status, answer.json["error"], answer.json["detail"][: len(detail)]) == (
            status,
            error,
            detail,
        )
        assert engine.info == before

    def test_it_needs_a_token_and_is_recorded_with_its_name(
        self, serve: Callable[..., Any], engine: Tagger, plans: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "tokens").write_text("alice 0123456789abcdef0123\n")
        served = serve(
            engine=engine, token_file=tmp_path / "tokens", audit_log=tmp_path / "audit.jsonl"
        )
        assert reload(served, {"plan": str(plans / "second")}).status == 401
        token = {"Authorization": "Bearer 0123456789abcdef0123"}
        assert reload(served, {"plan": str(plans / "second")}, **token).status == 200
        assert reload(served, {"plan": str(plans / "other")}, **token).status == 409
        assert served.ask("POST", "/v1/rollback", headers=token).status == 200
        lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
        found = [
            (line["action"], line["result"], line["who"])
            for line in lines
            if line["action"] != "request"
        ]
        assert found == [
            ("reload", "ok", "alice"), ("reload", "DeployError", "alice"), ("rollback", "ok", "alice")
        ]  # fmt: skip


@pytest.mark.slow
def test_reload_under_load(
    serve: Callable[..., Any],
    engine: Tagger,
    plans: Path,
    tmp_path: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Four cameras, and 16 clients that post images, while the plan is exchanged again and again."""
    monkeypatch.setattr("pvlr_sdk.cameras.serve.api.plans._PATIENCE", PATIENCE)
    site_file = tmp_path / "site.yaml"
    cameras = {
        f"camera{number}": {"uri": "test://?fps=10&size=64x48", "tiles": "1x1"}
        for number in range(4)
    }
    site_file.write_text(
        json.dumps({"plan": str(plans / "first"), "cameras": cameras, "events": {"threshold": 0.5}})
    )
    # The time limit of uploads bounds their queue, too, in which the images of all clients must fit.
    served = serve(
        cameras=cameras,
        engine=engine,
        site_file=site_file,
        state=tmp_path / "state",
        timeout=PATIENCE,
    )
    served.patience = PATIENCE
    references = {
        tagger.info["sha256"]: tagger
        for tagger in (Tagger(plans / name) for name in ("first", "second"))
    }
    _, encoded = cv2.imencode(
        ".png", np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8)
    )
    image, query = encoded.tobytes(), "?threshold=0"
    expected = {
        name: sorted(
            (tag.label, round(tag.score, 6)) for tag in tagger.predict(image, threshold=0.0)
        )
        for name, tagger in references.items()
    }
    wrong: list[Any] = []
    uploaded: set[str] = set()
    counts: dict[Any, int] = {}
    seen: dict[str, int] = dict.fromkeys(references, 0)
    observations: queue.SimpleQueue[Any] = queue.SimpleQueue()
    ended = threading.Event()

    def post() -> None:
        while not ended.is_set():
            answer = served.tag(image, "image/png", query)
            counts[answer.status] = counts.get(answer.status, 0) + 1
            if answer.status == 200:
                uploaded.add(answer.json["plan"])
                found = sorted(
                    (tag["label"], round(tag["score"], 6)) for tag in answer.json["tags"]
                )
                if found != expected[answer.json["plan"]]:
                    wrong.append(answer.json)

    def check() -> None:
        while (item := observations.get()) is not None:
            again = references[item.result.plan].predict(item.frame.pixels, color=item.frame.color)
            seen[item.result.plan] += 1
            if not np.array_equal(again.logits, item.result.logits):
                wrong.append(item)

    served.until(lambda: all(map(served.site.latest, cameras)), PATIENCE)
    served.site.on_observation(observations.put)
    earlier = sum(camera["tagged"] for camera in served.site.stats()["cameras"].values())
    threads = [threading.Thread(target=post) for _ in range(CLIENTS)] + [
        threading.Thread(target=check)
    ]
    for thread in threads:
        thread.start()
    memory, began, seconds = [], time.monotonic(), []
    try:
        for number in range(RELOADS):
            start = time.monotonic()
            answer = reload(
                served, {"plan": str(plans / ("second" if number % 2 == 0 else "first"))}
            )
            seconds.append(time.monotonic() - start)
            assert answer.status == 200, answer.body
            new = answer.json["plan"]
            served.until(lambda new=new: served.site.latest("camera0").result.plan == new, PATIENCE)
            served.until(lambda new=new: new in uploaded, PATIENCE)
            memory.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6)
    finally:
        ended.set()
        for thread in threads[:-1]:
            thread.join()
        served.site.stop()
        served.until(lambda: not served._watching.is_alive(), PATIENCE)
        served.until(
            lambda: not any(one.name.startswith("pvlr-camera-") for one in threading.enumerate()),
            PATIENCE,
        )
        observations.put(None)
        threads[-1].join()
    stats = served.site.stats()["cameras"].values()
    totals = {
        key: sum(camera[key] for camera in stats)
        for key in ("captured", "tagged", "dropped", "failed")
    }
    with capsys.disabled():
        print(
            f"\n{RELOADS} reloads in {time.monotonic() - began:.0f} s, median {np.median(seconds):.2f} s; {totals}"
        )
        print(
            f"uploads {counts}, observations {list(seen.values())}, MB {np.round(memory[:: RELOADS // 5])}"
        )
    assert not wrong
    assert set(counts) == {200}
    assert all(seen.values())
    assert uploaded == set(references)
    assert totals["failed"] == 0
    # those in flight
    assert 0 <= totals["captured"] - totals["tagged"] - totals["dropped"] <= 2 * len(cameras)
    assert sum(seen.values()) >= totals["tagged"] - earlier
    assert State(tmp_path / "state").read().deployed.previous
    assert len(list((tmp_path / "state/plans").iterdir())) <= 2
