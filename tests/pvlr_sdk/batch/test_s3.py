"""A real S3 API (moto's server) as source and target that fails and is slow at random: nothing lost, nothing twice."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.request import Request, urlopen

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pvlr_sdk import errors
from pvlr_sdk.batch import Job
from pvlr_sdk.batch.shards import Input

moto = pytest.importorskip("moto.server")
s3fs = pytest.importorskip("s3fs")


class Unreliable:
    """Answers a share of the requests with 500 or 503, and delays others."""

    def __init__(self, app: Any) -> None:
        self._app, self._random, self._lock = app, random.Random(0), threading.Lock()
        self.share = 0.0
        self.answers: Counter[str] = Counter()

    def __call__(self, environ: dict[str, Any], respond: Any) -> Any:
        with self._lock:
            drawn = self._random.random()
            kind = "slow" if drawn < self.share / 4 else "fails" if drawn < self.share else "well"
            status = (
                self._random.choice(["500 Internal Server Error", "503 Slow Down"])
                if kind == "fails"
                else ""
            )
            self.answers[status or kind] += 1
        if kind == "slow":
            time.sleep(0.2)
        if status:
            length = int(environ.get("CONTENT_LENGTH") or 0)
            environ["wsgi.input"].read(length)
            respond(status, [("Content-Type", "application/xml"), ("Content-Length", "0")])
            return [b""]
        return self._app(environ, respond)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Unreliable]:
    """An S3 with the bucket ``bucket``, which s3fs finds by the environment."""
    from werkzeug.serving import make_server

    app = Unreliable(moto.DomainDispatcherApplication(moto.create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "10",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    urlopen(Request(f"http://127.0.0.1:{server.port}/moto-api/reset", method="POST")).close()
    s3fs.S3FileSystem().mkdir("bucket")
    yield app
    server.shutdown()
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def run(plan, tmp_path):
    def run(source, out="s3://bucket/tags", **options):
        return Job(
            Input(source, size=20), str(out), plan, options={"precision": "fp32"}, **options
        ).run()

    return run


@pytest.mark.slow
def test_source_and_target_that_fail_at_random(store, run, images, rows, tagger, tmp_path):
    remote = s3fs.S3FileSystem()
    encoded = images(50)
    for number, data in enumerate(encoded):
        remote.pipe_file(f"bucket/photos/{number % 3}/{number:03}.jpg", data)
    remote.pipe_file("bucket/photos/bad.jpg", b"no image")
    urls = [f"s3://bucket/photos/{number % 3}/{number:03}.jpg" for number in range(50)]
    pq.write_table(
        pa.table({"id": [f"row{n}" for n in range(51)], "uri": [*urls, "s3://bucket/none.jpg"]}),
        tmp_path / "a.parquet",
    )
    remote.put_file(str(tmp_path / "a.parquet"), "bucket/photos/a.parquet")
    store.share, before = 0.3, store.answers.copy()
    summary = run("s3://bucket/photos")
    injected = store.answers - before
    print(injected)
    assert (
        min(injected["500 Internal Server Error"], injected["503 Slow Down"], injected["slow"]) > 5
    )
    store.share = 0.0
    assert (summary.images, dict(summary.failed)) == (
        102,
        {"ImageDecodeError": 1, "ImageNotFoundError": 1},
    )
    assert not summary.unreadable
    local = tmp_path / "copy"
    remote.get(summary.dataset, str(local), recursive=True)
    found = rows(local)
    assert set(found) == {*urls, "s3://bucket/photos/bad.jpg", *(f"row{n}" for n in range(51))}
    for number, data in enumerate(encoded):
        expected = tagger.predict(data).to_dict()["tags"]
        assert found[urls[number]]["tags"] == found[f"row{number}"]["tags"] == expected
    again = run("s3://bucket/photos")
    assert (again.images, again.present) == (0, summary.shards)


@pytest.mark.slow
def test_a_bucket_that_does_not_exist(store, run, photos):
    with pytest.raises(
        errors.OutputError, match=r"s3://nowhere/tags/plan=.*: expected a writable folder"
    ):
        run(str(photos), "s3://nowhere/tags")
    with pytest.raises(errors.SourceOpenError, match="s3://nowhere/x: expected a readable folder"):
        run("s3://nowhere/x")


@pytest.mark.slow
def test_local_images_to_s3_and_a_pattern(store, run, photos):
    summary = run(str(photos))
    assert summary.images == 12
    assert run(str(photos)).images == 0
    s3fs.S3FileSystem().put(f"{photos}/", "s3://bucket/photos/", recursive=True)
    assert run("s3://bucket/photos/**/*.png").images == 4
