"""What keeps a taught label: the bank file, the site file; and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk import Tagger
from pvlr_sdk.cameras.control.state import State
from tests.pvlr_sdk.cameras.serve.api.picking import MUG, pick, post

QUIET = {"thresholds": {}, "labels": None}


class TestKept:
    def test_without_a_file_the_state_does_not_name_it(
        self, open_tagger: Tagger, serve: Callable[..., Any], clips: Any, tmp_path: Path
    ) -> None:
        state = State(tmp_path / "state")
        served = serve(
            clips, open_tagger, {"labels": ["cat"], "thresholds": {"cat": 0.5}}, state=state.folder
        )
        pick(served, "door", 2)
        pick(served, "yard", 2)
        assert post(served, "/v1/teach", label="my mug").json["bank_file"] is None
        change = {"thresholds": {"my mug": 0.7, "cat": 0.6}, "labels": ["my mug", "cat"]}
        assert served.ask("PUT", "/v1/settings", json.dumps(change)).status == 200
        assert served.site.changes.thresholds == {"cat": 0.6, "my mug": 0.7}
        assert (state.read().labels, state.read().thresholds) == (("cat",), {"cat": 0.6})
        assert served.ask("DELETE", f"/v1/teach?label={MUG}").status == 200
        assert served.site.changes.thresholds == {"cat": 0.6}


class TestRefused:
    def test_a_closed_plan(self, serve: Callable[..., Any]) -> None:
        served = serve({"door": "test://?fps=30&size=64x48"})
        served.until(lambda: served.site.latest("door"))
        choice = {"camera": "door", "label": "mug", "is": True}
        for method, path, body in (
            ("GET", "/v1/teach/examples?label=mug", None),
            ("POST", "/v1/teach/examples", choice),
            ("DELETE", "/v1/teach/examples?label=mug", None),
            ("POST", "/v1/teach", {"label": "mug"}),
            ("DELETE", "/v1/teach?label=mug", None),
            ("GET", "/v1/bank", None),
        ):
            answer = served.ask(method, path, body and json.dumps(body))
            assert (answer.status, answer.json["error"], answer.json["argument"]) == (
                422,
                "OptionError",
                "plan",
            )
            assert "pvlr export RUN --open" in answer.json["hint"]

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("path", "body", "status", "text"),
        [("examples", {"camera": "none", "label": "mug", "is": True}, 404, "Unknown camera"),
         ("examples", {"camera": "lost", "label": "mug", "is": True}, 503, "no current frame"),
         ("examples", {"camera": "door", "label": "m\tug", "is": True}, 422, "control characters"),
         ("examples", {"camera": "door", "label": "", "is": True}, 422, "label: expected"),
         ("examples", {"camera": "door", "label": "mug"}, 422, "is: expected a value"),
         ("examples", {"camera": "door", "label": "mug", "is": True, "x": 1}, 422, "x: expected a known key"),
         ("", {"label": "mug"}, 422, "positives: expected at least one"),
         ("", {"label": "cat"}, 422, "label: expected a new label, got 'cat'"),
         ("", {"label": "mug", "replace": 7}, 422, "replace: expected a valid boolean")],
    )  # fmt: skip
    def test_requests(
        self,
        open_tagger: Tagger,
        serve: Callable[..., Any],
        clips: Any,
        path: str,
        body: Any,
        status: int,
        text: str,
    ) -> None:
        served = serve({"door": clips["door"], "lost": "http://127.0.0.1:1/x"}, open_tagger)
        served.until(lambda: served.site.latest("door"))
        answer = post(served, f"/v1/teach/{path}".rstrip("/"), **body)
        assert (answer.status, text in answer.json["detail"]) == (status, True), answer.json

    def test_without_negatives(
        self, open_tagger: Tagger, serve: Callable[..., Any], clips: Any
    ) -> None:
        served = serve(clips, open_tagger)
        pick(served, "door", 2)
        answer = post(served, "/v1/teach", label="my mug")
        assert (answer.status, answer.json["argument"]) == (422, "negatives")
        answer = served.ask("DELETE", f"/v1/teach?label={MUG}")
        assert (answer.status, answer.json["error"]) == (422, "UnknownLabelError")
        answer = served.ask("DELETE", "/v1/teach?label=cat")
        assert (answer.status, answer.json["expected"]) == (422, "a label that was taught")

    def test_the_same_frame_twice(self, open_tagger: Tagger, serve: Callable[..., Any]) -> None:
        served = serve({"door": "test://?fps=60&size=80x64&frames=9"}, open_tagger)
        served.until(lambda: served.site.cameras["door"] == "ended")
        for shows, status in ((True, 200), (True, 422), (False, 422)):
            answer = post(served, "/v1/teach/examples", camera="door", label="mug", **{"is": shows})
            assert answer.status == status
        assert answer.json["expected"] == "a frame that is no example of 'mug' yet"
        assert (
            post(served, "/v1/teach/examples", camera="door", label="cup", **{"is": False}).status
            == 200
        )

    def test_too_many_examples(
        self,
        open_tagger: Tagger,
        serve: Callable[..., Any],
        clips: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("pvlr_sdk.cameras.control.examples.PER_LABEL", 3)
        monkeypatch.setattr("pvlr_sdk.cameras.control.examples.IN_ALL", 4)
        served = serve(clips, open_tagger)
        pick(served, "door", 3)
        answer = post(served, "/v1/teach/examples", camera="door", label="my mug", **{"is": True})
        assert (answer.status, answer.json["expected"]) == (422, "at most 3 examples of 'my mug'")
        pick(served, "door", 1, "pen")
        answer = post(served, "/v1/teach/examples", camera="door", label="pen", **{"is": True})
        assert (answer.status, answer.json["expected"]) == (422, "at most 4 examples in all")

    def test_it_needs_a_token_and_comes_from_this_site(
        self, open_tagger: Tagger, serve: Callable[..., Any], clips: Any
    ) -> None:
        token = "0123456789abcdef"
        served = serve(clips, open_tagger, token=token)
        for headers, status in (
            ({}, 401),
            ({"Authorization": f"Bearer {token}", "Origin": "http://evil.example"}, 403),
            ({"Authorization": f"Bearer {token}"}, 422),
        ):
            for method, path in (
                ("POST", "/v1/teach"),
                ("DELETE", "/v1/teach?label=x"),
                ("POST", "/v1/teach/examples"),
            ):
                assert served.ask(method, path, "{}", headers).status == status
