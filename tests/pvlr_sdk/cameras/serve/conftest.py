"""A server in this process on a free port, with the tiny network and the test pattern as its cameras; a browser."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from pvlr_sdk import Tagger
from pvlr_sdk.cameras.control.control import Control
from pvlr_sdk.cameras.control.plans import Plans
from pvlr_sdk.cameras.control.state import State
from pvlr_sdk.cameras.events import EventSettings
from pvlr_sdk.cameras.memory.moments import Moment
from pvlr_sdk.cameras.memory.recording import Place
from pvlr_sdk.cameras.memory.sink import MemoryConfig, MemorySink
from pvlr_sdk.cameras.memory.store import Store
from pvlr_sdk.cameras.serve import ServeSettings
from pvlr_sdk.cameras.site import Site, SiteConfig, load_config
from tests.pvlr_sdk.cameras.memory.conftest import Scene
from tests.pvlr_sdk.labels import tiny_open
from tests.pvlr_sdk.labels.tiny_open import FEATURES
from tests.waiting import LONG, until

ALWAYS = {"thresholds": {"cat": 0.0}, "labels": ["cat", "person"], "min_duration": 0.1}
CHROMIUM = "/usr/bin/chromium"
# Without tiles: a score is that of the frame, and a threshold that of the plan.
PATTERN = {"door": {"uri": "test://?fps=30&size=64x48", "tiles": "1x1"}}
TOKEN = "0123456789abcdef"
HEAD = b"POST /v1/tag HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
NOISE = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)


def jpeg(pixels: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(".jpg", pixels, list(options))[1].tobytes()


JPEG = jpeg(NOISE)


@pytest.fixture(scope="session")
def tagger(plan: Path) -> Iterator[Tagger]:
    with Tagger(plan, num_threads=1) as made:
        yield made


@pytest.fixture
def image(photo: np.ndarray) -> bytes:
    """A PNG."""
    return cv2.imencode(".png", photo)[1].tobytes()


@pytest.fixture
def data_url(image: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"


@pytest.fixture
def slow(tagger: Tagger) -> Callable[[float], Any]:
    """Makes a tagger that takes so many seconds longer; the answers are the real ones."""

    def make(seconds: float) -> Any:
        def predict(*arguments: Any, **options: Any) -> Any:
            time.sleep(seconds)
            return tagger.predict(*arguments, **options)

        alike = {
            name: getattr(tagger, name) for name in ("labels", "thresholds", "info", "label_bank")
        }
        return SimpleNamespace(**alike, predict=predict)

    return make


@dataclass
class Answer:
    """An HTTP response."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Served:
    """A server, and the site behind it. A response may take ``patience`` seconds."""

    patience = 20.0

    def __init__(self, control: Control, settings: ServeSettings) -> None:
        from pvlr_sdk.cameras.serve.web import WebServer

        self.site = site = control.site
        self.failures: list[BaseException] = []
        self.server = WebServer(control, settings, self.failures.append)
        self.url = self.server.url
        self.port = int(self.url.rpartition(":")[2])
        self.server.start()
        self._watching = threading.Thread(target=self._watch) if site else None
        if self._watching:
            self._watching.start()

    def _watch(self) -> None:
        assert self.site is not None
        try:
            self.site.run()
        except (
            BaseException
        ) as error:  # shown by the test that it belongs to, and not by whichever runs then
            self.failures.append(error)

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.patience)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers=headers)

    def tag(self, data: Any, kind: str = "image/jpeg", query: str = "") -> Answer:
        return self.ask("POST", f"/v1/tag{query}", data, {"Content-Type": kind})

    def until(self, condition: Callable[[], Any], seconds: float = LONG) -> Any:
        return until(condition, seconds=seconds)

    def close(self) -> None:
        if self.site and self._watching:
            self.site.stop()
            self._watching.join(5)
        self.server.close()


