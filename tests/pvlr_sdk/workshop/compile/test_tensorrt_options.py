"""Options of a TensorRT build."""

from __future__ import annotations

import pytest

from pvlr_sdk import errors
from pvlr_sdk.workshop.compile.tensorrt_options import Batch, BuildOptions


@pytest.mark.parametrize(
    ("text", "batch"),
    [("1", (1, 1, 1)), ("8", (8, 8, 8)), ("1:1:8", (1, 1, 8)), ("1:4:1024", (1, 4, 1024))],
)
def test_batches_that_are_some(text, batch):
    parsed = Batch.parse(text)
    assert (parsed.min, parsed.opt, parsed.max) == batch
    assert Batch.parse(str(parsed)) == parsed


@pytest.mark.parametrize(
    "text", ["", "0", "1:2", "2:1:4", "1:8:4", "1:1:1025", "a", "1:-1:4", "1::4", "1:1:4:8", "²"]
)
def test_batches_that_are_none(text):
    with pytest.raises(errors.OptionError, match="MIN:OPT:MAX"):
        Batch.parse(text)


@pytest.mark.parametrize(
    "change",
    [
        {"attention": "both"},
        {"hardware": "all"},
        {"workspace": 0},
        {"dla": -1},
        {"dla": 0, "batch": Batch(1, 1, 8)},
    ],
)
def test_options_that_cannot_be(change):
    with pytest.raises(errors.OptionError):
        BuildOptions(**change)
