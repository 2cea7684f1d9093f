"""The health of a camera: synthetic views that are tampered with, real clips, and how its events reach the sinks."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from pvlr_sdk.cameras.memory.reader import Reader
from pvlr_sdk.cameras.sinks.home_assistant import HomeAssistant, Topics
from pvlr_sdk.cameras.site.health import HEALTH, CameraHealth
from pvlr_sdk.cameras.sources import CapturedFrame
from pvlr_sdk.cameras.stream import Observation
from pvlr_sdk.frames.bgr import load_bgr

DATA = os.environ.get("PVLR_DATA")
CLIPS = {"car-detection.mp4": 12.5, "bottle-detection.mp4": 29.83}
WALL = 1_750_000_000.0
NOISE = np.random.default_rng(0).normal(0, 1, 768 * 432 * 3 + 500_000).astype(np.float32)


def noisy(pixels, sigma=1.5, seed=0):
    noise = NOISE[7919 * seed % 500_000 :][: pixels.size].reshape(pixels.shape)
    return np.clip(pixels + sigma * noise, 0, 255).astype(np.uint8)


def view(seed: int):
    """160 x 90: a texture with edges."""
    random = np.random.default_rng(seed)
    coarse = cv2.resize(
        random.uniform(40, 200, (9, 16)).astype(np.float32),
        (160, 90),
        interpolation=cv2.INTER_NEAREST,
    )
    return coarse + random.normal(0, 12, (90, 160))


class Watched:
    """A camera whose health is judged, one frame per second."""

    def __init__(self) -> None:
        self.health, self.now, self.events, self.pictures = CameraHealth("door"), 0, [], []
        self.wall = WALL

    def see(self, frame, seconds: int, order="gray") -> list[tuple[int, str, str]]:
        """What ``frame(second)`` gives for so many seconds; each event as (second, state, health)."""
        found = []
        for second in range(seconds):
            pixels = frame(second) if callable(frame) else frame
            self.now += 1
            captured = CapturedFrame(
                pixels, order, float(self.now), self.wall + self.now, None, self.now
            )
            seen = Observation("door", captured, None, 0.0, False, {})
            for event, both in self.health.see(seen, float(self.now), self.wall + self.now):
                found.append((second, event.state, event.health))
                self.events.append(event)
                self.pictures.append(load_bgr(both.frame.pixels, both.frame.order))
        return found


USUAL = view(1)
TAMPERED = {
    "covered": lambda s: noisy(np.full((90, 160), 110.0), seed=s),
    "turned": lambda s: noisy(view(2), seed=s),
    "blurred": lambda s: noisy(cv2.GaussianBlur(USUAL, (0, 0), 3), 0.5, seed=s),
    "frozen": noisy(USUAL, seed=77),
    "dark": lambda s: noisy(USUAL * 0.03, 0.5, seed=s),
}


@pytest.fixture
def watched() -> Watched:
    made = Watched()
    assert made.see(lambda s: noisy(USUAL, seed=s), 120) == []
    return made


@pytest.mark.slow
@pytest.mark.parametrize("state", TAMPERED)
def test_what_is_wrong_with_a_camera_is_named_and_shown_beside_what_it_saw(watched, state):
    ((second, *what),) = watched.see(TAMPERED[state], 90)
    assert what == ["on", state]
    assert 29 <= second <= 61
    ((second, *what),) = watched.see(lambda s: noisy(USUAL, seed=1000 + s), 60)
    assert (what, second) == (["off", state], 29)
    on, off = watched.events
    assert (on.label, on.camera, on.score, off.id) == (HEALTH, "door", 1.0, on.id)
    assert (off.reason, off.end - off.start) == (f"{state}: as before", off.time - on.start)
    assert (on.to_dict()["health"], on.start) == (
        state,
        pytest.approx(on.time - (59 if state == "frozen" else 29), abs=31),
    )
    then, now = np.split(watched.pictures[0][..., 0].astype(float), 2, axis=1)
    assert then.shape == (90, 160)
    assert np.corrcoef(then.ravel(), USUAL.ravel())[0, 1] > 0.98
    last = TAMPERED[state](0) if callable(TAMPERED[state]) else TAMPERED[state]
    assert np.abs(now - last).mean() < 8


@pytest.mark.slow
def test_dusk_light_and_what_passes_are_no_events(watched):
    assert watched.see(lambda s: noisy(USUAL * np.exp(-3.5 * min(1, s / 1500)), seed=s), 2000) == []
    assert (
        watched.see(lambda s: noisy(USUAL * np.exp(3.5 * min(1, s / 1500) - 3.5), seed=s), 2000)
        == []
    )
    assert watched.see(lambda s: noisy(USUAL * 0.5, seed=s), 100) == []

    def passing(second):
        pixels = noisy(USUAL, seed=second)
        pixels[:, 8 * (second % 12) : 8 * (second % 12) + 64] = 250
        return pixels

    assert watched.see(passing, 200) == []


def test_a_picture_that_never_changed_is_not_frozen():
    made = Watched()
    assert made.see(noisy(USUAL), 300) == []
    assert made.see(lambda s: noisy(USUAL, seed=s), 10) == []


@pytest.mark.slow
def test_after_an_hour_it_is_the_usual_view_and_so_is_the_view_before(watched):
    turned, back = watched.see(TAMPERED["turned"], 3700)
    assert (turned[1:], back) == (("on", "turned"), (3600, "off", "turned"))
    assert watched.events[1].reason == "turned: this is the usual view now"
    assert watched.see(lambda s: noisy(USUAL, seed=s), 300) == []
    assert watched.see(TAMPERED["turned"], 300) == []
    assert [one[1:] for one in watched.see(TAMPERED["covered"], 100)] == [("on", "covered")]


def test_a_lost_camera_ends_its_event(watched):
    assert watched.health.close(0.0, "camera lost: x") == []
    watched.see(TAMPERED["covered"], 60)
    (off,) = watched.health.close(watched.now + 5.0, "camera lost: x")
    assert (off.state, off.reason, off.time) == (
        "off",
        "covered: camera lost: x",
        WALL + watched.now + 5,
    )
    assert watched.health.close(0.0, "stopped") == []


@pytest.mark.parametrize("step", [-3600, 5000])
def test_a_step_of_the_wall_clock_changes_no_duration(watched, step):
    watched.see(TAMPERED["turned"], 60)
    watched.wall += step
    assert watched.see(TAMPERED["turned"], 60) == []
    watched.see(lambda s: noisy(USUAL, seed=s), 60)
    on, off = watched.events
    assert (off.reason, off.start, off.end - off.start) == (
        "turned: as before",
        WALL + 121,
        120 + 29,
    )
    assert (on.time, off.time) == (WALL + 150, off.end)
    watched.see(TAMPERED["turned"], 60)
    assert watched.events[2].start == watched.wall + 301


@pytest.mark.slow
def test_after_a_pause_another_light_is_no_event_and_the_usual_view_is_still_known():
    """A schedule: each day begins before dawn, and the evening before was light."""
    made = Watched()
    for _ in range(3):
        assert made.see(lambda s: noisy(USUAL * 0.06, 0.5, seed=s), 90) == []
        assert made.see(lambda s: noisy(USUAL * min(1, 0.06 + s / 400), seed=s), 700) == []
        made.now += 40_000
    views = [view.copy() for view in made.health._views]
    assert made.see(lambda s: noisy(view(2), seed=s), 1) == []
    (usual,) = made.health._views
    # one frame does not replace it
    assert np.abs(usual - views[0]).mean() < 0.02 * np.abs(view(2) - USUAL).mean()


def test_after_a_short_pause_the_past_still_counts(watched):
    watched.now += 590
    assert [one[1:] for one in watched.see(TAMPERED["dark"], 50)] == [("on", "dark")]


@pytest.mark.parametrize("order", ["bgr", "rgb", "nv12"])
def test_frames_of_every_kind(order):
    made = Watched()

    def frame(pixels):
        if order == "nv12":
            return np.vstack([pixels, np.full((45, 160), 128, np.uint8)])
        return np.stack([pixels] * 3, -1)

    assert made.see(lambda s: frame(noisy(USUAL, seed=s)), 70, order) == []
    assert [one[1:] for one in made.see(lambda s: frame(noisy(view(2), seed=s)), 40, order)] == [
        ("on", "turned")
    ]


@pytest.mark.slow
def test_a_site_passes_them_to_its_sinks_its_memory_and_home_assistant(
    make_site, tmp_path, monkeypatch
):
    made = []

    def see(self, seen, monotonic, wall):
        if made:
            return []
        self._since, self._offset = monotonic, wall - monotonic
        made.append(self._event_of(monotonic, "covered"))
        self._event = made[0]
        return [(made[0], self._beside(seen))]

    monkeypatch.setattr(CameraHealth, "see", see)
    regions = {"left": {"polygon": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]}}
    site = make_site(
        health=True,
        cameras={"door": {"uri": "test://?frames=20&fps=10&size=64x48", "regions": regions}},
        stream={"every_frame": True},
        events={"snapshots": str(tmp_path / "snapshots")},
        memory={"folder": str(tmp_path / "memory")},
    )
    home = HomeAssistant(
        Topics("pvlr", "homeassistant"), discovery=True, image=False, commands=True
    )
    devices = {device.place: device.components for device in home.devices(site._status()).values()}
    assert (HEALTH in devices["door"], HEALTH in devices["door:left"]) == (True, False)
    assert not any(HEALTH in name for name in devices[None])
    site.run()
    on, off = (event for event in site.events() if event.label == HEALTH)
    assert (on.state, off.state, off.health) == ("on", "off", "covered")
    assert off.reason.startswith("covered: ")
    picture = cv2.imread(on.snapshot)
    assert picture.shape == (48, 128, 3)
    reader = Reader(tmp_path / "memory")
    (row,) = reader.rows("kind = 'health'")
    assert (row.camera, row.time) == ("door", on.time)
    assert cv2.imdecode(np.frombuffer(reader.picture(row.id), np.uint8), 1).shape == (48, 128, 3)


# 20 tampered clips.


def tampered(own, other, size):
    """Of each kind of tampering, frames and what becomes of each."""
    width, height = size
    random = np.random.default_rng(0)
    card = cv2.resize(random.uniform(90, 170, (6, 8, 3)), size, interpolation=cv2.INTER_CUBIC)
    hand = np.zeros((height, width, 1), np.float32)
    cv2.ellipse(
        hand, (width // 2, height // 2), (52 * width // 100, 52 * height // 100), 0, 0, 360, 1, -1
    )
    hand = cv2.GaussianBlur(hand, (0, 0), 15)[..., None]
    moved = np.float32([[1, 0, width / 2], [0, 1, 0.3 * height]])
    return {
        ("covered", "black"): (own, lambda f: noisy(np.full(f.shape, 12.0))),
        ("covered", "cloth"): (own, lambda f: noisy(card)),
        ("covered", "hand"): (own, lambda f: noisy(f * (1 - hand) + hand * (110, 130, 170))),
        ("turned", "moved"): (
            own,
            lambda f: cv2.warpAffine(f, moved, size, borderMode=cv2.BORDER_REFLECT),
        ),
        ("turned", "rotated"): (
            own,
            lambda f: cv2.resize(cv2.rotate(f, cv2.ROTATE_90_CLOCKWISE), size),
        ),
        ("turned", "elsewhere"): (other, lambda f: cv2.resize(f, size)),
        ("blurred", "3 pixels"): (own, lambda f: noisy(cv2.GaussianBlur(f, (0, 0), 3), 1)),
        ("blurred", "6 pixels"): (own, lambda f: noisy(cv2.GaussianBlur(f, (0, 0), 6), 1)),
        ("frozen", ""): (own[7:8], lambda f: f),
        ("dark", "light off"): (own, lambda f: noisy(f * 0.03, 1)),
    }


def reduced(frame):
    return cv2.resize(frame, (320, 180), interpolation=cv2.INTER_AREA)


def read(name):
    """One frame of a clip for each second."""
    video, frames = cv2.VideoCapture(str(Path(DATA or "", "video", name))), []
    while video.grab():
        if len(frames) <= int(video.get(cv2.CAP_PROP_POS_FRAMES) - 1) / CLIPS[name]:
            frames.append(video.retrieve()[1])
    return frames


@pytest.mark.slow
@pytest.mark.skipif(not DATA, reason="PVLR_DATA is not set")
@pytest.mark.parametrize("name", CLIPS)
def test_tampering_with_real_clips_is_found(name):
    own = read(name)
    other = read(next(one for one in CLIPS if one != name))
    size, usual = own[0].shape[1::-1], [reduced(frame) for frame in own]
    for (state, kind), (frames, change) in tampered(own, other, size).items():
        made = Watched()
        assert made.see(lambda s: noisy(usual[s % len(usual)], 0.5, s), 3 * len(own), "bgr") == []
        changed = [reduced(change(frame)) for frame in frames]
        sigma = 0 if state == "frozen" else 0.5
        found = made.see(lambda s, of=changed, by=sigma: noisy(of[s % len(of)], by, s), 150, "bgr")
        print(f"{name}: {state} {kind}: {found}")
        assert [one[1:] for one in found] == [("on", state)]


@pytest.mark.slow
@pytest.mark.skipif(not DATA, reason="PVLR_DATA is not set")
@pytest.mark.parametrize("name", CLIPS)
def test_dusk_and_hours_of_a_real_clip_are_no_events(name, monkeypatch):
    from pvlr_sdk.cameras.site import health

    own, look, known = [reduced(frame) for frame in read(name)], health._look, {}

    def look_once(frame):
        if id(frame.pixels) not in known:
            known[id(frame.pixels)] = look(frame)
        return known[id(frame.pixels)]

    monkeypatch.setattr(health, "_look", look_once)
    made, hours = Watched(), float(os.environ.get("PVLR_HOURS", "1"))
    found = made.see(lambda s: own[s % len(own)], int(3600 * hours), "bgr")
    assert found == []
    print(f"{name}: no event in {hours:g} hours")
    monkeypatch.undo()
    made = Watched()
    assert made.see(lambda s: noisy(own[s % len(own)], 1.5, s), 200, "bgr") == []
    assert (
        made.see(lambda s: noisy(own[s % len(own)] * np.exp(-3.5 * s / 1800), 1.5, s), 1800, "bgr")
        == []
    )
