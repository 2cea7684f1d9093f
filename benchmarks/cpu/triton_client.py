"""Load for a Triton server with a model of ``pvlr export triton``: needs only tritonclient, and runs on any machine.

    python benchmarks/cpu/triton_client.py pvlr-lite2-coco80 --images photos/ --concurrency 1,8,64

Prints images per second, p50 and p99 for each number of concurrent clients, with HTTP and gRPC, as JSON. With
--scores FILE, the scores of the images are written in one pass, sorted by file name, as an array for NumPy.
"""

from __future__ import annotations

import argparse
import importlib
import json
import threading
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    """Parse the options and run the clients."""
    options = argparse.ArgumentParser()
    options.add_argument("model")
    options.add_argument("--images", type=Path, required=True)
    options.add_argument("--concurrency", default="1,2,4,8,16,32,64")
    options.add_argument("--seconds", type=float, default=5.0)
    options.add_argument("--http", default="localhost:8000")
    options.add_argument("--grpc", default="localhost:8001")
    options.add_argument("--scores", type=Path)
    given = options.parse_args()
    files = sorted(path for path in given.images.rglob("*") if path.is_file())
    images = [path.read_bytes() for path in files]
    rows = []
    for protocol, address in (("http", given.http), ("grpc", given.grpc)):
        if given.scores:
            answers = [answer(protocol, address, given.model, image) for image in images]
            np.save(given.scores.with_suffix(f".{protocol}.npy"), np.concatenate(answers))
        for count in map(int, filter(None, given.concurrency.split(","))):
            rows.append({"protocol": protocol, **load(protocol, address, given.model, images, count, given.seconds)})
    print(json.dumps(rows))


def connect(protocol: str, address: str) -> tuple[Any, Any]:
    """The module of a protocol and a connected client."""
    module = importlib.import_module(f"tritonclient.{protocol}")
    return module, module.InferenceServerClient(address)


def request(module: Any, image: bytes) -> list[Any]:
    """The inputs of a request for one encoded image."""
    tensor = module.InferInput("IMAGE", [1, 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[image]], np.object_))
    return [tensor]


def answer(protocol: str, address: str, model: str, image: bytes) -> Any:
    """float32 (1, C): the scores of one image."""
    module, client = connect(protocol, address)
    return client.infer(model, request(module, image)).as_numpy("SCORES")


def load(protocol: str, address: str, model: str, images: list[bytes], count: int, seconds: float) -> dict[str, Any]:
    """Images per second and latencies in milliseconds of ``count`` clients, each with one request at a time."""
    lock, turn, times = threading.Lock(), cycle(images), []
    end = time.perf_counter() + seconds

    def images_in_turn() -> Iterator[bytes]:
        while time.perf_counter() < end:
            with lock:
                image = next(turn)
            yield image

    def client() -> None:
        module, connection = connect(protocol, address)
        for image in images_in_turn():
            began = time.perf_counter()
            connection.infer(model, request(module, image))
            times.append(time.perf_counter() - began)

    began = time.perf_counter()
    threads = [threading.Thread(target=client) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = len(times) / (time.perf_counter() - began)
    p50, p99 = 1e3 * np.percentile(times, [50, 99])
    return {"clients": count, "images_per_second": round(rate, 1), "p50": round(p50, 2), "p99": round(p99, 2)}


if __name__ == "__main__":
    main()