@pytest.fixture
def serve(tagger: Tagger, plan: Path) -> Iterator[Callable[..., Served]]:
    """Starts servers: ``cameras``, ``events`` and ``memory`` as in a site's file; ``state`` is the folder that keeps
    changes; further names are settings of the server.

    The cameras share an ``engine`` that is a tagger; another one is for the uploads alone.
    """
    running: list[Served] = []

    def start(
        cameras: dict[str, Any] | None = None,
        engine: Any = None,
        events: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Served:
        site = None
        if cameras:
            raw = {
                "plan": str(plan),
                "threads": 1,
                "cameras": cameras,
                "events": {**ALWAYS, **(events or {})},
            }
            raw["memory"] = settings.pop("memory", None)
            shared = engine if isinstance(engine, Tagger) else tagger
            site = Site(SiteConfig.parse(raw, source="test"), tagger=shared)
        folder, bank = settings.pop("state", None), settings.pop("bank_file", None)
        site_file = settings.pop("site_file", None)
        state = State(folder) if folder else None
        plans = Plans(state, lambda: load_config(site_file)) if state and site_file else None
        control = Control(engine or tagger, site, state, plans=plans, bank=bank)
        running.append(Served(control, ServeSettings(port=0, **settings)))
        return running[-1]

    yield start
    for served in running:
        served.close()
    assert not [failure for served in running for failure in served.failures]


@pytest.fixture
def remembered(tmp_path: Path) -> Path:
    """A memory with 40 events of a car at one camera, ten of which look alike, and some that came close."""
    sink, settings = (
        MemorySink(MemoryConfig(folder=tmp_path / "memory")),
        EventSettings(smoothing=0.1, min_duration=0.2),
    )
    scene = Scene(
        ["car", "cat", "person"],
        settings=settings,
        submit=sink.write,
        features_of=lambda plan: FEATURES,
    )
    random = np.random.default_rng(0)
    for second in range(0, 400, 10):
        peak, parked = random.uniform(0.55, 0.98), second % 40 == 0
        for step in range(100):
            level = peak if step < 30 else 0.45 if 60 < step < 70 else 0.1
            seen = (
                random.normal(0, 1, tiny_open.DEPTH) * (not parked)
                + np.eye(tiny_open.DEPTH)[0] * parked
            )
            features = (seen / np.linalg.norm(seen)).astype(np.float32)
            scene.see(second + step / 10, [level, 0.3, 0.2], features=features)
    scene.close(400)
    sink.close()
    return tmp_path / "memory"


@pytest.fixture
def sampled(remembered: Path) -> Path:
    """The same with four sampled frames, of which two look alike."""
    store = Store(remembered, write=True)
    row = store.rows()[-1]
    for number, column in enumerate((0, 1, 2, 2)):
        features, logits = (
            np.eye(tiny_open.DEPTH, dtype=np.float32)[column],
            np.eye(3, dtype=np.float32)[column],
        )
        picture = np.full((48, 64, 3), 60 * column, np.uint8)
        of = (
            Place(row.camera, row.region),
            row.context,
            row.time + number,
            logits,
            features,
            FEATURES,
        )
        store.write(Moment(*of, picture, kind="uncertain"))
    store.close()
    return remembered


@pytest.fixture
def drawn(remembered: Path) -> list[int]:
    """The numbers of two frames that were drawn at random, of which an event covers the first."""
    store = Store(remembered, write=True)
    row = store.rows("kind = 'event'")[-1]
    for seconds in (1, 8):
        place = Place(row.camera, row.region)
        picture = np.zeros((48, 64, 3), np.uint8)
        logits = np.zeros(3, np.float32)
        store.write(
            Moment(
                place, row.context, row.start + seconds, logits, None, "", picture, kind="random"
            )
        )
    numbers = [row.id for row in store.rows("kind = 'random'")]
    store.close()
    return numbers


@pytest.fixture(scope="session")
def open_plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnx", reason="writes a network")
    return tiny_open.build_plan(tmp_path_factory.mktemp("open"))


@pytest.fixture
def open_tagger(open_plan: Path) -> Iterator[Tagger]:
    """The tiny open plan: its labels can change."""
    with Tagger(open_plan, precision="fp32", num_threads=1) as made:
        yield made


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """``door`` shows a red field all the time, ``yard`` never does."""
    folder = tmp_path_factory.mktemp("clips")
    scenes: dict[str, list[tuple[str, ...]]] = {
        "door": [("red",), ("red", "blue"), ("red", "green")],
        "yard": [("green",), ("blue",), ()],
    }
    for seed, (camera, colours) in enumerate(scenes.items()):
        writer = cv2.VideoWriter(
            str(folder / f"{camera}.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 30, (80, 64)
        )
        for number in range(300):
            pixels = tiny_open.paint([seed, number], *colours[number // 5 % 3])
            writer.write(cv2.resize(pixels, (80, 64), interpolation=cv2.INTER_NEAREST))
        writer.release()
    return {camera: {"uri": str(folder / f"{camera}.avi"), "loop": True} for camera in scenes}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    if not os.path.exists(CHROMIUM):
        pytest.skip("Chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Opens pages. In the end no console may show an error or a warning (except those that match ``allow``), and
    nothing may have come from outside."""
    complaints: list[str] = []
    contexts: list[Any] = []

    def open_page(url: str, allow: str = "$.", **options: Any) -> Any:
        origin = "/".join(url.split("/")[:3])

        def hear(message: Any) -> None:
            if message.type in ("error", "warning") and not re.search(allow, message.text):
                complaints.append(message.text)

        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", hear)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda request: (
                request.url.startswith((origin, "blob:")) or complaints.append(request.url)
            ),
        )
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
