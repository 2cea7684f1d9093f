"""Names from outside, such as a model's labels or a file's name, may contain lone surrogates: no response fails."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from websockets.sync.client import connect

ODD = "odd\udce9"
"""How Python reads the Latin-1 name of a file."""


class Named:
    """A tagger whose model and labels have such names."""

    def __init__(self, tagger):
        self.labels = [*tagger.labels[:-1], "odd \ud800"]
        self.thresholds, self.label_bank = tagger.thresholds, tagger.label_bank
        self.info = {**tagger.info, "name": "model \ud800"}
        self.predict = tagger.predict


def test_a_models_names(serve, tagger):
    served = serve(engine=Named(tagger))
    for path in ("/v1/labels", "/v1/settings", "/metrics", "/v1/cameras", "/v1/events"):
        assert served.get(path).status == 200, path
    assert served.get("/v1/labels").json["labels"][-1]["label"] == "odd ?"
    assert b'name="model ?"' in served.get("/metrics").body
    with connect(f"ws://127.0.0.1:{served.port}/v1/live") as live:
        assert "model" in live.recv(5)


@pytest.mark.parametrize(
    "query", ["?label=%ED%A0%80", "?camera=%ED%A0%80", "?since=%ED%A0%80", "?limit=%ED%A0%80"]
)
def test_a_query(serve, query):
    assert serve().get(f"/v1/events{query}").status in (200, 404, 422)


def test_settings(serve):
    answer = serve().ask(
        "PUT", "/v1/settings", '{"thresholds": {"\\ud800": 0.5}, "labels": ["\\ud800"]}'
    )
    assert answer.status == 422


def test_a_state_folder_whose_name_is_not_utf_8(serve, tmp_path):
    served = serve({"door": "test://"}, state=Path(os.path.join(tmp_path, ODD)))
    assert served.get("/v1/settings").json["state_file"] == f"{tmp_path}/odd?/state.json"
    answer = served.ask("PUT", "/v1/settings", '{"thresholds": {"cat": 0.5}}')
    assert answer.status == 200
    shutil.rmtree(tmp_path)
