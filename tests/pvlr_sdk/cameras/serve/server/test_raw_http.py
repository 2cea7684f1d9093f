"""Bytes that are almost HTTP: whatever arrives, there is no 500, no hang, and the next client is served."""

from __future__ import annotations

import os
import re
import socket
from collections import Counter

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.pvlr_sdk.cameras.serve.server.raw_requests import (
    BODIES,
    ENDS,
    HEADERS,
    METHODS,
    PATHS,
    TOKEN,
    VERSIONS,
)

EXAMPLES = 5 * int(os.environ.get("PVLR_FUZZ_EXAMPLES", "40"))

usual = st.sampled_from([True] * 5 + [False])
methods, paths, versions = (
    st.sampled_from(METHODS),
    st.sampled_from(PATHS),
    st.sampled_from(VERSIONS),
)
headers, bodies, ends = st.sampled_from(HEADERS), st.sampled_from(BODIES), st.sampled_from(ENDS)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One request after another on the same connection, perhaps with some bytes replaced."""
    data = b""
    for _ in range(draw(st.integers(1, 3))):
        line = b" ".join((draw(methods), draw(paths), draw(versions)))
        fields = [b"Host: localhost"] * draw(usual) + draw(
            st.lists(headers, max_size=draw(st.integers(0, 4)))
        )
        data += b"\r\n".join((line, *fields)) + draw(ends) + draw(bodies)
    if not draw(usual):
        place, new = draw(st.integers(0, len(data))), draw(st.binary(max_size=4))
        data = data[:place] + new + data[place + len(new) :]
    return data


@pytest.mark.slow
@pytest.mark.parametrize("token", [None, TOKEN])
def test_whatever_arrives_is_answered_or_closed(serve, caplog, token):
    served = serve({"door": "test://?fps=10&size=64x48"}, token=token, timeout=1)

    @given(data=requests() | st.binary(max_size=200))
    @example(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    @example(b"GET / HTTP/1.1\r\n\r\n")
    @example(b"GET / HTTP/1.0\r\n\r\n")
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    def check(data: bytes) -> None:
        answer = b""
        with socket.create_connection(("127.0.0.1", served.port), timeout=0.1) as one:
            try:
                one.sendall(data)
                while part := one.recv(65536):
                    answer += part
            except (TimeoutError, ConnectionError):
                pass  # it waits for more, or does not want to
        seen.update(re.findall(rb"^HTTP/1.1 (\d+)", answer, re.MULTILINE))
        assert not re.search(rb"^HTTP/1.1 500", answer, re.MULTILINE), answer
        assert not answer or answer.startswith(b"HTTP/1.1 "), answer

    seen: Counter[bytes] = Counter()
    check()
    assert {b"200", b"400", b"421"} <= set(seen)
    assert served.get("/healthz").status == 200
    assert "Exception" not in caplog.text
    served.until(lambda: not served.server._listeners[0].connections())
