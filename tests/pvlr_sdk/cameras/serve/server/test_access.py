"""Who may come in: names and origins, the token and the form for it, and what keeps browsers strict."""

from __future__ import annotations

import shutil
import socket
import subprocess
from contextlib import ExitStack

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from pvlr_sdk import errors
from pvlr_sdk.cameras.serve import ServeSettings
from pvlr_sdk.cameras.serve.server.audit import Audit
from pvlr_sdk.cameras.site.config import ServeConfig
from pvlr_sdk.cli.serve import _settings
from tests.pvlr_sdk.cameras.serve.conftest import PATTERN, TOKEN


@pytest.mark.slow
@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        (host, True)
        for host in (
            "127.0.0.1:{port}",
            "localhost",
            "LOCALHOST:{port}",
            "[::1]:1",
            "192.168.1.7:8000",
            f"{socket.gethostname()}:80",
            "cams.example",
        )
    ]
    + [
        (host, False)
        for host in (
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example:{port}",
            "localhost@evil.example",
            "localhost:x",
            "",
        )
    ],
)
def test_a_foreign_name_is_refused(serve, host, allowed):
    """DNS rebinding: a page of evil.example whose name suddenly leads here."""
    served = serve(names=("Cams.example",))
    answer = served.get("/v1/labels", Host=host.format(port=served.port))
    assert answer.status == (200 if allowed else 421)
    # Probes come from orchestrators, which call machines as they like.
    assert served.get("/healthz", Host=host.format(port=served.port) or "x").status == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://127.0.0.1:{port}", True),
        ("https://127.0.0.1:{port}", True),  # behind a proxy that speaks TLS
        ("http://127.0.0.1:1", False),
        ("http://localhost:{port}", False),
        ("http://evil.example", False),
        ("null", False),
        ("http://[", False),
    ],
)
def test_pages_of_other_sites_can_neither_ask_nor_listen(serve, origin, allowed):
    served = serve(PATTERN)
    origin = origin.format(port=served.port)
    assert served.get("/v1/labels", Origin=origin).status == (200 if allowed else 403)
    assert served.ask("POST", "/v1/tag", b"x", {"Origin": origin}).status == (
        422 if allowed else 403
    )
    url = f"ws://127.0.0.1:{served.port}/v1/live"
    if allowed:
        with connect(url, origin=origin) as live:
            assert "hello" in live.recv(5)
    else:
        with pytest.raises(InvalidStatus) as refused:
            connect(url, origin=origin)
        assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    ("site", "mode", "status"),
    [("cross-site", "no-cors", 403), ("same-site", "no-cors", 403), ("cross-site", "navigate", 200),
     ("same-origin", "no-cors", 200), ("none", "navigate", 200)],
)  # fmt: skip
def test_images_of_other_sites_are_refused(serve, site, mode, status):
    """They have no Origin; a search costs a second."""
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}
    assert serve(PATTERN).get("/v1/labels", **headers).status == status


def test_two_origins_are_refused(serve):
    served = serve(PATTERN)
    ours = f"http://127.0.0.1:{served.port}"
    for origins in ((ours, ours), (ours, "http://evil.example"), ("http://evil.example", ours)):
        lines = "".join(f"Origin: {origin}\r\n" for origin in origins)
        with socket.create_connection(("127.0.0.1", served.port)) as one:
            one.sendall(
                f"GET /v1/labels HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n{lines}\r\n".encode()
            )
            assert one.recv(1000).startswith(b"HTTP/1.1 403")


def test_every_answer_keeps_browsers_strict(serve):
    served = serve()
    for path in ("/", "/page/main.js", "/v1/labels", "/v1/none", "/healthz", "/signin"):
        headers = served.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy.replace("https://", "http://")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Cache-Control"] == "no-store"
        assert "server" not in headers


WRONG = [
    {},
    {"Authorization": f"Bearer {TOKEN}x"},
    {"Authorization": TOKEN},
    {"Authorization": "Bearer \xe9"},
    {"Cookie": "pvlr_session=x"},
    {"Cookie": f"pvlr_session={TOKEN}"},
    {"Cookie": "a\x01;="},
]
PROTECTED = [
    "/",
    "/v1/labels",
    "/v1/cameras",
    "/v1/events",
    "/metrics",
    "/openapi.json",
    "/page/main.js",
    "/none",
]


@pytest.mark.slow
def test_without_the_token_nothing_is_told(serve):
    served = serve(PATTERN, token=TOKEN)
    for path in PROTECTED:
        for wrong in WRONG:
            answer = served.get(path, **wrong)
            assert answer.status in ((303,) if path == "/" else (401, 429)), (path, wrong)
            assert b"door" not in answer.body
        assert served.get(path, Authorization=f"bearer {TOKEN}").status == (
            404 if path == "/none" else 200
        )
    assert served.get("/v1/labels").headers["WWW-Authenticate"] == "Bearer"
    assert served.get("/").headers["Location"] == "/signin"
    for path in ("/healthz", "/readyz"):
        assert served.get(path).status in (200, 503)


