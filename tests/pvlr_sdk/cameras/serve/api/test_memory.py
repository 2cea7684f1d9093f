"""The routes of the memory: search, pictures, why, and answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pvlr_sdk.bundle.bundle import read_manifest
from pvlr_sdk.cameras.memory.reader import Reader
from pvlr_sdk.labels import learn
from pvlr_sdk.labels.edit import add_labels
from tests.pvlr_sdk.cameras.serve.conftest import PATTERN
from tests.pvlr_sdk.labels import tiny_open
from tests.waiting import LONG

QUIET = {"thresholds": {}, "labels": []}


@pytest.fixture
def served(serve: Callable[..., Any], remembered: Path) -> Any:
    return serve(PATTERN, events=QUIET, memory={"folder": str(remembered), "samples_per_hour": 0})


@pytest.mark.slow
def test_search_pictures_and_why(served: Any) -> None:
    found = served.get("/v1/memory/search?words=car").json
    assert found["grade"] is None
    scores = [one["score"] for one in found["moments"]]
    assert (len(scores), scores) == (24, sorted(scores, reverse=True))
    assert {(one["camera"], one["label"], one["kind"]) for one in found["moments"]} == {
        ("door", "car", "event")
    }
    newest = served.get("/v1/memory/search?limit=3&camera=door&label=car").json["moments"]
    assert [one["time"] for one in newest] == sorted((one["time"] for one in newest), reverse=True)
    assert [one["score"] for one in newest] == [None] * 3
    assert served.get("/v1/memory/search?camera=yard").json["moments"] == []
    first = found["moments"][0]
    picture = served.get(f"/v1/memory/pictures/{first['id']}")
    assert (picture.headers["Content-Type"], picture.body[:2]) == ("image/jpeg", b"\xff\xd8")
    assert served.get("/v1/memory/pictures/999999").status == 404
    why = served.get(f"/v1/memory/events/{first['event']}").json
    assert (why["upper"], why["event"]["id"], why["picture"]) == (0.5, first["event"], first["id"])
    assert why["attention"]
    assert served.get(f"/v1/memory/pictures/{first['id']}?attention=true").body != picture.body
    assert 50 < len(why["curve"]) <= 400
    assert why["near"][-1][5] == "0.050 below the threshold"
    refused = served.get("/v1/memory/events/no-such-event")
    assert (refused.status, refused.json["error"]) == (422, "OptionError")
    refused = served.get("/v1/memory/search?words=espresso")  # the plan is closed
    assert (refused.status, refused.json["error"]) == (422, "OptionError")


@pytest.mark.slow
def test_another_threshold_changes_the_events_of_the_last_hour(
    served: Any, remembered: Path
) -> None:
    now = served.get("/v1/memory/replay?label=car&threshold=0.5").json
    assert (now["before"], now["after"], now["changes"]) == (40, 40, [])
    higher = served.get("/v1/memory/replay?label=car&threshold=0.85").json
    peaks = [row.ended.peak for row in Reader(remembered).rows("kind = 'event'")]
    gone = [one for one in higher["changes"] if one["kind"] == "gone"]
    assert (higher["before"], higher["after"]) == (40, sum(peak >= 0.85 for peak in peaks))
    lower_peaks = sorted(peak for peak in peaks if peak < 0.85)
    assert sorted(one["score"] for one in gone) == pytest.approx(lower_peaks, abs=1e-3)
    assert all(served.get(f"/v1/memory/pictures/{one['id']}").status == 200 for one in gone)
    lower = served.get("/v1/memory/replay?label=car&threshold=0.4").json  # 0.45 between the events
    assert lower["after"] == 80
    assert sum(one["kind"] == "new" for one in lower["changes"]) == 40
    assert served.get("/v1/memory/replay?label=car&threshold=0.05").json["notes"]
    assert served.get("/v1/memory/replay?label=rocket&threshold=0.5").json["before"] == 0
    assert served.get("/v1/memory/replay?label=car&threshold=2").status == 422


@pytest.mark.slow
def test_many_replays_do_not_keep_out_other_requests(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def slow(*_: Any) -> list[Any]:
        go_on.wait(LONG)
        return []

    monkeypatch.setattr("pvlr_sdk.cameras.serve.api.explanations.events_of", slow)
    with ThreadPoolExecutor(60) as pool:
        asked = [
            pool.submit(served.get, "/v1/memory/replay?label=car&threshold=0.5") for _ in range(60)
        ]
        served.until(lambda: sum(one.done() for one in asked) == 39)
        assert served.get("/v1/cameras/door/picture").status == 200
        go_on.set()
    assert sorted(one.result().status for one in asked) == [200] * 21 + [503] * 39


@pytest.mark.slow
def test_ids_of_events_that_look_alike_are_ids(served: Any) -> None:
    event = served.get("/v1/memory/review").json["moments"][0]["event"]
    body = '{"answer": "yes", "alike": ["\\ud800 is no text"]}'
    assert served.ask("PUT", f"/v1/memory/events/{event}/answer", body).status == 422
    assert served.get("/v1/memory/review").json["moments"][0]["event"] == event


@pytest.mark.slow
def test_taught_labels_are_searched_by_features(
    serve: Callable[..., Any], open_tagger: Any, remembered: Path
) -> None:
    spec = read_manifest(str(open_tagger.info["plan"]), trust=False).open
    room = add_labels(open_tagger.label_bank, ["mug"], spec, words=False)
    features, targets = np.eye(tiny_open.DEPTH)[:4], np.int8([[1], [1], [-1], [-1]])
    open_tagger.set_labels(learn(room, ["mug"], list("abcd"), features, targets, plan="plan")[0])
    served = serve(
        PATTERN, open_tagger, QUIET, memory={"folder": str(remembered), "samples_per_hour": 0}
    )
    found = served.get("/v1/memory/search?words=mug").json
    assert (found["grade"], len(found["moments"])) == (None, 24)
    scores = [one["score"] for one in found["moments"]]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) > 10
    refused = served.get("/v1/memory/search?words=espresso")  # the plan has no knowledge file
    assert (refused.status, refused.json["error"]) == (422, "OptionError")


@pytest.mark.slow
def test_answers_that_are_refused(served: Any, sampled: Path) -> None:
    """test_page_memory.py has those that are accepted."""
    event = served.get("/v1/memory/review").json["moments"][0]["event"]
    frame = served.get("/v1/memory/frames").json["moments"][0]["id"]
    for path, body in (
        ("events/no-such-event", {"answer": "yes"}),
        (f"events/{event}", {"answer": "maybe"}),
        (f"events/{event}", {"answer": "yes", "alike": ["x" * 8] * 101}),
        ("frames/99999", {"label": "car", "answer": "yes"}),
        (f"frames/{frame}", {"label": "car", "answer": "perhaps"}),
        (f"frames/{frame}", {"label": "rocket", "answer": "yes"}),
    ):
        answer = served.ask("PUT", f"/v1/memory/{path}/answer", json.dumps(body))
        assert (answer.status, answer.json["error"]) == (422, "OptionError"), path
    assert Reader(sampled).answers() == {}


@pytest.mark.slow
def test_answers_of_frames_are_counted_apart_from_those_of_events(
    served: Any, sampled: Path
) -> None:
    event = served.get("/v1/memory/review").json["moments"][0]
    frame = served.get("/v1/memory/frames").json["moments"][0]["id"]
    body = {"label": event["label"], "answer": "yes"}
    assert (
        served.ask("PUT", f"/v1/memory/events/{event['event']}/answer", '{"answer": "yes"}').status
        == 200
    )
    found = served.ask("PUT", f"/v1/memory/frames/{frame}/answer", json.dumps(body)).json
    assert found["statement"] == f"{event['label']}: 1 yes, 0 no"


@pytest.mark.slow
def test_a_review_has_events_and_random_frames_and_states_the_recall(
    served: Any, drawn: list[int]
) -> None:
    asked = served.get("/v1/memory/review").json["moments"]
    assert {one["kind"] for one in asked} == {"event"}  # no label was answered so far
    path = f"/v1/memory/events/{asked[0]['event']}/answer"
    served.ask("PUT", path, '{"answer": "yes"}')
    review = served.get("/v1/memory/review").json
    frames = [one for one in review["moments"] if one["event"] is None]
    assert {(one["id"], one["label"]) for one in frames} == {(number, "car") for number in drawn}
    missing = "car: not proven that at most 10 % of the moments with it were missed (0 of 0 found, 0 frames reviewed)"
    assert review["notes"] == [f"{missing}; 36 more until the next test."]
    body = '{"label": "car", "answer": "yes"}'
    answers = [
        served.ask("PUT", f"/v1/memory/frames/{number}/answer", body).json for number in drawn
    ]
    assert "(1 of 2 found, 2 frames reviewed); 34 more" in answers[1]["statement"]
    assert len(served.get("/v1/memory/review").json["notes"]) == 0


def test_a_server_without_a_memory(serve: Callable[..., Any]) -> None:
    served = serve(PATTERN)
    for path in ("search", "review", "pictures/1", "events/12345678"):
        answer = served.get(f"/v1/memory/{path}")
        assert (answer.status, answer.json["detail"][:43]) == (
            404,
            "There is no memory. Start with --memory DIR",
        )
