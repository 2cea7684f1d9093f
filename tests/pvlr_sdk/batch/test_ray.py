"""A real Ray cluster with two nodes: a worker and the driver are killed, and every image has its row once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pytest

from pvlr_sdk import errors
from pvlr_sdk.batch import Job, TagBatch
from pvlr_sdk.batch.on_ray import on_ray
from pvlr_sdk.batch.shards import Input
from tests.waiting import until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra [ray]"),
]

PVLR = [sys.executable, "-c", "from pvlr_sdk.cli import main; main()"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster of two nodes with one CPU each."""
    import ray
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = Cluster()
    try:
        made.add_node(num_cpus=1, include_dashboard=False)
        made.add_node(num_cpus=1)
    except Exception as error:  # its agent has 15 seconds to start, in which a busy machine may not import its modules
        made.shutdown()
        pytest.skip(f"Ray does not start here: {error}")
    yield made.address
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def many(tmp_path: Path, images: Callable[[int], list[bytes]]) -> Path:
    """600 images, one of them unreadable, in folders."""
    for number, data in enumerate(images(600)):
        path = tmp_path / f"many/{number % 5}/{number:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if number != 321 else b"no image")
    return tmp_path / "many"


def workers() -> list[int]:
    """Processes of the pool's actors."""
    found = subprocess.run(
        ["pgrep", "-f", "^ray::_Actor"], capture_output=True, text=True, check=False
    )
    return [int(line) for line in found.stdout.split()]


def test_a_worker_and_the_driver_are_killed(cluster, many, plan, tmp_path, rows, tagger):
    out = tmp_path / "out"
    options = ["--plan", str(plan), "--precision", "fp32", "--out", str(out), "--shard-size", "5"]
    command = [*PVLR, "batch", str(many), *options, "--engine", "ray", "--address", cluster]

    def complete() -> int:
        return len(list(out.rglob("*.parquet")))

    with subprocess.Popen(command, stdout=subprocess.PIPE) as driver:
        until(lambda: complete() > 10)
        os.kill(workers()[0], signal.SIGKILL)
        reached = complete()
        until(lambda: complete() > reached + 20)
        assert driver.poll() is None
        driver.kill()
    reached = complete()
    assert 30 < reached < 100
    until(lambda: not workers())
    # shards are done in no fixed order
    failed_before = any(name.endswith("321.jpg") for name in rows(out))
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == (0 if failed_before else 2)
    found = rows(out)
    assert set(found) == {str(path) for path in many.rglob("*.jpg")}
    for name, row in found.items():
        if name.endswith("321.jpg"):
            assert row["error"]["type"] == "ImageDecodeError"
        else:
            assert row["tags"] == tagger.predict(name).to_dict()["tags"]


def test_the_engines_share_one_dataset(cluster, photos, plan, tmp_path, rows):
    job = Job(Input(str(photos), size=3), str(tmp_path / "out"), plan)
    first = job.run(lambda job, tasks: on_ray(cluster)(job, [next(iter(tasks))]))
    second = job.run()
    assert (first.shards, second.present) == (1, 1)
    assert first.core_hours > 0
    assert len(rows(second.dataset)) == 12


def test_an_error_of_a_worker_ends_the_run_with_its_class(cluster, photos, plan, tmp_path):
    job = Job(Input(str(photos)), str(tmp_path / "out"), plan, options={"threshold": 2.0})
    with pytest.raises(
        errors.OptionError, match=r"threshold: expected a number from 0 to 1, got 2\.0"
    ):
        job.run(on_ray(cluster))
    with pytest.raises(errors.OptionError, match="--threads: expected 64 CPU cores"):
        job.run(on_ray(cluster, threads=64))


def test_ray_data(cluster, photos, plan, images):
    import ray.data

    ray.init(cluster, ignore_reinit_error=True, log_to_driver=False)
    encoded = images(40)
    dataset = ray.data.from_arrow(pa.table({"id": [f"{n}" for n in range(40)], "bytes": encoded}))
    tagged = dataset.map_batches(
        TagBatch,
        fn_constructor_kwargs={"plan": plan, "num_threads": 1, "precision": "fp32"},
        batch_format="pyarrow",
        batch_size=16,
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=1),
    )
    expected = TagBatch(plan, precision="fp32")(
        pa.table({"id": [f"{n}" for n in range(40)], "bytes": encoded})
    )
    found = {row["id"]: row["tags"] for row in tagged.take_all()}
    assert found == dict(zip(expected["id"].to_pylist(), expected["tags"].to_pylist(), strict=True))
