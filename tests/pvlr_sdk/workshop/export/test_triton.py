"""``pvlr export-triton``: the files of a repository, and a real Triton that serves it.

The server and its client have requirements of their own: PVLR_TRITON is the Python of an environment with
``nvidia-pytriton>=0.7`` and ``tritonclient[http,grpc]``.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import cv2
import numpy as np
import pytest

from pvlr_sdk import errors
from pvlr_sdk.workshop.export.triton import export_triton

ROOT = Path(__file__).parents[4]
CLIENT = os.environ.get("PVLR_TRITON", "")
needs_triton = pytest.mark.skipif(not CLIENT, reason="PVLR_TRITON names no environment with Triton")


def test_a_plan_is_one_model(plan, tmp_path):
    folder = export_triton(plan, tmp_path / "repo", name="tags", instances=2, threads=1)
    assert folder == tmp_path / "repo/tags"
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    plan_files = {"1/engine.plan", "1/engine.json", "1/engine.labels.safetensors"}
    assert names == {"config.pbtxt", "labels.txt", "1/model.py", *plan_files}
    assert (folder / "labels.txt").read_text().splitlines()[0] == "person"
    config = (folder / "config.pbtxt").read_text()
    assert "count: 2" in config
    assert 'string_value: "latency"' in config


def test_each_value_of_a_configuration_has_its_reason(plan, tmp_path):
    folder = export_triton(plan, tmp_path)
    lines = (folder / "config.pbtxt").read_text().splitlines()
    for value in (
        "backend:",
        "max_batch_size:",
        "  max_queue_delay",
        "instance_group",
        "model_warmup",
        "optional:",
    ):
        places = [
            number for number, line in enumerate(lines) if line.strip().startswith(value.strip())
        ]
        assert places, value
        assert any("#" in line for line in lines[max(0, places[0] - 5) : places[0]]), value


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden"])
def test_a_name_that_triton_refuses(plan, tmp_path, name):
    with pytest.raises(errors.OptionError, match="letters, digits"):
        export_triton(plan, tmp_path / "repo", name=name)
    assert not any(tmp_path.iterdir())


def test_the_command(plan, tmp_path, capsys, monkeypatch):
    from pvlr_sdk.cli import main

    monkeypatch.setattr(sys, "argv", ["pvlr", "export-triton", str(plan), "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as done:
        main()
    assert not done.value.code
    assert capsys.readouterr().out == f"{tmp_path}/tiny\n"


CLIENTS = """
import importlib, json, sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np

protocol, address, *paths = sys.argv[1:]
module = importlib.import_module(f"tritonclient.{protocol}")

def ask(path):
    image = module.InferInput("IMAGE", [1, 1], "BYTES")
    image.set_data_from_numpy(np.array([[open(path, "rb").read()]], object))
    try:
        outputs = module.InferenceServerClient(address).infer("tiny", [image])
    except Exception as error:
        return str(error)
    return outputs.as_numpy("SCORES")[0].tolist(), json.loads(outputs.as_numpy("TAGS")[0, 0])

with ThreadPoolExecutor(64) as clients:
    print(json.dumps(list(clients.map(ask, paths))))
