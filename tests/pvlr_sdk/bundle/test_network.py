"""A network is plain data before a runtime sees it; tests/csrc/runtime/test_networks.py has the attacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.bundle.network import check_network
from tests.networks import attacked, onnx, replace_payload


@pytest.mark.parametrize("attack", ["memory address", "loop"])
def test_the_tagger_and_the_compiler_refuse_too(attack: str, own_plan: Path) -> None:
    from pvlr_sdk.workshop.compile.build import build

    replace_payload(own_plan, attacked(attack, own_plan.read_bytes())[0])
    with pytest.raises(errors.UnsafeNetworkError):
        Tagger(own_plan)
    onnx_path = own_plan.with_suffix(".onnx")
    own_plan.rename(onnx_path)
    with pytest.raises(errors.UnsafeNetworkError):
        build(onnx_path, own_plan)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"no network",
        b'<?xml version="1.0"?><net name="pvlr" version="11"><layers/><edges/></net>',
        b"\x08\x08",
        b"\xff" * 100,
        b"\x08" + b"\x80" * 11,
        b"\x08\x08\x0a\x0cTFL3" + b"x" * 8,
    ],
)
def test_other_bytes_are_refused(payload: bytes, own_plan: Path) -> None:
    with pytest.raises(errors.ModelError):
        check_network(payload, "engine.plan")
    if payload:
        replace_payload(own_plan, payload)
        with pytest.raises(errors.ModelError):
            Tagger(own_plan)


def test_every_cut_is_an_error(exported: Any) -> None:
    model = onnx.load(exported.onnx)
    del model.metadata_props[:]  # the rest is needed to its last byte
    payload = model.SerializeToString()
    for length in range(0, len(payload), 7):
        with pytest.raises(errors.ModelError):
            check_network(payload[:length], "engine.plan")
