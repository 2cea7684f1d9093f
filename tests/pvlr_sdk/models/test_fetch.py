"""Download of models from a local server: only the right bytes are installed, and only if asked for."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.models import catalogue as module
from pvlr_sdk.models import fetch as downloads
from pvlr_sdk.models.catalogue import Catalogue, FileSpec, Model
from pvlr_sdk.models.fetch import fetch
from pvlr_sdk.models.find import find_plan
from tests.waiting import LONG

ROOT = Path(__file__).parents[3]


class _Server(BaseHTTPRequestHandler):
    """Sends the files of ``cats`` as ``fault`` says."""

    fault = ""
    seen: list[str]
    bodies: dict[str, bytes]

    def do_GET(self) -> None:
        self.seen.append(self.path)
        body = self.bodies[self.path.removeprefix("/models/cats")]
        if self.path.endswith(".plan"):
            if self.fault == "404":
                return self.send_error(404)
            if self.fault == "hash":
                body = b"P" + body[1:]
            if self.fault == "long":
                body += b"x" * 10_000_000
            if self.fault in ("head", "chunks"):
                chunked = b"Transfer-Encoding: chunked\r\n\r\n"
                self._write(b"HTTP/1.1 200 OK\r\n" + (b"X: " if self.fault == "head" else chunked))
                return self._drip(b"0" * 1200)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.path.endswith(".plan"):
            if self.fault == "truncated":
                return self._write(body[:1000])
            if self.fault == "silent":
                time.sleep(LONG)
            if self.fault == "slow":
                self._drip(body[:1200])
        return self._write(body)

    def _drip(self, data: bytes) -> None:
        for byte in data:
            self._write(bytes([byte]))
            time.sleep(0.05)

    def _write(self, data: bytes) -> None:
        try:
            self.wfile.write(data)
            self.wfile.flush()
        except OSError:
            pass  # the client has gone

    def log_message(self, *_: object) -> None:
        pass


def _serving(handler: object) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)  # type: ignore[arg-type]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def server(bodies: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Server]]:
    handler = type("Server", (_Server,), {"seen": [], "bodies": bodies})
    for url in _serving(handler):
        monkeypatch.setenv("PVLR_MODELS_URL", f"{url}/models/")
        yield handler


def test_nothing_is_downloaded_unasked(small: Model, cache: Path, server: type[_Server]) -> None:
    with pytest.raises(errors.PlanNotFoundError):
        Tagger("cats")
    assert not server.seen
    assert not cache.exists()


@pytest.mark.parametrize("way", ["fetch", "PVLR_DOWNLOAD"])
def test_a_download_is_installed_once(
    small: Model, cache: Path, server: type[_Server], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: list[int] = []
    if way == "fetch":
        plan = fetch("cats", received.append)
        assert sum(received) == small.bytes
        assert fetch("cats") == plan
    else:
        monkeypatch.setenv("PVLR_DOWNLOAD", "1")
        plan = find_plan("cats")
    assert plan == cache / "models" / "cats" / "engine.plan"
    assert {path.name: path.read_bytes() for path in plan.parent.iterdir()} == {
        f"engine{end}": data for end, data in server.bodies.items()
    }
    assert find_plan("cats") == plan
    assert sorted(server.seen) == sorted(f"/models/cats{end}" for end in server.bodies)
    assert cache.stat().st_mode & 0o077 == 0, (
        "compiled networks are not cached in a folder that others can write to"
    )


def test_a_damaged_copy_in_the_cache_is_replaced(
    small: Model, cache: Path, server: type[_Server]
) -> None:
    plan = fetch("cats")
    plan.write_bytes(b"damaged")
    assert fetch("cats") == plan
    assert plan.read_bytes() == server.bodies[".plan"]


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        ("404", errors.DownloadError, "HTTP 404"),
        ("hash", errors.FileHashError, "SHA-256"),
        ("long", errors.FileSizeError, "got more"),
        ("truncated", errors.FileSizeError, "got 1000 bytes"),
        ("silent", errors.DownloadError, "timed out"),
        ("slow", errors.DownloadError, "timed out"),
        ("head", errors.DownloadError, "timed out"),
        ("chunks", errors.DownloadError, "timed out"),
    ],
)
def test_a_wrong_answer_installs_nothing(
    small: Model,
    cache: Path,
    server: type[_Server],
    fault: str,
    kind: type[errors.PvlrError],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.fault = fault
    monkeypatch.setattr(downloads, "_TIMEOUT", 0.3)
    if fault == "slow":
        monkeypatch.setattr(downloads, "_SLOWEST", 10_000_000)
    started, received = time.monotonic(), []
    with pytest.raises(kind, match=message) as caught:
        fetch("cats", received.append)
    assert "/models/cats.plan" in str(caught.value)
    assert "nothing was changed" in str(caught.value)
    assert time.monotonic() - started < LONG / 2, "waits for the end of a slow answer"
    assert sum(received) < small.bytes + (1 << 17), "reads more than the model has"
    assert not cache.exists()


def test_no_server_no_address_no_cache(
    small: Model, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(errors.OptionError, match=r"PVLR_MODELS_URL: .*https://"):
        fetch("cats")
    for url in ("file:///etc", "ftp://host/models", "models"):
        monkeypatch.setenv("PVLR_MODELS_URL", url)
        with pytest.raises(errors.OptionError, match="PVLR_MODELS_URL"):
            fetch("cats")
    monkeypatch.setenv("PVLR_MODELS_URL", "https://me:secret@127.0.0.1/models")
    with pytest.raises(errors.OptionError, match="without a password") as caught:
        fetch("cats")
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("PVLR_MODELS_URL", "http://127.0.0.1:9/models")
    with pytest.raises(errors.DownloadError, match="refused"):
        fetch("cats")
    monkeypatch.setenv("PVLR_CACHE_DIR", "")
    with pytest.raises(errors.OptionError, match="PVLR_CACHE_DIR"):
        fetch("cats")
    with pytest.raises(errors.PlanNotFoundError, match="Did you mean cats"):
        fetch("cat")


def test_a_cache_that_cannot_be_written(
    small: Model, tmp_path: Path, server: type[_Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PVLR_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(errors.OutputError):
        fetch("cats")


@pytest.mark.slow
def test_a_released_model_is_downloaded_and_tags(
    cache: Path, update: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the folder that ``models/update.py --assets`` writes, through HTTP, to a tag."""
    monkeypatch.setattr("sys.argv", ["update.py", "--assets", str(tmp_path / "www")])
    monkeypatch.setattr(update, "outputs", lambda url: {})
    update.main()
    handler = partial(
        type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None}),
        directory=tmp_path,
    )
    for url in _serving(handler):
        monkeypatch.setenv("PVLR_MODELS_URL", f"{url}/www")
        with pytest.raises(errors.PlanNotFoundError, match="pvlr models fetch pvlr-lite0-open"):
            Tagger("pvlr-lite0-open")
        fetch("pvlr-lite0-open")
    with Tagger("pvlr-lite0-open") as tagger:
        assert tagger.info["plan"] == str(cache / "models/pvlr-lite0-open/engine.plan")
        assert [tag.label for tag in tagger.predict(ROOT / "docs/images/chelsea.jpg")] == ["cat"]
    assert (
        json.loads((cache / "models/pvlr-lite0-open/engine.json").read_text())["name"]
        == "pvlr-lite0-open"
    )


