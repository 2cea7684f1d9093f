"""A network is plain data: Python and libpvlr refuse the same files, before a runtime sees a byte."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.bundle.network import check_network
from tests.networks import BYTES, CHANGES, RUNTIME, SHIPPED, attacked, changed, replace_payload

from .test_bundles import INVALID, OK, opener

READERS = ["python", pytest.param("libpvlr", marks=pytest.mark.slow)]


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("attack", [*CHANGES, *BYTES])
def test_an_attack_is_refused_before_a_runtime_sees_it(
    attack: str, reader: str, own_plan: Path, request: pytest.FixtureRequest
) -> None:
    payload, says = attacked(attack, own_plan.read_bytes())
    if reader == "python":
        with pytest.raises(errors.ModelError) as caught:
            check_network(payload, "engine.plan")
        assert says in caught.value.got
        assert isinstance(caught.value, errors.UnsafeNetworkError) == ("incomplete" not in says)
    else:
        replace_payload(own_plan, payload)
        with opener(request.getfixturevalue("runtime")) as open_plan:
            status, message = open_plan(own_plan)
        assert (status, f"{own_plan}: expected an ONNX network" in message, says in message) == (
            INVALID,
            True,
            True,
        ), message


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["python", "libpvlr"])
@pytest.mark.parametrize("attack", RUNTIME)
def test_shapes_that_only_the_runtime_knows_are_bounded_before_it_allocates(
    attack: str, reader: str, own_plan: Path, request: pytest.FixtureRequest
) -> None:
    payload = changed(own_plan.read_bytes(), RUNTIME[attack]())
    check_network(payload, "engine.plan")
    replace_payload(own_plan, payload)
    if reader == "python":
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(errors.UnsafeNetworkError, match="tensors of at most"):
            Tagger(own_plan)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB
    else:
        with opener(request.getfixturevalue("runtime")) as open_plan:
            status, message = open_plan(own_plan)
        assert (status, "tensors of at most" in message) == (INVALID, True), message


@pytest.mark.parametrize("reader", READERS)
def test_the_models_are_accepted(reader: str, request: pytest.FixtureRequest) -> None:
    if reader == "python":
        for plan in SHIPPED:
            check_network(plan.read_bytes(), str(plan))
        return
    with opener(request.getfixturevalue("runtime")) as open_plan:
        for plan in SHIPPED:
            assert open_plan(plan)[0] == OK, plan
