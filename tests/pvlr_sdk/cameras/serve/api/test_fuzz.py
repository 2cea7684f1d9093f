"""Requests made up from the server's own OpenAPI document: nothing is a 500."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

import cv2
import numpy as np
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

schemathesis = pytest.importorskip("schemathesis")
from schemathesis.config import SchemathesisConfig  # noqa: E402
from schemathesis.specs.openapi.checks import positive_data_acceptance  # noqa: E402

PATTERN = {"door": "test://?fps=10&size=64x48"}
EXAMPLES = int(os.environ.get("PVLR_FUZZ_EXAMPLES", "40"))
"""For each operation; with a token, which changes no handler, a quarter."""


def _pictures() -> st.SearchStrategy[bytes]:
    noise = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    good = [cv2.imencode(kind, noise)[1].tobytes() for kind in (".jpg", ".png", ".webp")]

    def damage(data: bytes, place: float, new: bytes) -> bytes:
        position = int(place * len(data))
        return data[:position] + new + data[position + len(new) :]

    damaged = st.builds(damage, st.sampled_from(good), st.floats(0, 1), st.binary(max_size=4))
    return st.sampled_from(good) | damaged | st.binary(max_size=64)


for _media_type in ("image/jpeg", "image/png", "image/webp"):
    schemathesis.openapi.media_type(_media_type, _pictures())

MODES = list(schemathesis.GenerationMode)
# Any refusal will do: a text that is too long can make a body that is too large, a 413.
CONFIG = {"checks": {"negative_data_rejection": {"expected-statuses": ["4xx"]}}}


@pytest.mark.slow
@pytest.mark.parametrize("token", [None, "0123456789abcdef"])
def test_the_api_keeps_to_its_own_description(
    serve: Any, token: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status codes, media types and bodies are those that the document names, whatever is sent."""
    # each wrong token is a 401, never a 429
    monkeypatch.setattr("pvlr_sdk.cameras.serve.server.audit._INTERVAL", 0)
    served = serve(PATTERN, token=token)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    served.until(lambda: served.get("/v1/cameras/door/picture", **headers).status == 200)
    document = schemathesis.openapi.from_url(
        f"{served.url}/openapi.json", headers=headers, config=SchemathesisConfig.from_dict(CONFIG)
    )
    operations = [result.ok() for result in document.get_all_operations()]
    assert (
        len(operations)
        == sum(len(methods) for methods in document.raw_schema["paths"].values())
        > 10
    )
    with requests.Session() as session:
        for operation in operations:
            # a made-up Authorization would be replaced by ours
            for mode in MODES[:1] if token else MODES:
                _fuzz(operation, mode, session, headers)
            if "{name}" in operation.path:  # else no made-up name would ever be that of a camera
                _fuzz(operation, MODES[0], session, headers, path_parameters={"name": "door"})


def _fuzz(
    operation: Any, mode: Any, session: requests.Session, headers: dict[str, str], **fixed: Any
) -> None:
    count = EXAMPLES // 4 if headers else EXAMPLES

    @given(case=operation.as_strategy(generation_mode=mode, **fixed))
    @settings(
        max_examples=count, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
    )
    def check(case: Any) -> None:
        # A picture that the document allows may still be damaged, and a camera's name unknown.
        case.call_and_validate(
            excluded_checks=[positive_data_acceptance], session=session, headers=headers, timeout=20
        )

    with suppress(Unsatisfiable):  # where there is nothing to get wrong
        check()
