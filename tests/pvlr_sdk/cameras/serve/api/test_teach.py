"""Labels taught while the server runs: from frames of clips to bars and events, without a mixed result."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from websockets.sync.client import connect

from pvlr_sdk import LabelBank, Tagger
from pvlr_sdk.bundle.bundle import labels_path
from pvlr_sdk.cameras.events import rfc3339
from pvlr_sdk.cameras.serve.api import live_feed
from pvlr_sdk.labels import forget
from tests.pvlr_sdk.cameras.serve.api.picking import MUG, labels, live, pick, post
from tests.pvlr_sdk.labels import tiny_open

QUIET = {"thresholds": {}, "labels": None}


class TestTeach:
    @pytest.mark.slow
    def test_from_frames_to_bars_and_events(
        self,
        open_tagger: Tagger,
        serve: Callable[..., Any],
        clips: Any,
        tmp_path: Path,
        open_plan: Path,
    ) -> None:
        own, audit = LabelBank.load(labels_path(open_plan)), tmp_path / "audit.jsonl"
        served = serve(clips, open_tagger, QUIET, audit_log=audit)
        with connect(f"ws://127.0.0.1:{served.port}/v1/live") as socket:
            message = live(socket, lambda message: message.get("kind") == "labels")
            assert (message["labels"], message["open"]) == (own.names, True)
            pick(served, "door", 12)
            found = pick(served, "yard", 24)
            assert (found["positives"], found["negatives"], found["taught"]) == (12, 24, False)
            assert {one["camera"]: one["is"] for one in found["examples"]} == {
                "door": True,
                "yard": False,
            }
            assert served.get(f"/v1/teach/examples?label={MUG}").json == found

            answer = post(served, "/v1/teach", label="my mug")
            assert answer.status == 200, answer.json
            taught = answer.json
            assert (taught["positives"], taught["negatives"], taught["labels"]) == (
                12,
                24,
                [*own.names, "my mug"],
            )
            assert taught["precision"] > 70
            assert taught["recall"] > 70
            assert labels(served) == [*own.names, "my mug"]

            message = live(socket, lambda message: message.get("kind") == "labels")
            assert message["labels"][-1] == "my mug"
            header = live(
                socket,
                lambda message: (
                    message.get("camera") == "door"
                    and "my mug" in [tag[0] for tag in message["tags"]]
                ),
            )
            assert len(header["tags"]) == len(own) + 1
        served.until(lambda: any(event.label == "my mug" for event in served.site.open_events()))
        assert {event.camera for event in served.site.open_events() if event.label == "my mug"} == {
            "door"
        }
        (event, *_) = served.get(f"/v1/events?label={MUG}").json["events"]
        assert (event["event"], event["camera"]) == ("on", "door")

        # The bank is a file that all other tools read.
        (tmp_path / "bank.safetensors").write_bytes(served.get("/v1/bank").body)
        bank = LabelBank.load(tmp_path / "bank.safetensors")
        entry = {
            "before": None,
            "positives": 12,
            "negatives": 24,
            "words": False,
            "plan": open_tagger.info["sha256"],
        }
        measures = {
            name: taught[name] for name in ("precision_interval", "recall_interval", "prevalence")
        }
        assert bank.taught["my mug"].items() >= entry.items()
        assert {name: bank.taught["my mug"][name] for name in measures} == {
            name: pytest.approx(value, abs=0.01) for name, value in measures.items()
        }
        assert "door" not in json.dumps(bank.taught)  # no name of a frame
        assert forget(bank, ["my mug"]).to_bytes() == own.to_bytes()

        # Forgotten: its event ends, and the examples stay for another attempt.
        left = served.ask("DELETE", f"/v1/teach?label={MUG}").json
        assert (left["positives"], left["taught"], labels(served)) == (12, False, own.names)
        served.until(
            lambda: any(event.reason == "label removed" for event in served.site.events(limit=1000))
        )
        assert not any(event.label == "my mug" for event in served.site.open_events())
        cleared = served.ask("DELETE", f"/v1/teach/examples?label={MUG}").json
        assert (cleared["positives"], cleared["negatives"]) == (0, 0)
        actions = [json.loads(line) for line in audit.read_text().splitlines()]
        assert [one["action"] for one in actions if one["action"] != "example"] == [
            "teach",
            "forget",
            "clear examples",
        ]
        assert actions[-1]["label"] == "my mug"
        assert {one["is"] for one in actions if one["action"] == "example"} == {True, False}

    @pytest.mark.slow
    def test_the_frame_that_hurts_the_label_is_named(
        self, open_tagger: Tagger, serve: Callable[..., Any], clips: Any
    ) -> None:
        served = serve(clips, open_tagger, QUIET)
        pick(served, "door", 6)
        pick(served, "yard", 8)
        wrong = pick(served, "door", 1, is_positive=False)["examples"][-1]
        taught = post(served, "/v1/teach", label="my mug").json
        assert taught["harmful"] == f"door {wrong['time']}"

    def test_events_of_other_labels_continue(
        self, open_tagger: Tagger, serve: Callable[..., Any], clips: Any
    ) -> None:
        served = serve(clips, open_tagger, {"labels": ["cat"]})  # which is always there
        served.until(lambda: len(served.site.open_events()) == 2)
        before = served.site.open_events()
        pick(served, "door", 3)
        pick(served, "yard", 3)
        assert post(served, "/v1/teach", label="my mug").status == 200
        served.until(lambda: "my mug" in {event.label for event in served.site.open_events()})
        assert served.ask("DELETE", f"/v1/teach?label={MUG}").status == 200
        served.until(lambda: "my mug" not in {event.label for event in served.site.open_events()})
        assert served.site.open_events() == before

    def test_a_frame_that_was_shown_a_moment_ago(
        self,
        open_tagger: Tagger,
        serve: Callable[..., Any],
        clips: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The browser shows more frames while the choice of a person is on its way; older ones are not kept."""
        monkeypatch.setattr(live_feed, "_KEPT", 6)
        served = serve(clips, open_tagger, QUIET)

        def pick_after(frames: int) -> int:
            def is_of_door(message: Any) -> bool:
                return message.get("camera") == "door" and "tags" in message

            chosen = live(socket, is_of_door)["time"]
            for _ in range(frames):
                live(socket, is_of_door)
            choice = {"camera": "door", "label": "my mug", "time": chosen, "is": True}
            status: int = post(served, "/v1/teach/examples", **choice).status
            return status

        with connect(f"ws://127.0.0.1:{served.port}/v1/live") as socket:
            assert [pick_after(frames) for frames in (0, 4, 9)] == [200, 200, 503]

    @pytest.mark.slow
    def test_it_is_taught_again_with_more_examples(
        self, open_tagger: Tagger, serve: Callable[..., Any], clips: Any
    ) -> None:
        served = serve(clips, open_tagger, QUIET)
        pick(served, "door", 1)
        pick(served, "yard", 1)
        answer = post(served, "/v1/teach", label="my mug").json
        assert (answer["precision"], answer["recall"], answer["threshold"]) == (None, None, 0.5)
        pick(served, "door", 4)
        pick(served, "yard", 4)
        answer = post(served, "/v1/teach", label="my mug")
        assert (answer.status, answer.json["positives"], answer.json["precision"] is None) == (
            200,
            5,
            False,
        )
        assert labels(served).count("my mug") == 1

    @pytest.mark.slow
    def test_events_are_examples_after_the_next_start_too(
        self, open_tagger: Tagger, serve: Callable[..., Any], clips: Any
    ) -> None:
        served = serve(clips, open_tagger, QUIET)
        pick(served, "door", 3)
        pick(served, "yard", 3)
        assert post(served, "/v1/teach", label="my mug").status == 200

        served = serve(clips, open_tagger, {"labels": ["my mug"], "thresholds": {"my mug": 0.01}})
        served.until(lambda: len(served.site.open_events()) == 2)  # at the yard by mistake
        for event in served.site.open_events():
            choice = {
                "camera": event.camera,
                "label": "my mug",
                "event": event.id,
                "is": event.camera == "door",
            }
            served.until(lambda: post(served, "/v1/teach/examples", **choice).status == 200)  # noqa: B023
            found = served.get(f"/v1/teach/examples?label={MUG}").json
            assert found["examples"][-1]["time"] >= rfc3339(event.start)
        assert (found["positives"], found["negatives"], found["teachable"]) == (1, 1, True)
        answer = post(served, "/v1/teach/examples", **{**choice, "event": "none"})
        assert (answer.status, answer.json["detail"]) == (
            503,
            "The event has no frame of the plan in use.",
        )
        before = open_tagger.label_bank
        assert post(served, "/v1/teach", label="my mug").status == 200
        after = open_tagger.label_bank
        old, new = (bank.weights[bank.index("my mug")].astype(float) for bank in (before, after))
        # it goes on from what it was
        assert 0.7 < old @ new / np.linalg.norm(old) / np.linalg.norm(new) < 0.9999
        assert served.ask("DELETE", f"/v1/teach?label={MUG}").status == 200
        assert not served.get("/v1/teach/examples?label=cat").json["teachable"]