def test_the_form_gives_a_cookie_that_opens_page_and_socket(serve):
    served = serve(PATTERN, token=TOKEN)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert b"password" in served.get("/signin").body
    assert served.get("/page/style.css").status == 200
    wrong = served.ask("POST", "/signin", "token=wrong%3Cb%3E", form)
    assert (wrong.status, b"Wrong token" in wrong.body, b"<b>" in wrong.body) == (401, True, False)
    assert served.ask("POST", "/signin", "x" * 5000, form).status == 413
    assert served.ask("POST", "/signin", "token=%FF%00&token=&&&=&a", form).status == 401
    right = served.ask("POST", "/signin", f"token={TOKEN}", form)
    cookie = right.headers["Set-Cookie"]
    assert (right.status, right.headers["Location"]) == (303, "/")
    assert TOKEN not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    session = cookie.partition(";")[0]
    # Cookies do not know ports: other programs of this machine have theirs, in forms that SimpleCookie rejects.
    for others in ("other=1", 'other={"a": "b"}', "other", "a b=c"):
        assert served.get("/", Cookie=f"{others}; {session}").status == 200
    url = f"ws://127.0.0.1:{served.port}/v1/live"
    with connect(url, additional_headers={"Cookie": session}) as live:
        assert "hello" in live.recv(5)
    with pytest.raises(InvalidStatus) as refused:
        connect(url)
    assert refused.value.response.status_code == 401
    # Another token ends the session.
    assert serve(PATTERN, token=TOKEN[::-1]).get("/v1/labels", Cookie=session).status == 401


@pytest.mark.parametrize(
    "settings",
    [
        *({"host": host} for host in ("0.0.0.0", "::", "192.168.1.7", "cams.example")),
        {"host": "0.0.0.0", "token": ""},
        *(
            {"token": token}
            for token in ("short", "0123456789 abcdef", "0123456789abcdef\n", "", 123456789)
        ),
        *({"names": (name,)} for name in ("https://cams.example/", "cams.example:8000")),
        *({"tls_cert": "x.pem"}, {"port": 70000}, {"max_connections": 1}, {"prot": 8000}),
    ],
)
def test_what_is_not_started(settings):
    with pytest.raises(errors.OptionError) as refused:
        ServeSettings(**settings)
    token = settings.get("token")
    assert not token or str(token) not in str(refused.value)


@pytest.mark.parametrize(
    ("cert", "key", "named"),
    [
        ("none", "key", r"got .*none\.pem: No such file"),
        ("cert", "folder", r"got .*folder\.pem: Is a directory"),
        ("cert", "other", r"got .*cert\.pem and .*other\.pem: .*MISMATCH"),
        ("cert", "locked", r"tls_key: .*locked\.pem, encrypted.* openssl pkey"),
    ],
)
def test_tls_files_are_checked_at_the_start(tmp_path, cert, key, named):
    """Without a question for the passphrase, which would block a service; by --check too."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=cams -keyout key.pem -out cert.pem"
    lock = "pkey -in key.pem -aes256 -passout pass:secret -out locked.pem"
    for command in (
        new,
        lock,
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out other.pem",
    ):
        subprocess.run(["openssl", *command.split()], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "folder.pem").mkdir()
    ServeSettings(tls_cert=tmp_path / "cert.pem", tls_key=tmp_path / "key.pem")
    with pytest.raises(errors.OptionError, match=named):
        ServeSettings(tls_cert=tmp_path / f"{cert}.pem", tls_key=tmp_path / f"{key}.pem")


def test_an_audit_log_that_cannot_be_written(tmp_path):
    for path in (tmp_path, tmp_path / "none" / "audit"):
        with pytest.raises(
            errors.OptionError, match=rf"audit_log: expected that {path} can be written, got "
        ):
            Audit(path)


def test_an_empty_token_of_the_site_file_is_not_the_absence_of_one():
    with pytest.raises(errors.OptionError, match="at least 16"):
        _settings(ServeConfig(token=""))
    assert _settings(ServeConfig()).token is None


def test_loopback_needs_no_token_and_no_settings_show_one():
    for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"):
        assert ServeSettings(host=host).token is None
    assert TOKEN not in repr(ServeSettings(token=TOKEN))


def test_addresses_that_cannot_be_bound(serve):
    served = serve()
    for host, port in (("127.0.0.1", served.port), ("localhost", served.port)):
        from pvlr_sdk.cameras.serve.web import WebServer

        with pytest.raises(errors.OptionError, match="free address"):
            WebServer(None, ServeSettings(host=host, port=port), print)


def test_attempts_to_sign_in_at_the_same_time_are_limited(serve):
    """All of them were compared, since only answered ones counted."""
    served = serve(token=TOKEN)
    head = b"POST /signin HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    with ExitStack() as stack:
        held = [
            stack.enter_context(socket.create_connection(("127.0.0.1", served.port), timeout=10))
            for _ in range(9)
        ]
        for one in held:
            one.sendall(head + b"Content-Length: 11\r\n\r\n")
        served.until(lambda: served.get("/healthz").status == 200)
        for one in held:
            one.sendall(b"token=wrong")
        statuses = [one.recv(100).split(b" ")[1] for one in held]
    assert sorted(statuses) == [b"401"] * 5 + [b"429"] * 4
