"""Records to a store in processes that are killed with -9, and prints each event and answer that was acknowledged:
writer.py FOLDER KILLS"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np

from pvlr_sdk.cameras.memory.sink import MemoryConfig, MemorySink
from pvlr_sdk.cameras.memory.why import find_event
from tests.pvlr_sdk.cameras.memory.conftest import play, random_scene


def record(folder: Path, seed: int, pipe: int) -> None:
    sink, random = MemorySink(MemoryConfig(folder=folder)), np.random.default_rng(seed)

    def submit(item):
        sink.write(item)
        if isinstance(item, tuple):
            os.write(pipe, f"{item[0].id} {item[0].state}\n".encode())
            if item[0].state == "off":
                store = sink._opened()
                store.answer(find_event(store, item[0].id).id, "yes")
                os.write(pipe, f"{item[0].id} yes\n".encode())

    while True:
        scene = random_scene(random, 5, submit=submit, samples_per_hour=360)
        see = scene.see
        scene.see = lambda *args, see=see, **of: see(
            *args, **of, features=random.normal(0, 1, 64).astype(np.float32)
        )
        play(scene, random, 300)


if __name__ == "__main__":
    random = np.random.default_rng(0)
    for seed in range(int(sys.argv[2])):
        reading, writing = os.pipe()
        if not (child := os.fork()):
            record(Path(sys.argv[1]), seed, writing)
        os.close(writing)
        with os.fdopen(reading) as lines:
            for _ in range(int(random.integers(1, 30))):
                print(lines.readline(), end="")
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            print(lines.read(), end="")
