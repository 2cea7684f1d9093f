"""The webhook sink with a real HTTP server."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from pvlr_sdk import errors
from pvlr_sdk.cameras.sinks import DiskQueue, SinkWorker
from pvlr_sdk.cameras.sinks.webhook import WebhookSink
from tests.pvlr_sdk.cameras.sinks.events import make_event
from tests.waiting import LONG, joined, until


class Receiver(ThreadingHTTPServer):
    """Responds with the given statuses, then with 204; ``received`` has the headers and body of each request."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        self.followed = 0
        self.delay = 0.0
        self.length: str | None = None
        self.released = threading.Event()  # the body of a response with a length comes then
        self.url = f"http://127.0.0.1:{self.server_port}/hook?token=s3cret"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.received]

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.answers.pop(0) if self.server.answers else 204
        if status == 204:
            self.server.received.append(
                ({key.lower(): value for key, value in self.headers.items()}, body)
            )
        time.sleep(self.server.delay)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        if self.server.length:
            self.send_header("Content-Length", self.server.length)
        self.end_headers()
        if self.server.length:
            self.server.released.wait()

    def do_GET(self) -> None:  # reached if a redirect were followed
        self.server.followed += 1
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.stop()


@pytest.mark.parametrize(
    "secret", ["plain text", "whsec_" + base64.b64encode(bytes(range(24))).decode()]
)
def test_a_notice_is_signed_as_the_standard_says(receiver, secret):
    sink = WebhookSink(receiver.url, secret=secret, headers={"Authorization": "Bearer x"})
    sink.write(make_event(0))
    sink.write(make_event(1))
    (headers, body), (later, _) = receiver.received
    assert json.loads(body) == make_event(0).to_dict()
    assert headers["content-type"] == "application/json"
    assert headers["authorization"] == "Bearer x"
    # Verified by the standard's own library.
    judge = Webhook(secret if secret.startswith("whsec_") else secret.encode())
    judge.verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        judge.verify(body.replace(b"car", b"cat"), headers)
    assert (headers["webhook-id"], later["webhook-id"]) == ("event-0_on", "event-0_off")


def test_the_library_of_cloudevents_reads_it(receiver):
    http = pytest.importorskip("cloudevents.core.bindings.http")
    event = replace(make_event(1), camera="yard ü/gate")
    WebhookSink(receiver.url).write(event)
    headers, body = receiver.received[0]
    found = http.from_http_event(http.HTTPMessage(headers, body))
    assert (found.get_id(), found.get_type()) == ("event-0_off", "pvlr.event.off")
    assert found.get_source() == "/cameras/yard%20%C3%BC%2Fgate"
    assert found.get_time().timestamp() == pytest.approx(event.time, abs=1e-3)
    assert found.get_data() == event.to_dict()


def test_without_a_secret_there_is_no_signature(receiver):
    WebhookSink(receiver.url).write(make_event(0))
    assert "webhook-signature" not in receiver.received[0][0]


def test_a_user_in_the_address(receiver):
    sink = WebhookSink(receiver.url.replace("http://", "http://u%40x:s3cret@"))
    sink.write(make_event(0))
    assert (
        receiver.received[0][0]["authorization"]
        == "Basic " + base64.b64encode(b"u@x:s3cret").decode()
    )
    assert "s3cret" not in sink.name


def test_failures_are_tried_again_and_refusals_are_not(receiver, tmp_path, caplog):
    receiver.answers = [503, 500, 429, 401, 404, 302, 204, 400, 422]
    worker = SinkWorker(
        WebhookSink(receiver.url), DiskQueue(tmp_path / "q.sqlite"), longest_pause=0.05
    )
    for number in range(5):
        worker.submit(make_event(number))
    until(lambda: len(receiver.received) == 3)
    stats = worker.close(2)
    # The second and the third were refused.
    assert receiver.ids() == ["event-0_on", "event-1_off", "event-2_on"]
    assert (stats.delivered, stats.lost, stats.waiting) == (3, 2, 0)
    assert receiver.followed == 0
    assert "503" in caplog.text
    assert "400" in caplog.text
    assert "s3cret" not in caplog.text


def test_a_server_that_is_away_costs_nothing(tmp_path):
    receiver = Receiver()
    port = receiver.server_port
    worker = SinkWorker(
        WebhookSink(receiver.url), DiskQueue(tmp_path / "q.sqlite"), longest_pause=0.1
    )
    worker.submit(make_event(0))
    until(lambda: len(receiver.received) == 1)
    receiver.stop()
    for number in range(1, 50):
        worker.submit(make_event(number))
    until(lambda: worker.stats().error)
    assert worker.stats().waiting == 49
    back = Receiver(port)
    until(lambda: len(back.received) == 49)
    assert back.ids() == [f"event-{n // 2}_{'off' if n % 2 else 'on'}" for n in range(1, 50)]
    assert worker.close(1).lost == 0
    back.stop()


