"""Connections that send nothing, little or too much, or leave early, take no room from others."""

from __future__ import annotations

import http.client
import selectors
import shutil
import socket
import ssl
import subprocess
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress

import pytest
from uvicorn.protocols.http.h11_impl import H11Protocol

from pvlr_sdk.cameras.serve.server import listener, protocols
from pvlr_sdk.cameras.serve.server.listener import network_of
from tests.pvlr_sdk.cameras.serve.conftest import HEAD, JPEG


@contextmanager
def many(port: int, count: int, first: bytes = b"", address: str = "127.0.0.1"):
    with ExitStack() as stack:
        held = []
        for _ in range(count):
            held.append(
                stack.enter_context(
                    socket.create_connection(("127.0.0.1", port), source_address=(address, 0))
                )
            )
            if first:
                held[-1].sendall(first)
        yield held


def ended(held: list[socket.socket]) -> int:
    """How many of the connections the server has closed."""
    with ExitStack() as stack:
        found = 0
        for one in held:
            poll = stack.enter_context(selectors.DefaultSelector())
            poll.register(one, selectors.EVENT_READ)
            found += bool(poll.select(0))
        return found


def exchange(port: int, data: bytes, seconds: float = 5.0) -> bytes:
    """All that the server answers until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as one:
        one.sendall(data)
        answer = b""
        while part := one.recv(65536):
            answer += part
        return answer


@pytest.mark.parametrize(
    "first",
    [b"", b"GET / HT", HEAD + b"Content-Length: 1000\r\n\r\n"],
    ids=["silent", "head", "body"],
)
@pytest.mark.parametrize("count", [127, pytest.param(300, marks=pytest.mark.slow)])
def test_those_who_hold_connections_keep_nobody_out(serve, first, count):
    """127 silent connections made every response a 503, those of the probes too."""
    served = serve(timeout=30)
    with many(served.port, count, first) as held:
        for path in ("/healthz", "/readyz", "/v1/labels"):
            assert served.get(path).status == 200
        assert served.tag(JPEG).status == 200
        assert ended(held) >= count - 128


def test_an_address_has_its_own_limit_and_all_have_one_together(serve):
    """A process may open a thousand files or so; the cameras and sinks need some of them."""
    served = serve(max_connections=40, max_connections_per_address=30)
    with many(served.port, 60) as mine:
        served.until(lambda: ended(mine) == 30)
        with many(served.port, 20, address="127.0.0.2") as others:
            served.until(lambda: ended(mine) == 40)  # the address with the most makes room
            assert ended(others) == 0


@pytest.fixture
def certificate(tmp_path):
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=cams -keyout key.pem -out cert.pem"
    subprocess.run(["openssl", *new.split()], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path / "cert.pem", tmp_path / "key.pem"


def test_a_handshake_counts_as_a_connection(serve, certificate):
    cert, key = certificate
    served = serve(tls_cert=cert, tls_key=key, max_connections=8, max_connections_per_address=8)
    with many(served.port, 20) as silent:
        served.until(lambda: ended(silent) == 12)


@pytest.mark.slow
def test_a_request_under_way_is_never_the_one_that_makes_room(serve, slow):
    begun = threading.Semaphore(0)
    engine = slow(1.5)
    predict = engine.predict
    engine.predict = lambda *arguments, **options: (
        begun.release(),
        predict(*arguments, **options),
    )[1]
    served = serve(engine=engine, max_connections=8, max_connections_per_address=8)
    body = HEAD + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(JPEG) + JPEG
    with many(served.port, 2, body) as tagging, ExitStack() as stack:
        assert begun.acquire(timeout=10)
        assert begun.acquire(timeout=10)
        silent = stack.enter_context(many(served.port, 30))
        served.until(lambda: ended(silent) >= 24)
        for one in tagging:
            one.settimeout(10)
            assert one.recv(100).startswith(b"HTTP/1.1 200")


UPGRADE = (
    b"GET /v1/live HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def test_websockets_leave_room_for_other_requests_of_their_address(serve):
    """They could take all connections, and never make room."""
    served = serve({"door": "test://?fps=30&size=64x48"}, max_connections_per_address=8)
    with many(served.port, 4, UPGRADE) as viewers:
        assert all(one.recv(12) == b"HTTP/1.1 101" for one in viewers)
        with many(served.port, 40, UPGRADE):
            for _ in range(5):
                assert served.get("/v1/labels").status == 200
        with socket.create_connection(("127.0.0.1", served.port), timeout=10) as refused:
            refused.sendall(UPGRADE)
            assert refused.recv(12) == b"HTTP/1.1 503"
        assert all(one.recv(65536) for one in viewers)


def test_a_head_has_its_time_to_arrive(serve, monkeypatch):
    monkeypatch.setitem(listener._SECONDS, "head", 1.0)
    served = serve()
    with socket.create_connection(("127.0.0.1", served.port), timeout=5) as slow:
        slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ")
        began = time.monotonic()
        while not ended([slow]):
            slow.sendall(b"x")
            time.sleep(0.1)
        assert 0.9 < time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("stage", "body"), [("body", b"x"), ("response", JPEG)], ids=["body", "response"]
)
def test_a_request_has_its_time(serve, slow, monkeypatch, stage, body):
    """The application ends a body after ten seconds, and a response that nobody reads never."""
    monkeypatch.setitem(listener._SECONDS, stage, 1.0)
    served = serve(engine=slow(4))
    with socket.create_connection(("127.0.0.1", served.port), timeout=5) as client:
        began = time.monotonic()
        client.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(JPEG) + body)
        assert client.recv(100) == b""
        assert 0.9 < time.monotonic() - began < 3


def test_the_time_begins_again_with_each_response(serve, monkeypatch):
    monkeypatch.setitem(listener._SECONDS, "head", 1.0)
    served = serve()
    with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=5)) as kept:
        kept.connect()
        connection = kept.sock
        for _ in range(5):
            kept.request("GET", "/healthz")
            assert kept.getresponse().read()
            time.sleep(0.4)
        assert kept.sock is connection


def test_nobody_who_leaves_takes_room(serve):
    served = serve()
    for _ in range(10):
        with socket.create_connection(("127.0.0.1", served.port)) as leaving:
            leaving.sendall(HEAD + b"Content-Length: 9\r\n\r\n1")
    served.until(lambda: served.tag(JPEG).status == 200)


@pytest.mark.slow
def test_probes_have_a_port_of_their_own(serve):
    served = serve(token="0123456789abcdef", probe_port=0)
    probes = served.server.probe_port
    with many(served.port, 300), many(probes, 100):
        for path, status in (
            ("/healthz", 200),
            ("/readyz", 200),
            ("/metrics", 401),
            ("/v1/labels", 401),
            ("/", 303),
        ):
            line = exchange(
                probes, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
            )
            assert line.split(b" ")[1] == (b"421" if status != 200 else b"200")
        line = exchange(
            probes,
            b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer 0123456789abcdef\r\n"
            b"Connection: close\r\n\r\n",
        )
        assert line.split(b" ")[1] == b"404"


def test_segments_are_sent_at_once(serve):
    """With Nagle's algorithm, each response on a kept connection waits 40 ms for the client's acknowledgment."""
    served = serve()
    request = b"GET /v1/labels HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection(("127.0.0.1", served.port), timeout=5) as one:
        times = []
        for _ in range(20):
            began = time.monotonic()
            one.sendall(request)
            answer = b""
            while b"\r\n\r\n" not in answer or not answer.endswith(b"}"):
                answer += one.recv(65536)
            times.append(time.monotonic() - began)
        assert sorted(times)[10] < 0.03


def test_two_lengths_are_refused_and_end_the_connection(serve):
    """A proxy may believe the other one, and take the rest for a request of its own."""
    served = serve()
    smuggled = b"GET /v1/labels HTTP/1.1\r\nHost: localhost\r\n\r\n"
    both = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    answer = exchange(served.port, HEAD + both + smuggled)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "data",
    [b"\x00\x01\x02\r\n\r\n", b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", b"\x16\x03\x01" * 5000],
)
def test_what_is_not_http_ends_the_connection(serve, data):
    assert exchange(serve().port, data).startswith(b"HTTP/1.1 400 ")


@pytest.mark.slow
@pytest.mark.parametrize("token", [None, "0123456789abcdef"])
def test_a_body_that_is_not_http_has_one_response(serve, caplog, token):
    """The application responded as well, which failed with a traceback in the log."""
    served = serve(token=token)
    answer = exchange(served.port, HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1
    answer = exchange(
        served.port, HEAD.replace(b"POST", b"HEAD") + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert "Exception" not in caplog.text
    assert "Traceback" not in caplog.text


def test_frames_before_the_response_to_the_handshake_leave_no_traceback(serve, caplog):
    """Uvicorn asserts that there are none."""
    with suppress(ConnectionError):
        exchange(serve().port, UPGRADE + 200_000 * (b"\x81\x84" + bytes(8)), 20)
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_a_connection_with_much_to_parse_lets_others_have_their_turn(
    serve, certificate, monkeypatch, tls
):
    """Ten clients with bodies in chunks of eight bytes delayed the probes by ten seconds."""
    sizes, receive = [], H11Protocol.data_received
    monkeypatch.setattr(
        H11Protocol,
        "data_received",
        lambda self, data: (sizes.append(len(data)), receive(self, data)),
    )
    served = serve(**(dict(zip(("tls_cert", "tls_key"), certificate, strict=True)) if tls else {}))
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as one:
        client = ssl._create_unverified_context().wrap_socket(one) if tls else one
        with suppress(ConnectionError):
            parts = (JPEG[start : start + 8] for start in range(0, len(JPEG), 8))
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
            data = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
            for start in range(0, len(data), 5000):  # with TLS, several records per read
                client.sendall(data[start : start + 5000])
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")
    assert len(sizes) > 1
    assert max(sizes) <= 2 * protocols.READ  # a record of TLS may end in the next read


def test_a_refused_body_is_not_read_to_its_end(serve):
    """A client without a token could keep the server reading for as long as it likes."""
    served = serve(token="0123456789abcdef")
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as one:
        one.sendall(HEAD + b"Content-Length: 15000000\r\n\r\n")
        assert one.recv(100).startswith(b"HTTP/1.1 401 ")
        sent, chunk = 0, bytes(100_000)
        with suppress(ConnectionError):
            for _ in range(150):
                one.sendall(chunk)
                sent += len(chunk)
                time.sleep(0.005)
        assert sent < 12_000_000


def test_a_small_refused_body_leaves_the_client_its_response(serve):
    served = serve(token="0123456789abcdef")
    for size in (10, 500_000):
        assert served.tag(bytes(size)).status == 401


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.168.1.7", "192.168.1.7"),
        ("::ffff:192.168.1.7", "192.168.1.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_whose_an_address_is(address, network):
    assert network_of(address) == network