"""


class Server(NamedTuple):
    http: str
    grpc: str

    def get(self, path: str) -> Any:
        with urlopen(f"http://{self.http}/{path}", timeout=10) as answer:
            return json.loads(answer.read() or "{}")


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope="module")
def server(plan: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Triton with the tiny plan in fp32."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    try:
        ctypes.CDLL(f"libpython{version}.so.1.0")
    except OSError:
        pytest.skip(f"the Python backend needs the library of Python {version}")
    folder = tmp_path_factory.mktemp("triton")
    export_triton(plan, folder / "repo", threads=2)
    code = "from importlib.util import find_spec; print(find_spec('pytriton').submodule_search_locations[0])"
    found = subprocess.run([CLIENT, "-c", code], capture_output=True, text=True, check=True)
    home = Path(found.stdout.strip(), "tritonserver")
    shutil.copytree(home / "backends", folder / "backends")
    stub = folder / "backends/python/triton_python_backend_stub"
    shutil.copy(home / "python_backend_stubs" / version / stub.name, stub)
    program = folder / "tritonserver"
    shutil.copy(home / "bin/tritonserver", program)
    stub.chmod(0o755)
    program.chmod(0o755)
    http, grpc = free_ports(2)
    command = [
        str(program),
        "--model-repository",
        str(folder / "repo"),
        "--backend-directory",
        str(folder / "backends"),
    ]
    command += [
        "--http-address=127.0.0.1",
        f"--http-port={http}",
        "--grpc-address=127.0.0.1",
        f"--grpc-port={grpc}",
    ]
    packages = home.parents[1]
    # The backend runs the Python of PATH: with NumPy 1, as it needs, from Triton's environment, and the rest from here.
    venv.create(folder / "env", symlinks=True)
    (site,) = (folder / "env").glob("lib/*/site-packages")
    (site / "paths.pth").write_text(f"{ROOT}\n{packages}\n{sysconfig.get_path('purelib')}\n")
    path = f"{folder}/env/bin:{os.environ['PATH']}"
    variables = {"LD_LIBRARY_PATH": f"{packages}/nvidia_pytriton.libs", "PATH": path}
    with (folder / "log.txt").open("w") as log:
        made = subprocess.Popen(
            [*command, "--allow-metrics=false", "--exit-timeout-secs=5"],
            env={**os.environ, **variables},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 90
        while True:
            assert made.poll() is None, (folder / "log.txt").read_text()[-3000:]
            assert time.monotonic() < deadline
            try:
                urlopen(f"http://127.0.0.1:{http}/v2/health/ready", timeout=5).close()
                break
            except (URLError, ConnectionError):
                time.sleep(0.3)
        yield Server(f"127.0.0.1:{http}", f"127.0.0.1:{grpc}")
    finally:
        made.send_signal(signal.SIGTERM)
        made.wait(30)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(32):
        pixels = np.random.default_rng(number).integers(0, 256, (12, 16, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number:02}.jpg"), cv2.resize(pixels, (320 + number, 240)))
    return folder


@needs_triton
@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_64_clients_get_what_the_tagger_says(server, photos, plan, tmp_path, protocol):
    """An invalid image is an error of its request alone, also within a batch."""
    from pvlr_sdk import Tagger

    invalid = tmp_path / "invalid.jpg"
    invalid.write_bytes(b"no image")
    paths = sorted(photos.iterdir())
    names = [str(path) for path in [*paths, invalid, *paths]]
    done = subprocess.run(
        [CLIENT, "-c", CLIENTS, protocol, getattr(server, protocol), *names],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    with Tagger(plan) as tagger:
        results = [tagger.predict(path) for path in paths]
    expected = [[result.scores.tolist(), result.to_dict()["tags"]] for result in results]
    assert found[: len(paths)] == found[len(paths) + 1 :] == expected
    assert "ImageDecodeError: frame: expected an image" in found[len(paths)]
    (statistics,) = server.get("v2/models/tiny/stats")["model_stats"]
    assert statistics["execution_count"] < statistics["inference_count"]  # batches were formed


@needs_triton
@pytest.mark.slow
def test_raw_frames_the_open_inference_protocol_and_no_input(server, photos, plan):
    from pvlr_sdk import Tagger

    frame = cv2.imread(str(photos / "00.jpg"))
    tensor = {
        "name": "FRAME",
        "datatype": "UINT8",
        "shape": [1, *frame.shape],
        "data": frame[:, :, ::-1].ravel().tolist(),
    }
    body = json.dumps({"inputs": [tensor]}).encode()
    with urlopen(Request(f"http://{server.http}/v2/models/tiny/infer", body)) as answer:
        outputs = {one["name"]: one["data"] for one in json.load(answer)["outputs"]}
    with Tagger(plan) as tagger:
        expected = tagger.predict(frame)
    assert np.array_equal(np.float32(outputs["SCORES"]), expected.scores)
    assert json.loads(outputs["TAGS"][0]) == expected.to_dict()["tags"]
    with pytest.raises(HTTPError) as refused:
        urlopen(
            Request(
                f"http://{server.http}/v2/models/tiny/infer", json.dumps({"inputs": []}).encode()
            )
        )
    assert b"FrameTypeError" in refused.value.read() or refused.value.code == 400
