"""Places with random scores, a detector and a recorder, without a network."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from pvlr_sdk.cameras.events import Event, EventDetector, EventSettings, When
from pvlr_sdk.cameras.memory.moments import Moment
from pvlr_sdk.cameras.memory.recorder import Recorder
from pvlr_sdk.cameras.memory.recording import Chunk, Context, Place
from pvlr_sdk.cameras.memory.sink import MemoryConfig, MemorySink
from pvlr_sdk.cameras.memory.store import Store
from pvlr_sdk.cli import app

WALL = 1_750_000_000.0
PICTURE = np.full((48, 64, 3), 90, np.uint8)
FRAME = SimpleNamespace(pixels=PICTURE, color="bgr", wall=WALL, size=(48, 64))


class Scene:
    """One place: its detector, what the recorder submitted, and the events as they were reported."""

    def __init__(
        self,
        names: Sequence[str] = ("car", "cat"),
        thresholds: Sequence[float] | None = None,
        settings: EventSettings | None = None,
        *,
        camera: str = "door",
        submit: Callable[[Any], None] | None = None,
        **options: Any,
    ) -> None:
        self.names = tuple(names)
        self.detector = EventDetector(camera, names, thresholds or [0.5] * len(names), settings)
        self.items: list[Any] = []
        self.events: list[Event] = []
        options = {
            "samples_per_hour": 0,
            "floor": 0.1,
            "features_of": lambda plan: "tiny",
            **options,
        }
        self.recorder = Recorder(self.detector, submit or self.items.append, **options)

    def see(
        self,
        now: float,
        scores: Any,
        *,
        wall: float | None = None,
        features: Any = None,
        **result: Any,
    ) -> None:
        scores = np.asarray(scores, np.float32)
        logits = np.log(np.clip(scores, 1e-6, 1 - 1e-6) / np.clip(1 - scores, 1e-6, 1)).astype(
            np.float32
        )
        result = {
            "thresholds": np.zeros(len(self.names), np.float32),
            "plan": "plan",
            "bank": "bank",
            **result,
        }
        result = {
            "frame_size": (48, 64),
            "attention": lambda label, size: np.eye(*size, dtype=np.float32),
            **result,
        }
        seen = SimpleNamespace(
            labels=self.names, scores=scores, logits=logits, features=features, **result
        )
        wall = WALL + now if wall is None else wall
        frame = SimpleNamespace(**{**vars(FRAME), "wall": wall})
        events = self.detector.update(now, wall, scores, self.names, result["thresholds"])
        self.recorder.saw(wall, seen, frame, events)
        self.events += events

    def close(self, now: float, reason: str = "stopped") -> None:
        events = self.detector.close(now, reason)
        self.recorder.closed(now, reason, events)
        self.events += events

    def change(
        self, thresholds: Any = None, names: Sequence[str] | None = None, **settings: Any
    ) -> None:
        chosen = replace(self.detector.used.settings, **settings)
        self.detector.use(self.detector.prepare(chosen, thresholds, names))
        self.names = self.names if names is None else tuple(names)

    @property
    def chunks(self) -> list[Chunk]:
        """The chunks as they are read from a store."""
        found = [one for one in self.items if isinstance(one, Chunk)]
        return [replace(one, arrays=Chunk.unpack(one.pack())) for one in found]


@pytest.fixture
def make_scene() -> type[Scene]:
    return Scene


def play(scene: Scene, random: np.random.Generator, frames: int, *, jumps: bool = True) -> None:
    """Scores that rise, fall and flicker, with long gaps, lost cameras and other settings meanwhile."""
    count, now = len(scene.names), 1e5 + random.uniform(0, 100)
    level = random.uniform(-9, -5, count)
    for _ in range(frames):
        now += (
            random.exponential(20) if jumps and random.random() < 0.02 else random.exponential(0.1)
        )
        changed = random.random(count) < 0.03
        level = np.where(changed, random.choice([-8.0, -5.0, 0.0, 1.0, 4.0], count), level)
        scores = 1 / (1 + np.exp(-(level + random.normal(0, 1, count))))
        if jumps and random.random() < 0.01:
            scene.close(now, "camera lost: no frames")
        if jumps and random.random() < 0.01:
            scene.change(random.uniform(0.02, 0.9, count), margin=random.uniform(0, 0.3))
        scene.see(now, scores, wall=WALL + now + random.normal(0, 1e-3))
    scene.close(now)


def random_scene(
    random: np.random.Generator, count: int, *, repeats: bool = False, **options: Any
) -> Scene:
    settings = EventSettings(
        smoothing=float(random.choice([0, 0.2, 0.5, 1])),
        margin=random.uniform(0, 0.3),
        min_duration=random.uniform(0, 1.5),
        min_gap=random.uniform(0, 2),
    )
    names = [f"label {number}" for number in range(count)]
    if repeats:
        rules = [
            When([names[1]], [], 3.0),
            When([], [names[2]], 0.7),
            When([names[3]], [names[4]], 0.2),
        ]
        when = dict(zip(random.choice(names, 3, replace=False).tolist(), rules, strict=True))
        groups = {"one": names[3:6], "other": names[6:8]}
        settings = replace(settings, cooldown=random.uniform(0, 4), when=when, groups=groups)
        settings = replace(settings, max_per_hour=int(random.integers(1, 9)))
    return Scene(names, random.uniform(0.05, 0.9, count).tolist(), settings, **options)


def values(events: Sequence[Event]) -> list[tuple[Any, ...]]:
    """Events without their ids."""
    return [
        tuple(value for name, value in vars(one).items() if name not in ("id", "snapshot"))
        for one in events
    ]


def pvlr(*arguments: Any) -> str:
    """What a command prints on stdout; its notes go to stderr, its errors are raised."""
    done = CliRunner().invoke(
        app, [str(one) for one in arguments], catch_exceptions=False, standalone_mode=False
    )
    sys.stderr.write(done.stderr)
    return done.stdout


def write(sink: MemorySink, scene: Scene) -> None:
    for item in scene.items:
        sink.write(item)
    scene.items.clear()


class Site:
    """Events of one label with their peaks, written to a store."""

    def __init__(self, folder):
        self.store, self.count = Store(folder, write=True), 0
        self.context = Context(
            ("car", "cat"), EventSettings(), (0.5, 0.5), None, "plan", "bank", 0.4
        )

    def event(
        self, peak: float, answer=None, *, camera="door", label="car", features=None, **context
    ) -> str:
        self.count += 1
        of, start = replace(self.context, **context), WALL + 10 * self.count
        name = f"{(self.count * 2654435761) % 2**32:08x}-{self.count}"
        on = Event("on", name, camera, label, start, peak, peak, start, start)
        self.store.write((on, of))
        frame = np.zeros(2, np.float32)
        place, space = Place(camera, None), "" if features is None else "tiny"
        self.store.write(
            Moment(place, of, start, frame, features, space, PICTURE, score=peak, event=name)
        )
        self.store.write((replace(on, state="off", end=start + 1, reason="score"), of))
        if answer:
            self.answer(name, answer)
        return name

    def answer(self, event: str, answer, alike: Sequence[str] = (), *, drawn=True) -> None:
        """Answer events by their ids."""
        numbers = {row.event: row.id for row in self.store.rows("kind = 'event'")}
        others = [numbers.get(one, 10**6) for one in alike]
        self.store.answer(numbers[event], answer, alike=others, drawn=drawn)

    def answers(self) -> dict[str, str]:
        found = self.store.answers()
        return {
            row.event: found[row.id][0]
            for row in self.store.rows("kind = 'event'")
            if row.id in found
        }


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path / "m")
    yield made
    made.store.close()


@pytest.fixture
def sink(tmp_path):
    made = MemorySink(MemoryConfig(folder=tmp_path / "memory", samples_per_hour=360))
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path, make_scene) -> Path:
    """Two cars, one that is too short, and a cat that comes close, at two cameras."""
    sink = MemorySink(MemoryConfig(folder=tmp_path / "memory"))
    settings = EventSettings(smoothing=0, min_duration=1, min_gap=1, margin=0.1, labels=["car"])
    for camera in ("door", "yard"):
        scene = make_scene(settings=settings, camera=camera)
        levels = [0.1] * 10 + [0.9] * 30 + [0.1] * 30 + [0.7] * 20 + [0.1] * 20
        levels += [0.6] * 5 + [0.1] * 20 + [0.45] * 9 + [0.1] * 20
        for step, level in enumerate(levels):
            vector = np.zeros(16, np.float32)
            vector[0 if level > 0.8 else 1] = 1
            scene.see(step / 10, [level, 0.55 if 20 <= step < 40 else 0.1], features=vector)
        scene.close(len(levels) / 10)
        write(sink, scene)
    sink.close()
    return tmp_path / "memory"