def test_an_answer_that_does_not_come_in_time_is_a_failure(receiver):
    receiver.delay = LONG
    began = time.monotonic()
    with pytest.raises(OSError, match="timed out"):
        WebhookSink(receiver.url, timeout=0.2).write(make_event(0))
    assert time.monotonic() - began < LONG / 2


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://host/",
        "https://",
        "http://u:s3cret@[host/",
        "file:///etc/passwd",
        "http://h/a b",
        "http://h/ä",
        "http://h..i",
    ],
)
def test_addresses_that_are_none(url):
    with pytest.raises(errors.OptionError) as caught:
        WebhookSink(url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "header", [("Authorization", "Bearer s3cret\n"), ("A", "s3cret€"), ("A s3cret:", "x")]
)
def test_headers_that_are_none(header):
    """For example a token read from a file with its newline: http.client would quote it in an error."""
    with pytest.raises(errors.OptionError, match="webhook header") as caught:
        WebhookSink("http://host/", headers=dict([header]))
    assert "s3cret" not in str(caught.value)


def test_a_secret_that_is_none():
    with pytest.raises(errors.OptionError, match="webhook secret") as caught:
        WebhookSink("http://host/", secret="whsec_!s3cret")
    assert "s3cret" not in str(caught.value)


def test_a_name_that_is_not_resolved_ends_in_time(monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait() and [])
    ended: list[OSError] = []

    def write() -> None:
        try:
            WebhookSink("http://hook.example/", timeout=0.2).write(make_event(0))
        except OSError as error:
            ended.append(error)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    assert joined(thread)
    released.set()
    assert "timed out" in str(ended[0])


@pytest.mark.slow
@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("drips", [b"HTTP/1.1 200 O", b"HTTP/1.1 200 OK\r\nX: "])
def test_a_receiver_that_drips_ends_in_time(drips, tls, capfd):
    """Version 0.1 waited as long as a byte came within each timeout. With TLS the handshake drips."""
    server = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        client = server.accept()[0]
        with contextlib.suppress(OSError):
            client.sendall(b"\x16\x03\x03\x40\x00" if tls else drips)  # a handshake record of 16 kB
            for _ in range(600):
                client.sendall(b"\x02" if tls else b"x")
                time.sleep(0.1)

    threading.Thread(target=drip, daemon=True).start()
    url = f"{'https' if tls else 'http'}://127.0.0.1:{server.getsockname()[1]}/"
    began = time.monotonic()
    with pytest.raises(OSError, match="timed out"):
        WebhookSink(url, timeout=0.5).write(make_event(0))
    assert time.monotonic() - began < LONG / 2
    server.close()
    # nor does the event loop report the end of its connection
    assert capfd.readouterr() == (
        "",
        "",
    )


def test_the_body_of_a_response_is_not_waited_for(receiver):
    receiver.length = "1000000"
    WebhookSink(receiver.url, timeout=60).write(make_event(0))
    receiver.released.set()


def test_a_proxy_of_the_environment(receiver, monkeypatch):
    for name in ("http_proxy", "no_proxy"):
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{receiver.server_port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    WebhookSink("http://hook.invalid/").write(make_event(0))
    WebhookSink(receiver.url).write(make_event(1))
    assert [headers["host"] for headers, _ in receiver.received] == [
        "hook.invalid",
        f"127.0.0.1:{receiver.server_port}",
    ]


def test_deadlines_leave_nothing_behind(receiver):
    sink = WebhookSink(receiver.url)
    sink.write(make_event(0))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        sink.write(make_event(0))
    until(lambda: len(os.listdir("/proc/self/fd")) <= before)
    assert threading.active_count() < 20


def test_a_certificate_that_is_not_trusted(tmp_path):
    pem, key = tmp_path / "c.pem", tmp_path / "c.key"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=localhost",
        "-days",
        "2",
    ]
    if subprocess.run(
        [*command, "-out", pem, "-keyout", key], capture_output=True, check=False
    ).returncode:
        pytest.skip("openssl is not installed")
    server = Receiver()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    with pytest.raises(OSError, match="certificate"):
        WebhookSink(server.url.replace("http", "https", 1), timeout=3).write(make_event(0))
    assert server.received == []
    server.stop()
