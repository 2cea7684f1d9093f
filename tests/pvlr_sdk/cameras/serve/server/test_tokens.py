"""Tokens by name, in a file that may change at any time."""

from __future__ import annotations

import hmac
import json
import re
import socket
import subprocess
from types import SimpleNamespace

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from pvlr_sdk import errors
from pvlr_sdk.cameras.serve.server.tokens import Tokens, read_tokens, session_of, token_hash

ANNA, BERT, CARL = "annas-token-0123456789", "berts-token-#123456789", "carls-token-0123456789"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(autouse=True)
def look_at_once(monkeypatch):
    monkeypatch.setattr("pvlr_sdk.cameras.serve.server.tokens._PAUSE", 0.0)


def test_a_file_of_names_tokens_and_hashes(tmp_path):
    path = tmp_path / "tokens"
    path.write_text(
        f"# who may\n\nanna {ANNA}\n  bert hash:{token_hash(BERT)}\ncarl hash:{token_hash('c').upper()}\n"
    )
    tokens = Tokens(None, path)
    assert tokens.required
    assert tokens.name_of_session(session_of("c")) == "carl"
    assert (
        tokens.name_of_session(session_of(ANNA)),
        tokens.name_of_session(session_of(BERT)),
        tokens.name_of_session(session_of(ANNA + "x")),
    ) == ("anna", "bert", None)
    assert tokens.name_of_session(session_of(BERT)) == "bert"
    # Neither a token nor what stands in a file is a session.
    assert tokens.name_of_session(ANNA) is None
    assert tokens.name_of_session(token_hash(BERT)) is None
    assert tokens.name_of_session(session_of(token_hash(BERT))) is None
    assert ANNA not in repr(vars(tokens))


def test_a_session_is_compared_with_every_hash_in_constant_time(tmp_path, monkeypatch):
    """How long it takes tells neither which token is right nor how much of a wrong one is."""
    path = tmp_path / "tokens"
    path.write_text(f"anna {ANNA}\nbert {BERT}\ncarl {CARL}\n")
    tokens = Tokens(None, path)
    compared = []

    def compare(digest: str, expected: str, real=hmac.compare_digest) -> bool:
        compared.append(expected)
        return real(digest, expected)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    for token, name in ((ANNA, "anna"), (CARL, "carl"), (ANNA[:-1], None)):
        compared.clear()
        assert tokens.name_of_session(session_of(token)) == name
        assert compared == [token_hash(known) for known in (ANNA, BERT, CARL)]


def test_the_documented_command_makes_the_hash():
    command = f"printf 'pvlr %s' '{ANNA}' | sha256sum | head -c 64 | sha256sum | head -c 64"
    assert subprocess.run(
        ["sh", "-c", command], capture_output=True, check=True
    ).stdout.decode() == token_hash(ANNA)


def test_one_token_alone_and_none():
    assert Tokens(ANNA, None).name_of_session(session_of(ANNA)) == "token"
    assert not Tokens(None, None).required
    assert Tokens(None, None).name_of_session(session_of("")) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "at least one token"),
        ("# nothing\n", "at least one token"),
        ("anna short\n", "line 1 of token_file: expected at least 16"),
        (
            f"anna {ANNA}\nanna {BERT}\n",
            "line 2 of token_file: expected NAME TOKEN, with a new name",
        ),
        (f"anna {ANNA} x\n", "got 3 words"),
        (f"an;na {ANNA}\n", "A name has letters"),
        ("anna hash:123\n", "line 1 of token_file: expected 64 hexadecimal digits after hash:"),
        (f"anna hash:{token_hash(ANNA)[:-1]}\n", "got 63 characters"),
        (
            "anna \u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\n",
            "other characters than ASCII",
        ),
    ],
)
def test_an_invalid_file_is_named_by_its_line(tmp_path, text, told):
    path = tmp_path / "tokens"
    path.write_text(text)
    with pytest.raises(errors.OptionError, match=re.escape(told)) as refused:
        read_tokens(path)
    assert ANNA not in str(refused.value)
    assert BERT not in str(refused.value)