@pytest.mark.parametrize("by", ["me", "mallory", None])
def test_with_trusted_keys_a_download_must_be_signed(
    small: Model,
    cache: Path,
    server: type[_Server],
    keys: Any,
    by: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The catalogue vouches for the bytes; that does not make up for a signature. Nothing is written without one."""
    pytest.importorskip("cryptography")
    from pvlr_sdk.trust.keys import PrivateKey
    from pvlr_sdk.trust.signature import Envelope, SignedFile, Statement, signed_bytes

    private = {"me": keys.make("me"), "mallory": keys.make("mallory", trusted=False)}
    if by:
        knowledge = b"part of the bundle"
        files = {f"engine{end}": SignedFile(small.files[end].sha256) for end in small.files}
        files["engine.knowledge.safetensors"] = SignedFile(hashlib.sha256(knowledge).hexdigest())
        payload, key = Statement("cats", files, 1).to_json(), PrivateKey(private[by], lambda: "")
        signature = Envelope(payload, key.sign(signed_bytes(payload)), key.fingerprint).to_bytes()
        more = {".sig": signature, ".knowledge.safetensors": knowledge}
        server.bodies.update(more)
        specs = {
            end: FileSpec(bytes=len(of), sha256=hashlib.sha256(of).hexdigest())
            for end, of in more.items()
        }
        model = small.model_copy(update={"files": {**small.files, **specs}})
        monkeypatch.setattr(module, "catalogue", lambda: Catalogue(url=None, models=(model,)))
    monkeypatch.setenv("PVLR_TRUST", str(keys.trusted))
    monkeypatch.setenv("PVLR_STATE", "")
    if by == "me":
        plan = fetch("cats")
        assert all(plan.with_suffix(end).read_bytes() == of for end, of in more.items())
        return
    with pytest.raises(errors.UntrustedKeyError if by else errors.NotSignedError):
        fetch("cats")
    assert not cache.exists()