@pytest.mark.parametrize("seconds", [0.3, pytest.param(8.0, marks=pytest.mark.slow)])
def test_labels_that_change_all_the_time_mix_nothing(
    open_tagger: Tagger, serve: Callable[..., Any], seconds: float
) -> None:
    """Frames, events, live messages and uploads always have the labels of one bank."""
    many = {f"camera{number}": f"test://?fps=60&size=80x64&seed={number}" for number in range(3)}
    served = serve(many, open_tagger, {**QUIET, "smoothing": 0, "min_duration": 0}, audit_log=None)
    banks = [tiny_open.make_bank(1 + seed % tiny_open.MAX, seed=seed) for seed in range(8)]
    names = {bank.sha256: tuple(bank.names) for bank in [*banks, open_tagger.label_bank]}
    wrong: list[Any] = []
    seen: set[str] = set()

    def check(observation: Any) -> None:
        result = observation.result
        seen.add(result.bank)
        if not (
            names[result.bank] == result.labels
            and len(result.scores) == len(result.thresholds) == len(result.labels)
        ):
            wrong.append(result)

    served.site.on_observation(check)
    # as where no gap is long enough: labels change under frames in progress
    served.site.between_frames = nullcontext
    done = threading.Event()
    image = cv2.imencode(".png", tiny_open.paint([1], "red"))[1].tobytes()
    known = {name for bank in banks for name in bank.names} | set(open_tagger.labels)

    def look() -> None:
        with connect(f"ws://127.0.0.1:{served.port}/v1/live") as socket:
            while not done.is_set():
                header = live(socket, lambda message: "tags" in message)
                shown = [label for label, _, _ in header["tags"]]
                if not set(shown) <= known or len(set(shown)) != len(shown):
                    wrong.append(header)

    def upload() -> None:
        while not done.is_set():
            for answer in (
                served.tag(image, "image/png"),
                served.get("/v1/settings"),
                served.get("/v1/labels"),
            ):
                if answer.status != 200:
                    wrong.append(answer.json)

    threads = [threading.Thread(target=target) for target in (look, upload)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    for bank in itertools.cycle(banks):
        served.site.set_labels(bank)
        if time.monotonic() > end and len(seen) >= len(banks):
            break
        assert time.monotonic() < end + 30
    done.set()
    for thread in threads:
        thread.join(20)
    assert not wrong
    assert {event.label for event in served.site.events(limit=1000)} <= known
    assert set(served.site.levels("camera0")) == set(bank.names)
    assert not served.failures


@pytest.mark.slow
def test_words_are_labels_without_examples(serve: Callable[..., Any], tmp_path: Path) -> None:
    with Tagger() as tagger:
        own = tagger.label_bank
        served = serve({}, tagger, audit_log=tmp_path / "audit.jsonl")
        answer = post(served, "/v1/words", label="espresso")
        assert answer.status == 200, answer.json
        assert (answer.json["grade"], answer.json["labels"]) == ("class", [*own.names, "espresso"])
        assert max(answer.json["concepts"], key=answer.json["concepts"].get) == "espresso"
        for label, part in (
            ("sofa", "'couch', which the label bank has"),
            ("bulldozer", "whose nearest concepts are"),
        ):
            refused = post(served, "/v1/words", label=label)
            assert refused.status == 422
            assert part in refused.json["detail"]
        assert tagger.labels == [*own.names, "espresso"]
        assert served.ask("DELETE", "/v1/teach?label=espresso").status == 200
        assert tagger.label_bank.to_bytes() == own.to_bytes()
    first, *_ = (tmp_path / "audit.jsonl").read_text().splitlines()
    assert json.loads(first)["action"] == "word"