def test_a_changed_file_holds_at_once_and_an_invalid_one_never(serve, tmp_path):
    path, audit = tmp_path / "tokens", tmp_path / "audit"
    path.write_text(f"anna {ANNA}\n")
    served = serve(token_file=path, audit_log=audit)
    session = (
        served.ask("POST", "/signin", f"token={ANNA}", FORM).headers["Set-Cookie"].partition(";")[0]
    )
    assert served.get("/v1/labels", **bearer(ANNA)).status == 200
    assert served.get("/v1/labels", Cookie=session).status == 200
    path.write_text("anna x\n")
    assert served.get("/v1/labels", **bearer(ANNA)).status == 200
    path.unlink()
    assert served.get("/v1/labels", **bearer(ANNA)).status == 200
    path.write_text(f"bert {BERT}\n")
    assert served.get("/v1/labels", **bearer(ANNA)).status == 401
    assert served.get("/v1/labels", Cookie=session).status == 401
    assert served.get("/v1/labels", **bearer(BERT)).status == 200
    told = [(line["action"], line["result"]) for line in lines(audit) if line["action"] == "tokens"]
    assert told == [("tokens", "invalid"), ("tokens", "invalid"), ("tokens", "ok")]


def test_an_open_page_ends_with_its_token(serve, tmp_path):
    path = tmp_path / "tokens"
    path.write_text(f"anna {ANNA}\nbert {BERT}\n")
    served = serve({"door": "test://?fps=30&size=64x48"}, token_file=path)
    url = f"ws://127.0.0.1:{served.port}/v1/live"
    with (
        connect(url, additional_headers=bearer(ANNA)) as anna,
        connect(url, additional_headers=bearer(BERT)) as bert,
    ):
        assert "hello" in anna.recv(20)
        path.write_text(f"bert {BERT}\n")
        with pytest.raises(ConnectionClosed) as ended:
            list(iter(lambda: anna.recv(20), None))
        assert ended.value.rcvd.code == 1008
        assert bert.recv(20)


def test_sessions_survive_a_restart(serve, tmp_path):
    path = tmp_path / "tokens"
    path.write_text(f"bert hash:{token_hash(BERT)}\n")
    answer = serve(token_file=path).ask(
        "POST", "/signin", f"token={BERT.replace('#', '%23')}", FORM
    )
    session = answer.headers["Set-Cookie"].partition(";")[0]
    assert serve(token_file=path).get("/v1/labels", Cookie=session).status == 200


def test_changes_and_attempts_are_recorded_with_the_name(serve, tmp_path):
    path, audit = tmp_path / "tokens", tmp_path / "audit"
    path.write_text(f"anna {ANNA}\n")
    served = serve(token_file=path, audit_log=audit)
    served.ask("POST", "/signin", "token=wrong", FORM)
    served.ask("POST", "/signin", f"token={ANNA}", FORM)
    for body in ('{"thresholds": {"cat": 0.5}}', '{"labels": ["act"]}'):
        served.ask("PUT", "/v1/settings", body, bearer(ANNA))
    for _ in range(50):
        served.get("/v1/labels", **bearer("wrong"))
    found = lines(audit)
    assert [(line["action"], line["result"], line["who"]) for line in found] == [
        ("sign-in", "wrong token", None),
        ("sign-in", "ok", "anna"),
        ("settings", "ok", "anna"),
        ("settings", "UnknownLabelError", "anna"),
        ("request", "refused", None),
    ]
    assert found[2]["thresholds"] == {"cat": 0.5}
    assert all(line["address"] == "127.0.0.1" and line["time"].endswith("Z") for line in found)
    assert ANNA not in audit.read_text()
    assert audit.stat().st_mode & 0o777 == 0o600


def test_changes_that_fail_do_not_fill_the_audit_log(serve, tmp_path):
    audit = tmp_path / "audit"
    served = serve(audit_log=audit)
    rubbish = {"thresholds": {f"no label {number}": 0.5 for number in range(20_000)}}
    body = json.dumps(rubbish)
    for _ in range(20):
        assert served.ask("PUT", "/v1/settings", body).status == 422
    assert served.ask("PUT", "/v1/settings", '{"thresholds": {"cat": 0.3}}').status == 200
    refused, done = lines(audit)
    assert (refused["result"], refused["count"]) == ("UnknownLabelError", 1)
    assert len(json.dumps(refused)) < 500
    assert (done["result"], done["thresholds"]) == ("ok", {"cat": 0.3})


