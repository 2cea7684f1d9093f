"""Still scenes: the share of tiles that is computed with refresh=, and the events that are lost (docs/still.md).

    python -m benchmarks.accuracy.still --json still.json

Frames have the times of their clip, so the results do not depend on the speed of the machine. Takes forty minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice, product
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from pvlr_sdk import Tagger
from pvlr_sdk.cameras.events import Event, EventDetector
from pvlr_sdk.cameras.stream.still import StillScene
from pvlr_sdk.frames.tiles import Tiles

from ..common import Json, conditions, run, save
from .data import Data, Plan, check_outputs, data_folder, read_split

Frames = Iterable[tuple[float, NDArray[np.uint8]]]
"""Seconds and pixels (BGR) of each frame."""
TILES: Tiles = (3, 2)
CLIPS = "car-detection", "bottle-detection"
STEP = 2  # of a clip's frames, every other one
EMPTY = 0
CAR = 42
"""Frames of the first clip: the still scene, and the same place with a car."""


def _streaks(shape: tuple[int, ...], rng: np.random.Generator) -> Any:
    drops = (rng.random(shape[:2], np.float32) > 0.999).astype(np.float32)
    return 900 * cv2.blur(drops, (1, 15))[..., None]


FILTERS: dict[str, Callable[[Any, float, np.random.Generator], Any]] = {
    "as it is": lambda image, *_: image,
    "noise": lambda image, _, rng: image + 8 * rng.standard_normal(image.shape, np.float32),
    "rain": lambda image, _, rng: image + _streaks(image.shape, rng),
    "lamp": lambda image, t, _: (
        image * (1 + np.linspace(0.15, 0, image.shape[1])[:, None] * np.sin(2 * np.pi * 2.3 * t))
    ),
    "dusk": lambda image, t, _: image * max(0.4, 1 - 0.02 * t),
}
"""Noise of 8 gray levels in each pixel; streaks of 60 gray levels; a lamp at the left that flickers by 15 %; light that
falls to 40 %. Of an image and the seconds in the clip."""


def read(path: str, name: str) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """A clip through a filter."""
    video = cv2.VideoCapture(path)
    number = 0
    rng = np.random.default_rng(0)
    while (frame := video.read())[0]:
        seconds = number / video.get(cv2.CAP_PROP_FPS)
        if number % STEP == 0:
            yield seconds, np.clip(FILTERS[name](frame[1], seconds, rng), 0, 255).astype(np.uint8)
        number += 1


def still(path: str, seconds: float) -> Frames:
    """A photo of 1280 x 720 pixels with the noise of a sensor, 10 times a second; a car is there in the second half."""
    rng = np.random.default_rng(0)
    images = [
        cv2.resize(image, (1280, 720)) for _, image in islice(read(path, "as it is"), CAR + 1)
    ]
    noisy = [
        [images[i] + 4 * rng.standard_normal((720, 1280, 3), np.float32) for _ in range(8)]
        for i in (EMPTY, CAR)
    ]
    frames = np.clip(noisy, 0, 255).astype(np.uint8)
    return (
        (n / 10, frames[int(n >= 5 * seconds), rng.integers(8)]) for n in range(int(10 * seconds))
    )


def appear(
    tagger: Tagger, folder: Path, refresh: float, count: int = 20
) -> list[tuple[str, float, float | None]]:
    """Photos of 300 x 260 pixels come into other photos: their label, and after how many seconds it is a tag first
    where all tiles are computed, and with ``refresh`` (None: not within 15 seconds)."""
    path, table = read_split(folder, "coco", "train", tagger.labels)
    rng = np.random.default_rng(0)
    found = list[tuple[str, float, float | None]]()

    def photo(row: int, size: tuple[int, int]) -> NDArray[np.float32]:
        image = cv2.imread(str(path / table.files[row]))
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32)

    while len(found) < count:
        scene, other = rng.integers(len(table.files), size=2)
        new = [
            label
            for label, a, b in zip(tagger.labels, *table.targets[[scene, other]], strict=True)
            if a < b == 1
        ]
        before = photo(scene, (1280, 720))
        left = rng.integers(980)
        top = rng.integers(460)
        after = before.copy()
        after[top : top + 260, left : left + 300] = photo(other, (300, 260))
        noisy = [
            [one + 4 * rng.standard_normal(one.shape, np.float32) for _ in range(8)]
            for one in (before, after)
        ]
        images = np.clip(noisy, 0, 255).astype(np.uint8)
        frames = [(n / 10, images[int(n >= 10), rng.integers(8)]) for n in range(160)]
        every = watch(tagger, frames[5:20], TILES, None)["first"]
        label = next((one for one in new if every.get(one, 0) >= 1), None)
        if label is not None:
            kept = watch(tagger, frames, TILES, refresh)["first"].get(label)
            found.append((label, every[label] - 1, None if kept is None else kept - 1))
    return found


def watch(
    tagger: Tagger, frames: Frames, tiles: Tiles | None, refresh: float | None
) -> dict[str, Any]:
    """Tag frames as a stream does: events, when each label was a tag first, milliseconds of CPU time per frame."""
    scene = StillScene(refresh)
    detector = EventDetector("", tagger.labels, tagger.thresholds)
    events = list[Event]()
    first = dict[str, float]()
    counts = np.zeros(3, int)
    cpu = 0.0
    now = 0.0
    for now, frame in frames:
        began = time.process_time()
        look = scene.look(frame, "bgr", now)
        result = tagger.predict_async(frame, tiles=tiles, kept=look.kept).result()
        counts += 1, len(result.tiles) or 1, scene.learn(look, result)
        cpu += time.process_time() - began
        first = dict.fromkeys((tag.label for tag in result), now) | first
        limits = result.thresholds if result.tiles else None
        events += detector.update(now, now, result.scores, thresholds=limits)
    spans = [
        (one.label, one.start, one.end)
        for one in [*events, *detector.close(now, "ended")]
        if one.end is not None
    ]
    return {
        "events": spans,
        "first": first,
        "share": counts[2] / counts[1],
        "cpu": 1e3 * cpu / counts[0],
    }


def main(
    plan: Plan = None,
    data: Data = None,
    refresh: Annotated[
        float, typer.Option(help="Seconds for which unchanged tiles keep their scores.")
    ] = 10.0,
    out: Json = None,
) -> None:
    """Compare clips with all tiles computed with the same clips where unchanged tiles keep their scores."""
    check_outputs(out)
    clips = [str(data_folder(data) / f"video/{name}.mp4") for name in CLIPS]
    car = clips[0]
    cases = dict[str, tuple[Callable[[], Frames], Tiles | None]]()
    for clip, path in zip(CLIPS, clips, strict=True):
        cases |= {f"{clip}, {name}": (partial(read, path, name), TILES) for name in FILTERS}
    cases |= {
        "still": (partial(still, car, 600), None),
        "still, tiles": (partial(still, car, 600), TILES),
    }
    scenes = {}
    with Tagger(plan, operating_point="precise") as tagger:  # as `pvlr watch`
        for name, (frames, tiles) in cases.items():
            every = watch(tagger, still(car, 4) if "still" in name else frames(), tiles, None)
            kept = watch(tagger, frames(), tiles, refresh)
            pairs = product(every["events"], kept["events"])
            met = [a for a, b in pairs if a[0] == b[0] and a[1] < b[2] and b[1] < a[2]]
            lost = [one for one in every["events"] if one not in met]
            scenes[name] = {"all": every, "kept": kept, "lost": [] if "still" in name else lost}
            print(name, scenes[name], flush=True)
        objects = appear(tagger, data_folder(data), refresh)
        print("objects", objects, flush=True)
    save(
        out, {"refresh": refresh, "scenes": scenes, "objects": objects, "conditions": conditions()}
    )


if __name__ == "__main__":
    run(main)
