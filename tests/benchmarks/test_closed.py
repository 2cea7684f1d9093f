"""A closed network has the logits of the open plan that it is made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.closed import write_closed
from benchmarks.common import SAMPLES
from pvlr_sdk import Tagger
from pvlr_sdk.models.find import find_plan
from pvlr_sdk.workshop.compile.build import build


@pytest.mark.slow
def test_the_logits_stay(tmp_path: Path) -> None:
    shipped = find_plan("pvlr-lite0-open")
    plan = tmp_path / "engine.plan"
    manifest = build(write_closed(shipped, tmp_path), plan, precision="fp32")
    assert manifest.open is None
    with Tagger(shipped, precision="fp32") as opened, Tagger(plan, precision="fp32") as closed:
        assert closed.labels == opened.labels
        for photo in SAMPLES:
            expected = opened.predict(photo).logits
            np.testing.assert_allclose(closed.predict(photo).logits, expected, atol=1e-5)