def test_the_audit_log_may_be_rotated_and_never_ends_a_request(serve, tmp_path, caplog):
    audit = tmp_path / "audit"
    served = serve(audit_log=audit)
    change = '{"thresholds": {"cat": 0.5}}'
    assert served.ask("PUT", "/v1/settings", change).status == 200
    audit.rename(tmp_path / "audit.1")
    assert served.ask("PUT", "/v1/settings", change).status == 200
    assert len(lines(audit)) == len(lines(tmp_path / "audit.1")) == 1
    audit.unlink()
    audit.mkdir()
    assert served.ask("PUT", "/v1/settings", change).status == 200
    assert "the audit log cannot be written: Is a directory" in caplog.text


def test_guessing_at_the_form_is_slowed_down(serve, tmp_path):
    audit = tmp_path / "audit"
    served = serve(token=ANNA, audit_log=audit)
    for _ in range(5):
        assert served.ask("POST", "/signin", "token=wrong", FORM).status == 401
    # The right token too: else the response would tell the guesser.
    answer = served.ask("POST", "/signin", f"token={ANNA}", FORM)
    assert answer.status == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert served.get("/v1/labels", **bearer(ANNA)).status == 200
    for _ in range(20):  # does not fill the audit log
        assert served.ask("POST", "/signin", "token=wrong", FORM).status == 429
    assert [line["result"] for line in lines(audit)] == ["wrong token"] * 5 + ["too many attempts"]


@pytest.mark.parametrize("credential", ["bearer", "cookie"])
def test_guessing_with_requests_is_slowed_down(serve, tmp_path, monkeypatch, credential):
    path, now = tmp_path / "tokens", [1000.0]
    path.write_text(f"anna {ANNA}\nbert {BERT}\n")
    served = serve(token_file=path)
    monkeypatch.setattr(
        "pvlr_sdk.cameras.serve.server.audit.time", SimpleNamespace(monotonic=lambda: now[0])
    )

    def guess(token: str) -> int:
        sent = (
            bearer(token)
            if credential == "bearer"
            else {"Cookie": f"pvlr_session={session_of(token)}"}
        )
        return served.get("/v1/labels", **sent).status

    assert guess(BERT) == 200
    # A program with an old token is refused, but keeps no other token out.
    assert [guess("old") for _ in range(20)] == [401] * 20
    assert guess(ANNA) == 200
    assert [guess(f"wrong{number}") for number in range(20)] == [401] * 5 + [429] * 15
    assert guess(BERT) == guess(ANNA) == 200  # known from before
    path.write_text(f"anna {ANNA}\nbert {BERT}\ncarl {CARL}\n")
    assert guess(CARL) == 429  # else the response would tell the guesser
    assert served.get("/", Cookie=f"pvlr_session={session_of(CARL)}").status == 303
    now[0] += 61
    assert guess(CARL) == 200


def test_a_token_that_becomes_valid_is_not_a_guess(serve, tmp_path):
    path = tmp_path / "tokens"
    path.write_text(f"bert {BERT}\n")
    served = serve(token_file=path)
    assert [served.get("/v1/labels", **bearer(ANNA)).status for _ in range(6)] == [401] * 6
    path.write_text(f"bert {BERT}\nanna {ANNA}\n")
    served.until(lambda: served.get("/v1/labels", **bearer(ANNA)).status == 200)


def test_requests_without_a_token_do_not_fill_the_log(serve, caplog):
    """They did at 672 lines per second."""
    caplog.set_level("INFO")
    served = serve(token=ANNA)
    for _ in range(100):
        assert served.get("/v1/labels").status == 401
        served.ask("GET", "/v1/live", headers={"Connection": "Upgrade", "Upgrade": "h2c"})
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", served.port)) as one:
            one.sendall(b"\0\r\n\r\n")
            one.recv(1000)
    assert len(caplog.records) < 12
    assert "request: refused" in caplog.text
